"""The CuPy backend. CuPy is imported when a device is opened, not before."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from mlpx.backend.base import (
    DLPACK_CUDA,
    Backend,
    Memory,
    check_array_like,
    check_kind,
    detached,
    dlpack_device,
)
from mlpx.backend.cpu import CpuBackend
from mlpx.backend.diagnosis import Probe, diagnose
from mlpx.errors import DeviceError, DeviceMemoryError, InputTypeError
from mlpx.types import Array


class CudaBackend(Backend):
    """CuPy on one CUDA device."""

    kind = "cuda"
    slice_elements = sys.maxsize  # one kernel over all of it: launches cost, caches do not help

    def __init__(self, cupy: Any, index: int) -> None:
        self.xp = cupy
        self.index = index
        self.device = f"cuda:{index}"
        self.name = cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()
        self._host = CpuBackend()
        self.process = os.getpid()

    @classmethod
    def open(cls, index: int) -> CudaBackend:
        """The backend of device ``index``, after a check that it works."""
        diagnosis = diagnose()
        if not diagnosis.ok:
            kind = DeviceMemoryError if diagnosis.status == "out-of-memory" else DeviceError
            raise kind(
                f"device 'cuda:{index}' cannot be used: {diagnosis.message}; {diagnosis.remedy}"
            )
        cupy = Probe().import_cupy()
        count = cupy.cuda.runtime.getDeviceCount()
        if index >= count:
            raise DeviceError(
                f"device 'cuda:{index}' is not there: this process sees {count} CUDA "
                f"device{'s' if count != 1 else ''} ('cuda:0' to 'cuda:{count - 1}')"
            )
        return cls(cupy, index)

    @classmethod
    def owner(cls, x: Any) -> str | None:
        """``"cuda:N"`` when ``x`` lies in the memory of CUDA device N."""
        cupy = sys.modules.get("cupy")
        if cupy is not None and isinstance(x, cupy.ndarray):
            return f"cuda:{x.device.id}"
        where = dlpack_device(x)
        if where is not None:
            return f"cuda:{where[1]}" if where[0] in DLPACK_CUDA else None
        return "cuda:0" if hasattr(x, "__cuda_array_interface__") else None

    def empty(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
        """An uninitialised array in device memory."""
        with self._allocating(shape, dtype):
            return self.xp.empty(shape, dtype)

    def zeros(self, shape: int | tuple[int, ...], dtype: Any = np.float32) -> Array:
        """An array of zeros in device memory."""
        with self._allocating(shape, dtype):
            return self.xp.zeros(shape, dtype)

    def asarray(self, x: Any, dtype: Any = None) -> Array:
        """``x`` on this device; arrays that lie here already are not copied."""
        x = detached(x)
        if self.owner(x) is None:
            return self._upload(self._host.asarray(x), dtype)
        array = self._adopt(x)
        check_kind(array, x)
        if array.dtype.kind == "c" and dtype is not None and np.dtype(dtype).kind != "c":
            raise InputTypeError(f"x is complex ({array.dtype}); real numbers are wanted")
        with self._allocating(array.shape, dtype or array.dtype):
            return array if dtype is None else array.astype(dtype, copy=False)

    def _upload(self, host: np.ndarray, dtype: Any) -> Array:
        wanted = native(host.dtype if dtype is None else np.dtype(dtype))
        # the smaller of the two crosses the bus: bytes of an image become floats on the device
        sent = host if wanted.itemsize >= host.itemsize else self._host.asarray(host, wanted)
        if host.dtype.kind == "c" and wanted.kind != "c":
            raise InputTypeError(f"x is complex ({host.dtype}); real numbers are wanted")
        with self._allocating(host.shape, wanted):
            return self.xp.asarray(sent).astype(wanted, copy=False)

    def _adopt(self, x: Any) -> Array:
        """A device array of any library as a CuPy array on this device."""
        check_array_like(x)
        with self._allocating(getattr(x, "shape", ()), getattr(x, "dtype", None)):
            array = x if isinstance(x, self.xp.ndarray) else self._view(x)
            return array if array.device.id == self.index else self.xp.array(array)

    def _view(self, x: Any) -> Array:
        try:
            if hasattr(x, "__dlpack__"):
                return self.xp.from_dlpack(x)
            return self.xp.asarray(x)
        except (BufferError, TypeError, ValueError) as error:
            raise InputTypeError(
                f"{type(x).__name__} (dtype {getattr(x, 'dtype', 'unknown')}) cannot be read "
                f"as a CuPy array: {error}"
            ) from error

    def asarray_in_reach(self, x: Any) -> tuple[Array, bool]:
        """``x`` on this device; a host array that does not fit goes to pinned host memory."""
        try:
            return self.asarray(x), True
        except DeviceMemoryError:
            if self.owner(x) is not None:
                raise
            return self._pinned(self._host.asarray(x)), False

    def _pinned(self, x: np.ndarray) -> Array:
        """A copy of ``x`` in host memory that the device reads over the bus, as its own array."""
        cuda, dtype = self.xp.cuda, native(x.dtype)
        with cuda.Device(self.index):
            # CuPy's pool would round up to a power of two: 70 GB to 128.
            memory = cuda.PinnedMemoryPointer(self._page_locked(x.nbytes), 0)
            np.frombuffer(memory, dtype, x.size).reshape(x.shape)[...] = x
            held = cuda.UnownedMemory(memory.ptr, x.nbytes, memory, self.index)
            return self.xp.ndarray(x.shape, dtype, cuda.MemoryPointer(held, 0))

    def _page_locked(self, nbytes: int) -> Any:
        """`nbytes` of host memory that is never paged out.

        Raises DeviceMemoryError.
        """
        try:
            return self.xp.cuda.PinnedMemory(nbytes)
        except RuntimeError:
            self.xp.get_default_pinned_memory_pool().free_all_blocks()
        try:
            return self.xp.cuda.PinnedMemory(nbytes)
        except RuntimeError as error:
            raise DeviceMemoryError(
                f"x of {nbytes} bytes fits neither into the memory of {self.device} ({self.name}) "
                f"nor into pinned host memory: {first_line(error)}; train on a part of it"
            ) from error

    def upload(self, host: np.ndarray, *, out: Array) -> None:
        """Copy ``host`` into ``out``."""
        with self.xp.cuda.Device(self.index):
            out.set(host.astype(out.dtype, order="C", casting="same_kind", copy=False))

    def to_numpy(self, x: Array) -> np.ndarray:
        """A host copy of ``x``; waits for the device."""
        self.check_process()
        return self._host.to_numpy(x)

    def synchronize(self) -> None:
        """Wait for everything on this device."""
        self.check_process()
        self.xp.cuda.Device(self.index).synchronize()

    def memory(self) -> Memory:
        """The device's memory; blocks that CuPy's pool keeps for reuse count as free."""
        with self.xp.cuda.Device(self.index):
            free, total = self.xp.cuda.runtime.memGetInfo()
            free += self.xp.get_default_memory_pool().free_bytes()
        return Memory(total - free, free, total)

    @contextmanager
    def stream(self) -> Iterator[Any]:
        """A context with this device current and a non-blocking stream of its own.

        It waits for earlier work on the device on entry, and for the stream on exit.
        """
        with self.xp.cuda.Device(self.index) as device:
            device.synchronize()
            with self.xp.cuda.Stream(non_blocking=True) as stream:
                yield stream
            stream.synchronize()

    @contextmanager
    def failing(self, doing: str, *, nobody_else: bool = False) -> Iterator[None]:
        """Make this device current, and turn what CUDA raises into a DeviceError."""
        self.check_process()
        try:
            with self.xp.cuda.Device(self.index):
                yield
        except DeviceError:
            raise
        except RuntimeError as error:
            if not (nobody_else or "cupy" in type(error).__module__):
                raise
            raise DeviceError(
                f"{self.device} ({self.name}) failed while {doing}: {first_line(error)}; start "
                "again in a new process, or with device='cpu'"
            ) from error

    def take(self, x: Array, rows: Array, *, out: Array) -> Array:
        """Rows of ``x`` at ``rows`` written into ``out``."""
        return self.xp.take(x, rows, axis=0, out=out)

    @contextmanager
    def _allocating(self, shape: Any, dtype: Any) -> Iterator[None]:
        """Make this device current; if its memory runs out, say what was needed."""
        self.check_process()
        try:
            with self.xp.cuda.Device(self.index):
                yield
        except self.xp.cuda.memory.OutOfMemoryError as error:
            self._out_of_memory(shape, dtype, error)

    def _out_of_memory(self, shape: Any, dtype: Any, error: Exception) -> NoReturn:
        try:
            needed = f"{int(np.prod(shape, dtype=object)) * np.dtype(dtype).itemsize} bytes"
        except TypeError:  # a dtype of another library
            needed = f"room for {dtype}"
        memory = self.memory()
        raise DeviceMemoryError(
            f"an array of shape {shape} needs {needed}; {self.device} ({self.name}) has "
            f"{memory.free_bytes} of {memory.total_bytes} bytes free: use a smaller batch or "
            "model, or another device"
        ) from error


def first_line(error: BaseException) -> str:
    """The first line of an error's message."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def native(dtype: np.dtype) -> np.dtype:
    """The dtype in this machine's byte order, the only one that CuPy has."""
    return dtype.newbyteorder("=")
