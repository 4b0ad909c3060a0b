"""In which order operations run, and where the threads have to meet between them.

Each operation says which memory it touches and how its threads divide it. Two operations need no
barrier between them if they touch the same memory in the same division, for then each thread reads
only what it wrote itself. Operations that sum over all rows are put off until something needs them:
so a step is one chain over the rows, where no thread waits, and then the gradients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from mlpx.engines.native.library import Op
from mlpx.types import Array


@dataclass(frozen=True)
class Access:
    """Memory [start, stop) that an operation touches; `division` says who touches which part of it.

    Equal divisions give each thread the same part; None is memory that any thread may touch all of.
    """

    start: int
    stop: int
    writes: bool
    division: Any = None

    def conflicts(self, other: Access) -> bool:
        """Whether the two must not overlap in time, seen from different threads."""
        if not (self.writes or other.writes):
            return False
        if self.start >= other.stop or other.start >= self.stop:
            return False
        return self.division is None or self.division != other.division

    def overlaps(self, other: Access) -> bool:
        """Whether the order of the two matters at all."""
        shared = self.start < other.stop and other.start < self.stop
        return shared and (self.writes or other.writes)


def access(array: Array, *, writes: bool = False, division: Any = None) -> Access:
    """How an operation touches `array`, from its first to its last element."""
    low = array.__array_interface__["data"][0]
    span = sum(abs(s) * (n - 1) for s, n in zip(array.strides, array.shape, strict=True))
    return Access(low, low + (span + array.itemsize if array.size else 0), writes, division)


@dataclass(frozen=True)
class Step:
    """An operation and the memory it touches; `late` ones may be put off."""

    op: Op
    accesses: tuple[Access, ...]
    late: bool = False


def schedule(steps: Iterable[Step]) -> list[Op]:
    """The operations in an order with few barriers, each marked with whether the threads meet
    before it.
    """
    ordered, put_off = [], list[Step]()
    for step in steps:
        if step.late:
            put_off.append(step)
            continue
        if any(_ordered(step, before) for before in put_off):
            ordered += put_off
            put_off = []
        ordered.append(step)
    ordered += put_off
    return _place_barriers(ordered)


def _ordered(step: Step, before: Step) -> bool:
    return any(a.overlaps(b) for a in step.accesses for b in before.accesses)


def _place_barriers(steps: list[Step]) -> list[Op]:
    since: list[Access] = []
    for i, step in enumerate(steps):
        # The first waits for the step before: another thread may still be at the end of it.
        if i == 0 or any(a.conflicts(b) for a in step.accesses for b in since):
            step.op.wait = 1
            since = []
        since += step.accesses
    return [step.op for step in steps]
