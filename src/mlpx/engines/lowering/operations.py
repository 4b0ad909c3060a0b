"""An operation, as every target of the lowering runs it, and the memory it touches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.types import Array

ARRAYS = 12
NUMBERS = 8


@dataclass(frozen=True)
class Access:
    """Memory [start, stop) that an operation touches; `division` says who touches which part of it.

    Equal divisions give each thread the same part; None is memory that any thread may touch all of.
    """

    start: int
    stop: int
    writes: bool
    division: Any = None

    def overlaps(self, other: Access) -> bool:
        """Whether the order of the two matters at all."""
        shared = self.start < other.stop and other.start < self.stop
        return shared and (self.writes or other.writes)


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation: its name, sizes and strides n, constants c, and arrays or addresses p.

    `touches` is the memory it reads and writes; `alone`: it is not divided among threads; `late`:
    it may be put off until something needs what it wrote; `lane`: the branch of a graph it is on.
    """

    name: str
    n: tuple[int, ...]
    c: tuple[float, ...]
    p: tuple[Any, ...]
    touches: tuple[Access, ...]
    alone: bool = False
    late: bool = False
    lane: int = 0


def address(value: Any) -> int:
    """Where an array's first element is, on its device; an address as it is, 0 for None."""
    if isinstance(value, np.ndarray):
        return int(value.__array_interface__["data"][0])
    if value is None or isinstance(value, int | np.integer):
        return int(value or 0)
    return int(value.data.ptr)


def access(array: Array, *, writes: bool = False, division: Any = None) -> Access:
    """How an operation touches `array`, from its first to its last element."""
    low = address(array)
    span = sum(abs(s) * (n - 1) for s, n in zip(array.strides, array.shape, strict=True))
    return Access(low, low + (span + array.itemsize if array.size else 0), writes, division)
