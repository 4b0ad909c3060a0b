"""Which device a contender has, what is left of it, and what rows say of both."""

from __future__ import annotations

import gc
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from gpu.section import Row, Setup
from mlpx import get_backend
from mlpx.benchmark.contenders.base import Contender
from mlpx.engines.cuda.runner import CudaRunner


def free() -> None:
    """Give back what contenders had: none of the libraries takes from another's pool."""
    gc.collect()  # contenders hold cycles
    if "cupy" in sys.modules:
        sys.modules["cupy"].get_default_memory_pool().free_all_blocks()
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_available():
        sys.modules["torch"].cuda.empty_cache()


def device_of(kind: type[Contender], setup: Setup) -> str:
    """The device of a contender: a peer knows nothing of a rehearsal's double."""
    there = any(Path("/dev").glob("nvidia[0-9]*"))
    return setup.device if kind.library == "mlpx" or there or not setup.quick else "cpu"


def device_lost(setup: Setup) -> str:
    """What the device says if nothing can be done on it any more, "" if all is well."""
    try:
        backend = get_backend(setup.device)
        backend.synchronize()
        backend.to_numpy(backend.zeros(1))
    except Exception as error:
        return said(error)
    return ""


def engine(made: Contender) -> Row:
    """Our engine, what it fell back from, and why that is a failure if steps are no graphs or
    products not cublasLt's.
    """
    runner = getattr(made, "execute", None)
    if runner is None:
        return {}
    notes = list(getattr(runner, "notes", []))
    found: Row = {"engine": type(runner).__name__, "notes": notes}
    fell_back = isinstance(runner, CudaRunner) and (
        runner.planner.library is None or not runner.replayer.captures
    )
    if fell_back:
        found["why"] = f"it fell back: {'; '.join(notes)}"
    return found


def installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from its source
        import mlpx

        return getattr(mlpx, "__version__", "unknown")


def plain(found: dict[str, Any]) -> dict[str, Any]:
    """Numbers that JSON has: None for what is not finite."""
    return {
        name: (float(value) if np.isfinite(value) else None)
        if isinstance(value, float | np.floating)
        else value
        for name, value in found.items()
    }


def said(error: BaseException) -> str:
    """An error in one line."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}"
