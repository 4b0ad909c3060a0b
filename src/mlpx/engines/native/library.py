"""The compiled library of the native engine, and the BLAS it multiplies with.

The library is plain C behind ctypes, built with the package where there is a compiler. It calls the
OpenBLAS inside NumPy, or its own products where OpenBLAS would leave half of the processor unused.
It loads no BLAS itself, and uses another one that is loaded already (conda's NumPy brings MKL) only
if it has neither of these two. The environment variable MLPX_BLAS chooses: "openblas", "mlpx",
"mkl" or another BLAS of this process, or "auto".
"""

from __future__ import annotations

import ctypes
import os
import threading
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from mlpx.engines.lowering import ARRAYS, NUMBERS
from mlpx.engines.threads import controllers
from mlpx.errors import EngineError

HERE = Path(__file__).parent


class Op(ctypes.Structure):
    """One operation, as engine.h has it."""

    _fields_ = (
        ("kernel", ctypes.c_void_p),
        ("alone", ctypes.c_int32),
        ("wait", ctypes.c_int32),
        ("chain", ctypes.c_int32),
        ("tiles", ctypes.c_int32),
        ("n", ctypes.c_int64 * NUMBERS),
        ("c", ctypes.c_double * NUMBERS),
        ("p", ctypes.c_void_p * ARRAYS),
    )


class Forward(ctypes.Structure):
    """A forward pass over chunks of rows, as engine.c has it."""

    _fields_ = (
        ("whole", ctypes.POINTER(ctypes.c_void_p)),
        ("rest", ctypes.POINTER(ctypes.c_void_p)),
        ("count", ctypes.c_int64),
        ("rest_count", ctypes.c_int64),
        ("chunks", ctypes.c_int64),
        ("threads", ctypes.c_int64),
    )


@dataclass(frozen=True)
class Blas:
    """A BLAS in this process: where its gemm is for each dtype, and how many threads it uses."""

    name: str
    gemm: dict[str, int]
    """Addresses of cblas_sgemm ("float32") and cblas_dgemm ("float64")."""
    wide: bool
    """Whether its integers have 64 bits."""

    @property
    def threads(self) -> int | None:
        """How many threads of its own it is to use when several of our threads call it at a time;
        None if it has none.
        """
        return None if self.name == "mlpx" else 1


@cache
def load() -> ctypes.CDLL | None:
    """The compiled library, or None where it was not built, or from another version."""
    for path in sorted(HERE.glob("_native*.so")):
        try:
            library = ctypes.CDLL(str(path))
            _declare(library)
        except (OSError, AttributeError):
            continue
        if library.mlpx_op_size() == ctypes.sizeof(Op):
            return library
    return None


def _declare(library: ctypes.CDLL) -> None:
    """Say what the functions take and return; raises AttributeError where one is missing."""
    library.mlpx_kernel.restype = ctypes.c_void_p
    library.mlpx_kernel.argtypes = [ctypes.c_char_p]
    library.mlpx_activation.argtypes = [ctypes.c_char_p]
    library.mlpx_loss.argtypes = [ctypes.c_char_p]
    library.mlpx_pool.restype = ctypes.c_void_p
    library.mlpx_op_size.restype = ctypes.c_int64
    library.mlpx_run.argtypes = [
        ctypes.POINTER(Op), ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_int32,
    ]  # fmt: skip
    library.mlpx_run.restype = None
    library.mlpx_forward.argtypes = [ctypes.POINTER(Forward), ctypes.c_void_p]
    library.mlpx_forward.restype = None


class Pool:
    """Threads of this process that run one program at a time."""

    def __init__(self, threads: int) -> None:
        library = load()
        self.address: int | None = library.mlpx_pool(threads) if library else None
        if self.address is None:
            raise EngineError(f"cannot start {threads} threads")
        self.lock = threading.Lock()

    def __enter__(self) -> int | None:
        self.lock.acquire()
        return self.address

    def __exit__(self, *_: object) -> None:
        self.lock.release()


def pool(threads: int) -> AbstractContextManager[int | None]:
    """The process's pool of so many threads, which runs one program at a time; none for one
    thread.
    """
    return nullcontext() if threads < 2 else _pool(threads, os.getpid())


@cache
def _pool(threads: int, process: int) -> Pool:
    return Pool(threads)  # threads do not survive a fork: each process has its own


PREFIXES = (("scipy_cblas_{}gemm64_", True), ("cblas_{}gemm64_", True), ("cblas_{}gemm", False))
"""The names of gemm in builds of BLAS, and whether its integers have 64 bits there."""
WITH_AVX512 = ("skylakex", "cooperlake", "sapphirerapids", "zen5")
"""OpenBLAS's names for the processors whose AVX-512 it uses."""


@cache
def blas(wanted: str | None = None) -> Blas:
    """The BLAS called `wanted`, or the one MLPX_BLAS names, or the one that should be fastest.

    That is OpenBLAS, or our own products where the processor has AVX-512 and OpenBLAS is missing or
    does not use it. Any other comes last: a step on MKL took two to three times as long as on
    these. Raises EngineError if there is none of that name, naming those there are.
    """
    wanted = wanted or os.environ.get("MLPX_BLAS", "auto").lower()
    known = available()
    if wanted == "auto" and known:
        first = ["openblas", "mlpx"] if _openblas_is_wide() else ["mlpx", "openblas"]
        return next(known[name] for name in [*first, *known] if name in known)
    if wanted not in known:
        raise EngineError(
            f"MLPX_BLAS = {wanted!r}; this process has {sorted(known) or 'no BLAS'}: name one of "
            "these, leave MLPX_BLAS out, or load the library before mlpx trains"
        )
    return known[wanted]


def _openblas_is_wide() -> bool:
    kinds = [getattr(c, "architecture", "") for c in controllers() if c.internal_api == "openblas"]
    return any(str(kind).lower() in WITH_AVX512 for kind in kinds)


@cache
def available() -> dict[str, Blas]:
    """Every BLAS in the process that the engine can call, and our own, by name."""
    known: dict[str, Blas] = {}
    for controller in controllers():
        library = ctypes.CDLL(controller.filepath)
        for pattern, wide in PREFIXES:
            names = {"float32": pattern.format("s"), "float64": pattern.format("d")}
            if all(hasattr(library, name) for name in names.values()):
                name = controller.internal_api
                known.setdefault(name, Blas(name, _addresses(library, names), wide))
                break
    ours = load()
    if ours is not None and ours.mlpx_gemm_usable():
        names = {"float32": "mlpx_gemm_f32", "float64": "mlpx_gemm_f64"}
        known["mlpx"] = Blas("mlpx", _addresses(ours, names), wide=True)
    return known


def _addresses(library: ctypes.CDLL, names: dict[str, str]) -> dict[str, int]:
    return {
        dtype: ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
        for dtype, name in names.items()
    }
