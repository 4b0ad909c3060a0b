"""Averages of the parameters over the steps of training."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np

from mlpx.errors import InputError
from mlpx.records import Record, require, require_count
from mlpx.schedules import Steps


class Average(Record, kind="average"):
    """a = (1 - w) a + w p after every step, with the weights w of `weights`.

    With an average, the model *is* the average outside of the steps: validation, callbacks, saved
    files and the end of `fit` see it. The parameters that training moves are kept in the training
    state and restored for every epoch, so that a stopped run continues exactly.
    """

    def weights(self, t: Steps) -> Steps:
        """w for steps `t` = 1, 2, ..., float64 of t's shape, in [0, 1]; the first is 1."""
        raise NotImplementedError

    @property
    def open(self) -> bool:
        """Whether it still needs the length of the run."""
        return False

    def resolved(self, total: int) -> Average:
        """The same average for a run that ends at step `total`."""
        return self


@dataclass(frozen=True)
class EMA(Average, name="ema"):
    """The exponential moving average: a step counts `decay` times as much as the one after it.

    The weights are normalised, w_t = (1 - decay) / (1 - decay**t), as Adam's bias correction does,
    so the initial values have no share in it. (In PyTorch the first parameters keep the weight
    decay**(t - 1).)
    Source: Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", 1992.
    """

    decay: float = 0.999

    def __post_init__(self) -> None:
        require("decay", self.decay, above=0, below=1)

    def weights(self, t: Steps) -> Steps:
        whole: Steps = -np.expm1(t * np.log(self.decay))
        return (1 - self.decay) / whole


@dataclass(frozen=True)
class SWA(Average, name="swa"):
    """The plain mean of the parameters after steps start, start + every, start + 2 every, ...

    Up to `start` the average is the parameters themselves. None starts after three quarters of the
    run. Use it with a rate that does not fall to zero. Batch normalisation's running statistics are
    averaged too.
    Source: Izmailov et al., "Averaging weights leads to wider optima and better generalization",
    2018.
    """

    start: int | None = None
    every: int = 1

    def __post_init__(self) -> None:
        if self.start is not None:
            require_count("start", self.start)
        require_count("every", self.every)

    @property
    def open(self) -> bool:
        return self.start is None

    def resolved(self, total: int) -> Average:
        return (
            self
            if self.start is not None
            else dataclasses.replace(self, start=max(total * 3 // 4, 1))
        )

    def weights(self, t: Steps) -> Steps:
        if self.start is None:
            raise InputError(
                "swa has start = None, three quarters of the run; outside of fit give a step"
            )
        taken, between = np.divmod(np.maximum(t - self.start, 0), self.every)
        return np.where(between == 0, 1 / (taken + 1), 0.0)
