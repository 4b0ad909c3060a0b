"""The compiled kernels of a device, and how an operation is launched with one."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlpx.engines.cuda.launches import FILES, SOURCES, GridSize, launch
from mlpx.engines.lowering import ARRAYS, NUMBERS, Operation, address
from mlpx.engines.lowering.formulas import HEADER, codes
from mlpx.files import held
from mlpx.types import Array

HERE = Path(__file__).parent
OPERATION = np.dtype(
    [("n", np.int64, NUMBERS), ("c", np.float64, NUMBERS), ("p", np.uint64, ARRAYS)]
)
"""An operation as operation.cuh has it."""
DTYPES = ("float32", "float64")
COMPILING_S = 60.0
"""How long to wait for another process that compiles the same file: several times what it takes."""
_modules: dict[tuple[Any, str], Any] = {}


class CudaTarget:
    """CUDA's kernels as a target of the lowering."""

    name, counts = "CUDA", False

    def has(self, operation: str, dtype: np.dtype) -> bool:
        """Whether there is a kernel of that name for that dtype."""
        return operation in SOURCES and dtype.name in DTYPES

    def formula(self, family: str, name: str) -> int:
        """The code of an activation's or a loss's formula, -1 if there is none."""
        return codes(family).get(name, -1)


class Compiled(NamedTuple):
    """How long the compilation of a file took, and the error if it failed."""

    seconds: float
    error: Exception | None


def compile_all(backend: Any, sources: Iterable[str] = FILES) -> dict[str, Compiled]:
    """Compile those of the .cu files that are not compiled yet, in parallel: NVRTC releases the
    interpreter's lock, and compiles most of a file beside others.
    """
    missing = [source for source in sources if (backend, source) not in _modules]
    if len(missing) < 2:
        return {source: timed(backend, source) for source in missing}
    with ThreadPoolExecutor(len(missing)) as pool:
        return dict(zip(missing, pool.map(partial(timed, backend), missing), strict=True))


def timed(backend: Any, source: str) -> Compiled:
    """Compile a .cu file on the backend's device, which every thread has to make current itself."""
    started_s, problem = time.perf_counter(), None
    try:
        with backend.xp.cuda.Device(backend.index):
            compiled(backend, source)
    except Exception as error:  # a compiler's errors are of many classes
        problem = error
    return Compiled(time.perf_counter() - started_s, problem)


def compiled(backend: Any, source: str) -> Any:
    """A .cu file as a module on a backend's device, which must be current.

    Of processes that start together one compiles it; the others wait, and find it in CuPy's cache
    on disk.
    """
    key = backend, source
    if key not in _modules:
        lock = cache_folder() / f"mlpx-{source}.lock"
        with suppress(OSError):  # without the folder there is no lock
            lock.parent.mkdir(parents=True, exist_ok=True)
        with held(lock, wait_s=0.0 if in_memory() else COMPILING_S):
            made = module(backend, source)
            made.compile()
        _modules[key] = made
    return _modules[key]


def module(backend: Any, source: str) -> Any:
    """A .cu file as one of CuPy's modules."""
    text = (HERE / source).read_text()
    # CuPy's cache goes by the text alone, so a change of a header must change the text.
    headers = b"".join(path.read_bytes() for path in [*sorted(HERE.glob("*.cuh")), HEADER])
    code = f"// {hashlib.sha256(headers).hexdigest()}\n{text}"
    return backend.xp.RawModule(code=code, options=(f"-I{HERE}",))


def cache_folder() -> Path:
    """The folder of CuPy's cache of compiled kernels."""
    return Path(os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache")


def in_memory() -> bool:
    """Whether CuPy keeps nothing on disk, so that there is nothing to wait for."""
    return os.environ.get("CUPY_CACHE_IN_MEMORY") == "1"


def function(backend: Any, name: str, dtype: np.dtype) -> Any:
    """The kernel called `name` for a dtype; compiles its file if that was not done before."""
    return compiled(backend, SOURCES[name]).get_function(f"{name}_{dtype.name}")


def packed(operation: Operation, room: Array) -> np.ndarray:
    """An operation as its kernel takes it, by value: an array of one structure.

    room: where blocks leave their parts of sums; it becomes the last of p.
    """
    made = np.zeros(1, OPERATION)
    made["p"][0, -1] = address(room)
    p = [address(value) for value in operation.p]
    for field, values in (("n", operation.n), ("c", operation.c), ("p", p)):
        made[field][0, : len(values)] = values
    return made


class StepPositions:
    """The position in the epoch's tables and the number of steps taken, for each step of a graph,
    as kernels read them. One table (steps, 2) on the device holds them for all steps of a graph, so
    that no kernel between the steps has to count.
    """

    def __init__(self, table: Array) -> None:
        self.table = table
        self.rows = [table[i] for i in range(len(table))]
        self.current = self.rows[0]

    def move_to(self, step: int) -> None:
        """Have the launches that follow belong to that step of the graph."""
        self.current = self.rows[step]


@dataclass(frozen=True)
class Launcher:
    """Puts an operation on the current stream when called."""

    kernel: Any
    size: GridSize
    given: np.ndarray
    """The operation as its kernel takes it."""
    positions: StepPositions

    def __call__(self) -> None:
        size, arguments = self.size, (self.given, self.positions.current)
        self.kernel((size.grid,), (size.block,), arguments, shared_mem=size.shared_bytes)


def launcher(
    backend: Any, operation: Operation, dtype: np.dtype, positions: StepPositions, room: Array
) -> Launcher:
    """What launches the operation."""
    kernel, size = function(backend, operation.name, dtype), launch(operation.name, operation.n)
    return Launcher(kernel, size, packed(operation, room), positions)
