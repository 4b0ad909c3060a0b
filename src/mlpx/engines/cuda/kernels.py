"""The compiled kernels of a device, and how an operation is launched with one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from mlpx.engines.cuda.launches import SOURCES, launch
from mlpx.engines.lowering import ARRAYS, NUMBERS, Operation, address
from mlpx.engines.lowering.formulas import HEADER, codes
from mlpx.types import Array

HERE = Path(__file__).parent
OPERATION = np.dtype(
    [("n", np.int64, NUMBERS), ("c", np.float64, NUMBERS), ("p", np.uint64, ARRAYS)]
)
"""An operation as operation.cuh has it."""
DTYPES = ("float32", "float64")


class Kernels:
    """CUDA's kernels as a target of the lowering."""

    name, counts = "CUDA", False

    def has(self, operation: str, dtype: np.dtype) -> bool:
        """Whether there is a kernel of that name for that dtype."""
        return operation in SOURCES and dtype.name in DTYPES

    def formula(self, family: str, name: str) -> int:
        """The code of an activation's or a loss's formula, -1 if there is none."""
        return codes(family).get(name, -1)


@cache
def compiled(backend: Any, source: str) -> Any:
    """A .cu file as a module on a backend's device, which must be current."""
    text = (HERE / source).read_text()
    # CuPy finds what it compiled before by the text alone: headers that change must change it.
    headers = b"".join(path.read_bytes() for path in [*sorted(HERE.glob("*.cuh")), HEADER])
    code = f"// {hashlib.sha256(headers).hexdigest()}\n{text}"
    return backend.xp.RawModule(code=code, options=(f"-I{HERE}",))


def function(backend: Any, name: str, dtype: np.dtype) -> Any:
    """The kernel called `name` for a dtype; compiles its file if nothing has."""
    return compiled(backend, SOURCES[name]).get_function(f"{name}_{dtype.name}")


def packed(operation: Operation, room: Array) -> np.ndarray:
    """An operation as its kernel takes it, by value: an array of one structure.

    `room` is where blocks leave the parts of sums; the last of p.
    """
    made = np.zeros(1, OPERATION)
    made["p"][0, -1] = address(room)
    p = [address(value) or 0 for value in operation.p]
    for field, values in (("n", operation.n), ("c", operation.c), ("p", p)):
        made[field][0, : len(values)] = values
    return made


def launcher(
    backend: Any, operation: Operation, dtype: np.dtype, state: Array, room: Array
) -> Callable[[], Any]:
    """A function that puts the operation on the current stream."""
    kernel, size = function(backend, operation.name, dtype), launch(operation.name, operation.n)
    arguments = (packed(operation, room), state)
    return partial(kernel, (size.grid,), (size.block,), arguments, shared_mem=size.shared_bytes)
