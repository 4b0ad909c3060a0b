"""The fake ``cupy.cuda``: devices, streams, the runtime's answers, memory pools."""

from __future__ import annotations

import weakref
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np

from . import streams
from .state import (
    CUDARuntimeError,
    OutOfMemoryError,
    counters,
    cuda_call,
    machine,
    require_driver,
)
from .streams import Event, Graph, Stream, elapsed_ms

NO_DEVICE = 100  # cudaErrorNoDevice
INVALID_DEVICE = 101  # cudaErrorInvalidDevice


class Device:
    """One pretended device; current inside ``with``."""

    def __init__(self, device: int | None = None) -> None:
        self.id = machine.current if device is None else device
        self._entered: list[int] = []

    def use(self) -> None:
        if not 0 <= self.id < machine.devices:
            raise CUDARuntimeError(INVALID_DEVICE, "cudaErrorInvalidDevice: invalid device ordinal")
        machine.current = self.id

    def __enter__(self) -> Device:
        self._entered.append(machine.current)
        self.use()
        return self

    def __exit__(self, *_: object) -> None:
        machine.current = self._entered.pop()

    def __int__(self) -> int:
        return self.id

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and other.id == self.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    @property
    def mem_info(self) -> tuple[int, int]:
        return memory_info()

    @property
    def compute_capability(self) -> str:
        return "90"

    def synchronize(self) -> None:
        cuda_call("deviceSynchronize")
        counters.wait()
        streams.run_all()


class MemoryPool:
    """A pool that keeps nothing."""

    def used_bytes(self) -> int:
        return machine.total_bytes - machine.free_bytes

    def free_bytes(self) -> int:
        return 0

    def total_bytes(self) -> int:
        return self.used_bytes()

    def free_all_blocks(self) -> None:
        return None


class PinnedMemory:
    """Host memory that the device can read, until nothing refers to it."""

    def __init__(self, size: int, flags: int = 0) -> None:
        cuda_call("hostAlloc")
        self.size = size
        self.bytes = np.empty(size, np.uint8)
        self.ptr = self.bytes.ctypes.data
        machine.pinned_bytes += size
        # NumPy's views refer to the array, not to this.
        weakref.finalize(self.bytes, unpin, size)


def unpin(size: int) -> None:
    """Give so many bytes of pinned memory back."""
    machine.pinned_bytes -= size


class PinnedMemoryPointer(np.ndarray):
    """A place in such memory; what is read and written of it are the bytes from there on."""

    mem: PinnedMemory
    ptr: int

    def __new__(cls, mem: PinnedMemory, offset: int) -> PinnedMemoryPointer:
        made = mem.bytes[offset:].view(cls)
        made.mem, made.ptr = mem, mem.ptr + offset
        return made


def alloc_pinned_memory(size: int) -> PinnedMemoryPointer:
    """Of a pool, which has sizes that are powers of two."""
    return PinnedMemoryPointer(PinnedMemory(1 << max(9, (size - 1).bit_length())), 0)


@dataclass
class UnownedMemory:
    """Memory that is another's."""

    ptr: int
    size: int
    owner: Any
    device_id: int = -1


@dataclass
class MemoryPointer:
    """A place in memory."""

    mem: UnownedMemory
    offset: int


class Nvtx:
    """Ranges for profilers."""

    def __init__(self) -> None:
        self.ranges: list[str] = []
        self.open: list[str] = []

    def RangePush(self, message: str, id_color: int = -1) -> None:  # noqa: N802
        self.ranges.append(message)
        self.open.append(message)

    def RangePop(self) -> None:  # noqa: N802
        self.open.pop()


def device_count() -> int:
    require_driver()
    if machine.devices == 0:
        raise CUDARuntimeError(NO_DEVICE, "cudaErrorNoDevice: no CUDA-capable device is detected")
    return machine.devices


def device_properties(index: int) -> dict[str, Any]:
    if index >= device_count():
        raise CUDARuntimeError(INVALID_DEVICE, "cudaErrorInvalidDevice: invalid device ordinal")
    return {
        "name": b"Fake CUDA device",
        "major": 9,
        "minor": 0,
        "totalGlobalMem": machine.total_bytes,
        "multiProcessorCount": 132,
    }


def memory_info() -> tuple[int, int]:
    require_driver()
    return machine.free_bytes, machine.total_bytes


def build() -> ModuleType:
    """The module ``cupy.cuda``."""
    cuda = ModuleType("cupy.cuda")
    pool = MemoryPool()
    runtime = SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        deviceSynchronize=lambda: Device().synchronize(),
        driverGetVersion=lambda: machine.driver,
        getDevice=lambda: machine.current,
        getDeviceCount=device_count,
        getDeviceProperties=device_properties,
        is_hip=False,
        memGetInfo=memory_info,
        runtimeGetVersion=lambda: machine.runtime,
        setDevice=lambda index: Device(index).use(),
    )
    cuda.__dict__.update(
        Device=Device,
        Event=Event,
        Graph=Graph,
        MemoryPointer=MemoryPointer,
        MemoryPool=MemoryPool,
        PinnedMemory=PinnedMemory,
        PinnedMemoryPointer=PinnedMemoryPointer,
        Stream=Stream,
        UnownedMemory=UnownedMemory,
        alloc_pinned_memory=alloc_pinned_memory,
        get_current_stream=streams.current,
        get_elapsed_time=elapsed_ms,
        get_device_id=lambda: machine.current,
        is_available=lambda: machine.driver > 0 and machine.devices > 0,
        memory=SimpleNamespace(OutOfMemoryError=OutOfMemoryError, MemoryPool=MemoryPool),
        nvtx=Nvtx(),
        runtime=runtime,
        default_pool=pool,
    )
    return cuda
