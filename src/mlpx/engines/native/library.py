"""The compiled library of the native engine: plain C behind ctypes, built with the package where
there is a compiler.

It has every kernel for several instruction sets and takes the best that the processor has. For
tests the environment variable MLPX_ISA names another: "avx512", "avx2" or "plain" on x86-64, "neon"
on aarch64.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path

from mlpx.engines.lowering import ARRAYS, NUMBERS
from mlpx.errors import DeviceMemoryError, EngineError

HERE = Path(__file__).parent
MOST_THREADS = 256
"""The most threads of a pool, as pool.h has it."""


class Op(ctypes.Structure):
    """One operation, as engine.h has it."""

    _fields_ = (
        ("kernel", ctypes.c_void_p),
        ("alone", ctypes.c_int32),
        ("wait", ctypes.c_int32),
        ("chain", ctypes.c_int32),
        ("tiles", ctypes.c_int32),
        ("half", ctypes.c_int32),
        ("unused", ctypes.c_int32),
        ("n", ctypes.c_int64 * NUMBERS),
        ("c", ctypes.c_double * NUMBERS),
        ("p", ctypes.c_void_p * ARRAYS),
        ("local", ctypes.c_int32 * ARRAYS),
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
        ("divided", ctypes.c_int64),
        ("brief", ctypes.c_int64),
    )


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
    library.mlpx_isa.restype = ctypes.c_char_p
    library.mlpx_isa.argtypes = [ctypes.c_int32]
    library.mlpx_kernel.restype = ctypes.c_void_p
    library.mlpx_kernel.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    library.mlpx_has_half.argtypes = [ctypes.c_char_p]
    library.mlpx_activation.argtypes = [ctypes.c_char_p]
    library.mlpx_loss.argtypes = [ctypes.c_char_p]
    library.mlpx_pool.restype = ctypes.c_void_p
    library.mlpx_op_size.restype = ctypes.c_int64
    library.mlpx_run.argtypes = [
        ctypes.POINTER(Op), ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p,
        ctypes.c_int32,
    ]  # fmt: skip
    library.mlpx_run.restype = ctypes.c_int32
    library.mlpx_forward.argtypes = [ctypes.POINTER(Forward), ctypes.c_void_p]
    library.mlpx_forward.restype = ctypes.c_int32
    library.mlpx_watch.argtypes = [ctypes.c_void_p, ctypes.c_int64]
    library.mlpx_watch.restype = ctypes.c_int32
    library.mlpx_shrunk.argtypes = [ctypes.c_int32]
    library.mlpx_shrunk.restype = ctypes.c_int32
    library.mlpx_unwatch.argtypes = [ctypes.c_int32]
    library.mlpx_unwatch.restype = None
    library.mlpx_keys.argtypes = [*4 * [ctypes.c_uint64], ctypes.c_int64, ctypes.c_void_p]
    library.mlpx_keys.restype = None


@cache
def instruction_sets() -> tuple[str, ...]:
    """The instruction sets of the library that this processor has, best first."""
    return tuple(_instruction_sets())


def _instruction_sets() -> Iterator[str]:
    library, i = load(), 0
    while library is not None and (name := library.mlpx_isa(i)) is not None:
        yield name.decode()
        i += 1


def instruction_set() -> str:
    """The instruction set that kernels are taken from: the best, or the one MLPX_ISA names.

    Raises EngineError if it names none that the processor has.
    """
    known, wanted = instruction_sets(), os.environ.get("MLPX_ISA", "").lower()
    if wanted and wanted not in known:
        raise EngineError(
            f"MLPX_ISA = {wanted!r}; this processor has {', '.join(known)}: name one of these or "
            "leave MLPX_ISA out"
        )
    return wanted or known[0]


def rounds_to_bf16() -> bool:
    """Whether kernels have products whose factors are rounded to bfloat16."""
    library = load()
    return library is not None and bool(library.mlpx_has_half(instruction_set().encode()))


def require_memory(had: int) -> None:
    """Raise DeviceMemoryError unless the library had the memory for a run."""
    if not had:
        raise DeviceMemoryError(
            "the host has no memory left for the factors of a product, 5 MiB for each thread: "
            "use a smaller batch or model"
        )


class Pool:
    """Threads of this process that run one program at a time."""

    def __init__(self, threads: int) -> None:
        library = load()
        self.address: int | None = library.mlpx_pool(threads) if library else None
        if self.address is None:
            raise EngineError(
                f"cannot start {threads} threads: at most {MOST_THREADS} are possible, and each "
                "takes 9 MiB of memory; fit on fewer (threads=1), or leave this process fewer "
                "processors (taskset)"
            )
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
