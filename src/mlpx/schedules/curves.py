"""Schedules that fall or grow along one curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlpx.records import require, require_count
from mlpx.schedules.base import Schedule, Steps, check_steps


@dataclass(frozen=True)
class Constant(Schedule, name="constant"):
    """rate in every step."""

    rate: float = 1e-3

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)

    def rates(self, t: Steps) -> Steps:
        return np.full_like(t, self.rate)


@dataclass(frozen=True)
class Step(Schedule, name="step"):
    """rate factor**floor((t - 1) / every): falls by `factor` after every `every` steps."""

    rate: float = 1e-3
    every: int = 1000
    factor: float = 0.1

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require_count("every", self.every)
        require("factor", self.factor, above=0, most=1)

    def rates(self, t: Steps) -> Steps:
        return self.rate * self.factor ** np.floor((t - 1) / self.every)


@dataclass(frozen=True)
class Exponential(Schedule, name="exponential"):
    """rate factor**((t - 1) / every): like `Step`, but smooth. A factor above 1 is allowed."""

    rate: float = 1e-3
    every: int = 1000
    factor: float = 0.9

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require_count("every", self.every)
        require("factor", self.factor, above=0)

    def rates(self, t: Steps) -> Steps:
        return self.rate * self.factor ** ((t - 1) / self.every)


@dataclass(frozen=True)
class Polynomial(Schedule, name="polynomial"):
    """final + (rate - final) (1 - (t - 1) / steps)**power, then final. A power of 1 is a straight
    line.
    """

    rate: float = 1e-3
    steps: int | None = None
    final: float = 0.0
    power: float = 1.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        check_steps(self.steps)
        require("final", self.final, least=0)
        require("power", self.power, above=0)

    def rates(self, t: Steps) -> Steps:
        left = 1 - np.minimum((t - 1) / self._length(), 1)
        return self.final + (self.rate - self.final) * left**self.power


@dataclass(frozen=True)
class InverseScaling(Schedule, name="inverse_scaling"):
    """rate / t**power.

    scikit-learn's `invscaling` counts samples where this counts steps.
    """

    rate: float = 0.1
    power: float = 0.5

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require("power", self.power, least=0)

    def rates(self, t: Steps) -> Steps:
        return self.rate / t**self.power


@dataclass(frozen=True)
class Cosine(Schedule, name="cosine"):
    """final + (rate - final) (1 + cos(pi (t - 1) / steps)) / 2, then final.

    Source: Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", 2017, eq.
    5.
    """

    rate: float = 1e-3
    steps: int | None = None
    final: float = 0.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        check_steps(self.steps)
        require("final", self.final, least=0)

    def rates(self, t: Steps) -> Steps:
        return half_wave(self.rate, self.final, np.minimum((t - 1) / self._length(), 1))


@dataclass(frozen=True)
class FlatCosine(Schedule, name="flat_cosine"):
    """rate over the share `flat` of the run, then half a cosine wave to `final`, then final.

    Step t is (t - 1) / steps of the run: the first step is at 0, and none is at 1. So the last step
    is one before the end of the wave. RealMLP's "flat_cos" is `FlatCosine(rate)`. Source:
    Holzmueller, Grinsztajn and Steinwart, "Better by default", 2024, appendix A.
    """

    rate: float = 1e-3
    steps: int | None = None
    flat: float = 0.5
    final: float = 0.0

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        check_steps(self.steps)
        require("flat", self.flat, least=0, below=1)
        require("final", self.final, least=0)

    def rates(self, t: Steps) -> Steps:
        done = np.minimum((t - 1) / self._length(), 1)
        return half_wave(self.rate, self.final, np.maximum(done - self.flat, 0) / (1 - self.flat))


def half_wave(start: float, end: float, share: Steps) -> Steps:
    """From start at share 0 to end at share 1 along half a cosine wave."""
    return end + (start - end) * (1 + np.cos(np.pi * share)) / 2
