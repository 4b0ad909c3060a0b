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


def warm_up(contender: Contender, *, seconds: float) -> float:
    """Run for about `seconds`, at least twice; returns seconds a step of the last stretch.

    Each stretch is as long as the ones before together, so caches, pools and compilers have settled
    by time, not by a count of steps that means little on another net.
    """
    steps, started_s = contender.chunk, time.perf_counter()
    contender.reset()
    timed(contender, steps)  # compiles
    while True:
        contender.reset()
        last = timed(contender, steps)
        if time.perf_counter() - started_s >= seconds:
            return last.wall_s / last.steps
        if last.wall_s < seconds / 4:
            steps *= 2


def steps_for(contender: Contender, *, step_s: float, seconds: float) -> int:
    """How many steps take about `seconds`: a multiple of the contender's chunk."""
    chunks = max(1, round(seconds / (step_s * contender.chunk)))
    return chunks * contender.chunk
