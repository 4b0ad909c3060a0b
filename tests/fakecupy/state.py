"""What the fake counts, and the machine it pretends to be."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass
class Counters:
    """How often the expensive things happened since the last reset."""

    allocations: int = 0
    synchronizations: int = 0
    to_host: int = 0
    to_device: int = 0

    def reset(self) -> None:
        for field in fields(self):
            setattr(self, field.name, 0)

    def read(self) -> None:
        """Device memory was read by the host: one wait, one transfer."""
        self.synchronizations += 1
        self.to_host += 1


@dataclass
class Machine:
    """The pretended hardware."""

    devices: int = 1
    current: int = 0
    total_bytes: int = 80 * 2**30
    free_bytes: int = 80 * 2**30
    driver: int = 13020
    runtime: int = 13020


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


def allocate(nbytes: int) -> None:
    """Count one allocation, or refuse it as a full device does."""
    if nbytes > machine.free_bytes:
        raise OutOfMemoryError(nbytes, machine.total_bytes - machine.free_bytes)
    counters.allocations += 1
