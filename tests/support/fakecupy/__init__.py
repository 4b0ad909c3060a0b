"""A small fake ``cupy`` over NumPy: only what CuPy has, nothing implicit, everything counted.

::

    with fakecupy.installed() as cupy:
        backend = get_backend("cuda")
        ...
        assert cupy.counters.allocations == 0

Counted: ``allocations`` (arrays made without ``out=``, and the hidden copies CuPy makes),
``synchronizations``, ``to_host`` and ``to_device`` transfers, ``to_host_later`` those for which
nothing waits. Views are free.
"""

from __future__ import annotations

import importlib.machinery
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from . import calls, cublaslt, device, functions, modules, names, ufuncs
from .array import ndarray
from .state import Machine, counters, machine


def _build() -> Any:
    module = ModuleType("cupy", __doc__)
    cuda = device.build()
    pool = cuda.__dict__.pop("default_pool")
    functions.SPECIAL["get_default_memory_pool"] = lambda: pool
    functions.SPECIAL["get_default_pinned_memory_pool"] = lambda: pool
    members: dict[str, Any] = {name: getattr(np, name) for name in names.SHARED}
    members |= {name: functions.function(name) for name in names.FUNCTIONS}
    members |= {name: ufuncs.ufunc(name) for name in names.UFUNCS}
    module.__dict__.update(
        members,
        __spec__=importlib.machinery.ModuleSpec("cupy", None),
        __version__=names.VERSION,
        counters=counters,
        cuda=cuda,
        from_dlpack=functions.from_dlpack,
        linalg=SimpleNamespace(norm=_norm),
        machine=machine,
        RawModule=modules.RawModule,
        ndarray=ndarray,
        ufunc=ufuncs.ufunc,
    )
    return module


def _norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    calls.require_array("linalg.norm", [x])
    return calls.run(np.linalg.norm, [x], {"ord": ord, "axis": axis, "keepdims": keepdims})


cupy = _build()


@contextmanager
def installed(**pretended: int) -> Iterator[Any]:
    """``import cupy`` gives the fake inside; ``pretended`` sets fields of ``Machine``."""
    from mlpx.engines.cuda import cublaslt as real

    saved = {name: sys.modules.get(name) for name in ("cupy", "cupy.cuda")}
    machine.__dict__.update(vars(Machine(**pretended)))
    machine.current = 0
    sys.modules.update({"cupy": cupy, "cupy.cuda": cupy.cuda})
    forget_devices()
    found, cupy.cublaslt = real.find, cublaslt.Library()
    real.find = lambda _: cupy.cublaslt
    counters.reset()
    try:
        yield cupy
    finally:
        real.find = found
        forget_devices()
        for name, module in saved.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module


def forget_devices() -> None:
    """Drop the CUDA backends that were opened on another CuPy."""
    from mlpx import backend

    for name in [name for name in backend._opened if name.startswith("cuda")]:
        del backend._opened[name]
