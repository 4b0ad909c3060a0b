"""Timing steps: wall time on the host with the device waited for, CPU time, and device events."""

from __future__ import annotations

import gc
import time
from dataclasses import asdict, dataclass
from typing import Any

from mlpx.benchmark.contenders.base import Contender


@dataclass(frozen=True)
class Timing:
    """Seconds that `steps` steps took: wall clock, this process' CPU time, device events if any."""

    steps: int
    wall_s: float
    cpu_s: float
    device_s: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    @property
    def step_s(self) -> float:
        """Wall time of a step."""
        return self.wall_s / self.steps


def timed(contender: Contender, steps: int) -> Timing:
    """Run `steps` steps. The device is idle when the clock starts, and waited for before it
    stops. Garbage is collected only where the contender says that this is part of a step.
    """
    clock = contender.device_clock()
    collecting = gc.isenabled()
    if not contender.leaves_garbage:
        gc.disable()
    try:
        contender.synchronize()
        cpu_s, started_s = time.process_time(), time.perf_counter()
        if clock is not None:
            clock.start()
        contender.run(steps)
        if clock is not None:
            clock.stop()
        contender.synchronize()
        wall_s = time.perf_counter() - started_s
    finally:
        if collecting:
            gc.enable()
    device_s = None if clock is None else clock.elapsed_s()
    return Timing(steps, wall_s, time.process_time() - cpu_s, device_s)


def warm_up(contender: Contender, *, seconds: float) -> tuple[Timing, Timing]:
    """Run for at least `seconds`; returns the first run, which may have compiled, and the last.

    It runs stretches of at most a quarter of that, so that caches, pools and compilers have settled
    by time, not by a count of steps that means little on another net. One long step is enough: a
    contender that runs single steps has compiled them when it was checked.
    """

    def stretch(steps: int) -> Timing:
        contender.reset()
        return timed(contender, steps)

    steps, started_s = contender.chunk, time.perf_counter()
    first = stretch(steps)
    if steps == 1 and first.wall_s >= seconds:
        return first, first
    while True:
        last = stretch(steps)
        if time.perf_counter() - started_s >= seconds:
            return first, last
        if last.wall_s < seconds / 4:
            steps *= 2


def steps_for(contender: Contender, *, step_s: float, seconds: float) -> int:
    """How many steps take about `seconds`: a multiple of the contender's chunk."""
    chunks = max(1, round(seconds / (step_s * contender.chunk)))
    return chunks * contender.chunk
