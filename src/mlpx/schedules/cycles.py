"""Schedules that rise and fall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlpx.records import require, require_count
from mlpx.schedules.base import Schedule, Steps, check_steps
from mlpx.schedules.curves import half_wave


@dataclass(frozen=True)
class WarmRestarts(Schedule, name="warm_restarts"):
    """A cosine from rate to final that starts again after `period` steps; each period is `factor`
    times as long as the one before.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017.
    """

    rate: float = 1e-3
    period: int = 1000
    factor: float = 2.0
    final: float = 0.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require_count("period", self.period)
        require("factor", self.factor, least=1)
        require("final", self.final, least=0)

    def rates(self, t: Steps) -> Steps:
        starts, lengths = [0.0], [float(self.period)]
        if self.factor > 1:
            while starts[-1] + lengths[-1] <= t.max(initial=1):
                starts.append(starts[-1] + lengths[-1])
                lengths.append(lengths[-1] * self.factor)
            cycle = np.searchsorted(starts, t - 1, side="right") - 1
            done = (t - 1 - np.take(starts, cycle)) / np.take(lengths, cycle)
        else:
            done = (t - 1) % self.period / self.period
        return half_wave(self.rate, self.final, done)


@dataclass(frozen=True)
class OneCycle(Schedule, name="one_cycle"):
    """Half a cosine wave up from rate / start to rate, over the share `warm` of the run, then
    one down to rate / (start end).

    As PyTorch's OneCycleLR, whose momentum cycle is left out. Source: Smith and Topin,
    "Super-convergence", 2018.
    """

    rate: float = 1e-2
    steps: int | None = None
    warm: float = 0.3
    start: float = 25.0
    end: float = 1e4

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        check_steps(self.steps)
        require("warm", self.warm, above=0, below=1)
        require("start", self.start, least=1)
        require("end", self.end, least=1)

    def rates(self, t: Steps) -> Steps:
        last = self._length() - 1.0
        top = max(self.warm * self._length() - 1.0, 0.0)
        first = self.rate / self.start
        rising = (t - 1) / max(top, 1e-9)
        falling = np.minimum((t - 1 - top) / max(last - top, 1e-9), 1)
        up = half_wave(first, self.rate, rising)
        down = half_wave(self.rate, first / self.end, falling)
        return np.where(t - 1 < top, up, down)


@dataclass(frozen=True)
class CosLog(Schedule, name="cos_log"):
    """rate (1 - cos(2 pi log2(1 + (2**cycles - 1) (t - 1) / steps))) / 2, then 0.

    `cycles` waves from 0 to rate and back, each twice as long as the one before. The first step is
    at the start of the first wave: its rate is 0, and an optimizer with moments only fills them.
    RealMLP's "coslog4" is `CosLog(rate)`. Source: Holzmueller, Grinsztajn and Steinwart, "Better by
    default: strong pre-tuned MLPs and boosted trees on tabular data", 2024.
    """

    rate: float = 1e-3
    steps: int | None = None
    cycles: int = 4

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        check_steps(self.steps)
        require_count("cycles", self.cycles)

    def rates(self, t: Steps) -> Steps:
        done = np.minimum((t - 1) / self._length(), 1)
        phase = np.log2(1 + (2.0**self.cycles - 1) * done)
        return self.rate * (1 - np.cos(2 * np.pi * phase)) / 2


@dataclass(frozen=True)
class Cyclic(Schedule, name="cyclic"):
    """Linearly up from rate to peak in `up` steps and down in `down` (`up` if None), again and
    again.

    The height of the peak over rate is multiplied by `factor` after each cycle. Source: Smith,
    "Cyclical learning rates for training neural networks", 2017; a factor of 0.5 is its
    "triangular2".
    """

    rate: float = 1e-4
    peak: float = 1e-2
    up: int = 2000
    down: int | None = None
    factor: float = 1.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require("peak", self.peak, least=self.rate)
        require_count("up", self.up)
        if self.down is not None:
            require_count("down", self.down)
        require("factor", self.factor, above=0, most=1)

    def rates(self, t: Steps) -> Steps:
        down = self.up if self.down is None else self.down
        cycle, into = np.divmod(t - 1, self.up + down)
        height = np.minimum(into / self.up, (self.up + down - into) / down)
        return self.rate + (self.peak - self.rate) * height * self.factor**cycle
