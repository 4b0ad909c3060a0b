"""The NumPy backend."""

from __future__ import annotations

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import cache, lru_cache
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from mlpx.backend.base import (
    DLPACK_HOST,
    Backend,
    Memory,
    check_array_like,
    check_kind,
    detached,
    dlpack_device,
    is_array_like,
)
from mlpx.errors import DeviceError, DeviceMemoryError, InputError, InputTypeError
from mlpx.random import fill_words
from mlpx.types import Array

CPUINFO = Path("/proc/cpuinfo")
MEMINFO = Path("/proc/meminfo")
STATM = Path("/proc/self/statm")
CACHE = Path("/sys/devices/system/cpu/cpu0/cache/index2/size")
CACHE_LINE = 64
BLAS_BYTES = 34 << 20
"""What OpenBLAS takes at its first product on x86-64, and a little."""


class CpuBackend(Backend):
    """NumPy on the host."""

    kind = "cpu"
    slice_elements = 65536  # 256 KiB of float32: parameter, gradient and moments stay in L2

    def __init__(self) -> None:
        self.device = "cpu"
        self.xp = np
        _start_blas()

    @property
    def name(self) -> str:  # type: ignore[override]
        """The processor and the threads this process may use: "AMD EPYC (2 threads)"."""
        threads = usable_cores()
        return f"{cpu_model()} ({threads} thread{'s' if threads != 1 else ''})"

    @classmethod
    def open(cls, index: int) -> CpuBackend:
        """The host; ``index`` is ignored."""
        return cls()

    @classmethod
    def owner(cls, x: object) -> str | None:
        """``"cpu"`` when ``x`` lies in host memory."""
        if type(x) is np.ndarray:
            return "cpu"
        where = dlpack_device(x)
        if where is not None:
            return "cpu" if where[0] in DLPACK_HOST else None
        on_device = hasattr(x, "__cuda_array_interface__")
        return "cpu" if is_array_like(x) and not on_device else None

    def empty(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
        """An uninitialised array in host memory."""
        return self._allocate(np.empty, shape, dtype)

    def zeros(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
        """An array of zeros in host memory."""
        return self._allocate(np.zeros, shape, dtype)

    def _allocate(self, create: Any, shape: int | tuple[int, ...], dtype: Any) -> Array:
        size = prod(shape) if isinstance(shape, tuple) else int(shape)
        needed = size * np.dtype(dtype).itemsize
        try:
            return aligned(create, needed).view(dtype).reshape(shape)
        except MemoryError as error:
            raise DeviceMemoryError(
                f"an array of shape {shape} needs {needed} bytes; the host has "
                f"{self.memory().free_bytes} bytes free: use a smaller batch or model"
            ) from error

    def asarray(self, x: Any, dtype: Any = None) -> np.ndarray:
        """``x`` as a NumPy array; a CUDA array is copied to the host."""
        host = x if isinstance(x, np.ndarray) else self._from_foreign(x)
        check_kind(host, x)
        if dtype is None:
            return np.asarray(host)
        if host.dtype.kind == "c" and np.dtype(dtype).kind != "c":
            raise InputTypeError(f"x is complex ({host.dtype}); real numbers are wanted")
        return np.asarray(host, dtype=dtype)

    def _from_foreign(self, x: Any) -> np.ndarray:
        check_array_like(x)
        x = detached(x)
        if self.owner(x) is None and is_array_like(x):
            return _from_device(x)
        if hasattr(x, "__dlpack__"):
            try:
                return np.from_dlpack(x)
            except (BufferError, RuntimeError, TypeError, ValueError) as error:
                if not hasattr(x, "__array__"):
                    raise _not_convertible(x, error) from error
        try:
            return np.asarray(x)
        except ValueError as error:
            raise InputError(f"no array can be made of x: {error}") from error
        except TypeError as error:
            raise _not_convertible(x, error) from error

    def upload(self, host: np.ndarray, *, out: Array) -> None:
        """Copy ``host`` into ``out``."""
        np.copyto(out, host, casting="same_kind")

    def to_numpy(self, x: Array) -> np.ndarray:
        """``x`` itself, or a host copy of it if it is a CUDA array."""
        return x if isinstance(x, np.ndarray) else self.asarray(x)

    def synchronize(self) -> None:
        """Return at once: NumPy is done when a call returns."""

    def memory(self) -> Memory:
        """The host's memory, or what this process may have of it (ulimit -v); zeros if the system
        does not say.
        """
        host = _meminfo() or _sysconf_memory() or Memory(0, 0, 0)
        limit = _address_space()
        if limit is None or not host.total_bytes or limit.free_bytes >= host.free_bytes:
            return host
        return limit

    def stream(self) -> AbstractContextManager[None]:
        """A context that does nothing."""
        return nullcontext()

    def failing(self, doing: str, *, nobody_else: bool = False) -> AbstractContextManager[None]:
        """A context in which NumPy's lack of memory becomes a DeviceMemoryError."""
        return _Failing(doing)

    def take(self, x: Array, rows: Array, *, out: Array) -> Array:
        """Rows of ``x`` at ``rows`` written into ``out``."""
        # mode="raise" would fill a temporary first, so that a bad index leaves `out` unchanged
        return x.take(rows, axis=0, out=out, mode="clip")

    def fill_words(self, state: Array, *, seed: int, purpose: int, item: int, out: Array) -> None:
        """``out``, uint64 (m,) = the first m words of the stream at step ``state[1]``."""
        fill_words(seed, purpose, step=int(state[1]), item=item, out=out)


class _Failing:
    """The context of `CpuBackend.failing`; a generator would take three times as long."""

    def __init__(self, doing: str) -> None:
        self.doing = doing

    def __enter__(self) -> None:
        """Nothing to do."""

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> None:
        if kind is not None and issubclass(kind, MemoryError) and kind is not DeviceMemoryError:
            raise DeviceMemoryError(
                f"the host ran out of memory while {self.doing}"
                f"{f': {error}' if str(error) else ''}; use a smaller batch or model"
            ) from error


@cache
def _start_blas() -> None:
    """Have NumPy's BLAS take the memory it works in, which it keeps, while there is some.

    OpenBLAS ends the process if it finds none later. Raises DeviceMemoryError.
    """
    try:
        np.empty(BLAS_BYTES, np.uint8)
    except MemoryError as error:
        raise DeviceMemoryError(
            f"the host has less than the {BLAS_BYTES >> 20} MiB left that NumPy's BLAS works in; "
            "raise the limit on the memory of this process (ulimit -v)"
        ) from error
    square = np.ones((2, 2))
    np.dot(square, square)


def aligned(create: Any, nbytes: int, *, to: int = CACHE_LINE) -> np.ndarray:
    """So many bytes, made by np.empty or np.zeros, from an address that is a multiple of `to` on.

    NumPy's own begin anywhere in a cache line, and a vector across two lines takes twice as long.
    """
    raw: np.ndarray = create(nbytes + to, np.uint8)
    start = -raw.__array_interface__["data"][0] % to
    return raw[start : start + nbytes]


def _from_device(x: Any) -> np.ndarray:
    if hasattr(x, "get"):  # CuPy
        host: np.ndarray = x.get()
        return host
    if hasattr(x, "cpu"):  # torch
        return np.from_dlpack(x.cpu())
    cupy = sys.modules.get("cupy")
    if cupy is None:
        raise DeviceError(
            f"{type(x).__name__} lies in device memory and CuPy is not loaded to copy it; "
            "pass a host array, or install CuPy: pip install 'mlpx[cuda13]'"
        )
    copied: np.ndarray = cupy.asarray(x).get()
    return copied


def _not_convertible(x: object, error: Exception) -> InputTypeError:
    return InputTypeError(
        f"{type(x).__name__} (dtype {getattr(x, 'dtype', 'unknown')}) cannot be read as a "
        f"NumPy array: {error}"
    )


def usable_cores() -> int:
    """How many threads this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@lru_cache(maxsize=1)
def second_level_cache() -> int:
    """The bytes of a core's second-level cache; 1 MiB if the system does not say."""
    try:
        text = CACHE.read_text().strip()
        return int(text.removesuffix("K")) * (1024 if text.endswith("K") else 1) or 1 << 20
    except (OSError, ValueError):
        return 1 << 20


@lru_cache(maxsize=1)
def cpu_model() -> str:
    """The processor's model name, or the architecture if the system does not say."""
    try:
        for line in CPUINFO.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    import platform

    return platform.processor() or platform.machine() or "CPU"


def _meminfo() -> Memory | None:
    try:
        rows = (line.split() for line in MEMINFO.read_text().splitlines())
        kib = {row[0].rstrip(":"): int(row[1]) for row in rows if len(row) > 1}
        total, free = kib["MemTotal"] * 1024, kib["MemAvailable"] * 1024
    except (OSError, KeyError, ValueError):
        return None
    return Memory(total - free, free, total)


def _address_space() -> Memory | None:
    """What this process may have in addresses; None if that is not limited."""
    try:
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        used = int(STATM.read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, OSError, ValueError):
        return None
    return Memory(used, max(0, limit - used), max(limit, used))


def _sysconf_memory() -> Memory | None:
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        total, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    except (AttributeError, ValueError, OSError):
        return None
    return Memory(total - free, free, total)
