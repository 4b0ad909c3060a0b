"""What the fake counts, and the machine it pretends to be."""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields

INSUFFICIENT_DRIVER = 35  # cudaErrorInsufficientDriver
ILLEGAL_ADDRESS = 700  # cudaErrorIllegalAddress
CAPTURE_UNSUPPORTED = 900  # cudaErrorStreamCaptureUnsupported
_local = threading.local()
_counting = threading.Lock()


@dataclass
class Counters:
    """How often the expensive things happened since the last reset."""

    allocations: int = 0
    synchronizations: int = 0
    to_host: int = 0
    to_host_later: int = 0
    to_device: int = 0

    def reset(self) -> None:
        for field in fields(self):
            setattr(self, field.name, 0)

    def wait(self) -> None:
        """The host waits for the device; a captured stream cannot be waited for."""
        refuse_capture("waiting for the device")
        self.synchronizations += 1

    def read(self) -> None:
        """Device memory was read by the host: one wait, one transfer."""
        self.wait()
        self.to_host += 1


@dataclass
class Machine:
    """The pretended hardware."""

    devices: int = 1
    total_bytes: int = 80 * 2**30
    free_bytes: int = 80 * 2**30
    driver: int = 13020
    runtime: int = 13020
    pinned_bytes: int = 0
    """Of the host's memory, held for the device to read."""
    calls: int = 0
    """Calls of CUDA that can fail, since someone set this to 0."""
    fail_at: int = -1
    """The one of them that fails; later ones do not."""

    @property
    def current(self) -> int:
        """The current device, which each thread has for itself."""
        return getattr(_local, "device", 0)

    @current.setter
    def current(self, device: int) -> None:
        _local.device = device


counters = Counters()
machine = Machine()


class OutOfMemoryError(MemoryError):
    """As cupy.cuda.memory.OutOfMemoryError."""

    def __init__(self, size: int, total: int, limit: int = 0) -> None:
        super().__init__(
            f"Out of memory allocating {size:,} bytes (allocated so far: {total:,} bytes)."
        )


class CUDARuntimeError(RuntimeError):
    """As cupy.cuda.runtime.CUDARuntimeError."""

    def __init__(self, status: int, text: str = "cudaError") -> None:
        super().__init__(text)
        self.status = status


def require_driver() -> None:
    """Raise what CUDA says where there is no driver, or too old a one."""
    if machine.driver == 0 or machine.driver // 1000 < machine.runtime // 1000:
        raise CUDARuntimeError(
            INSUFFICIENT_DRIVER,
            "cudaErrorInsufficientDriver: CUDA driver version is insufficient for CUDA "
            "runtime version",
        )


def cuda_call(name: str) -> None:
    """Count a call of CUDA, and let it fail if its turn has come."""
    with _counting:
        machine.calls += 1
        fails = machine.calls == machine.fail_at
    if fails:
        raise CUDARuntimeError(ILLEGAL_ADDRESS, f"cudaErrorIllegalAddress: injected in {name}")


def worked() -> None:
    """A function of the fake ran: on the null stream, at once; never in a capture."""
    refuse_capture("a function of cupy's own")
    cuda_call("a function of cupy's own")
    streams.worked()


def refuse_capture(what: str) -> None:
    """Raise what CUDA says of something that a captured stream must not do."""
    if streams.capturing():
        raise CUDARuntimeError(
            CAPTURE_UNSUPPORTED, f"cudaErrorStreamCaptureUnsupported: {what} during a capture"
        )


def allocate(nbytes: int) -> None:
    """Count one allocation, or refuse it as a full device does."""
    refuse_capture("an allocation")
    if nbytes > machine.free_bytes:
        raise OutOfMemoryError(nbytes, machine.total_bytes - machine.free_bytes)
    counters.allocations += 1


from . import streams  # noqa: E402 - which needs the above, and each call needs it
