"""How busy the processors are, and how much of that is not ours."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
IDLE_COLUMNS = (3, 4)  # idle and iowait, see proc(5)


@dataclass(frozen=True)
class Busy:
    """CPU seconds that all processes used on some processors up to a moment; None if unknown."""

    seconds: float | None
    at_s: float

    @classmethod
    def now(cls, processors: list[int]) -> Busy:
        """Read the counters."""
        return cls(_busy_s(processors), time.perf_counter())


def processors(threads: int | None) -> list[int]:
    """The processors that a contender with `threads` threads is pinned to; None means all."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))[:threads]
    return list(range(threads or os.cpu_count() or 1))


def foreign_share(before: Busy, after: Busy, *, own_s: float, count: int) -> float | None:
    """The share of `count` processors that other processes took; None if unknown."""
    if before.seconds is None or after.seconds is None:
        return None
    available = (after.at_s - before.at_s) * count
    return max(0.0, after.seconds - before.seconds - own_s) / max(available, 1e-9)


def tolerance(wall_s: float, count: int, *, share: float) -> float:
    """`share` and what coarse counters may add to it: a tick for each processor at either end."""
    return share + 2 * count * _tick_s() / max(wall_s * count, 1e-9)


def idle_share(threads: int, *, seconds: float) -> float | None:
    """How busy the processors are while the benchmark does nothing."""
    pinned = processors(threads)
    before = Busy.now(pinned)
    time.sleep(seconds)
    return foreign_share(before, Busy.now(pinned), own_s=0.0, count=len(pinned))


def _tick_s() -> float:
    return 1.0 / os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 0.01


def _busy_s(wanted: list[int]) -> float | None:
    try:
        rows = [line.split() for line in STAT.read_text().splitlines()]
    except OSError:
        return None
    names = {f"cpu{number}" for number in wanted}
    ticks = [
        sum(int(value) for i, value in enumerate(row[1:9]) if i not in IDLE_COLUMNS)
        for row in rows
        if row and row[0] in names
    ]
    return sum(ticks) * _tick_s() if len(ticks) == len(names) else None
