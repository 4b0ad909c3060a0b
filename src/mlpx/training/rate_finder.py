"""The learning-rate range test: raise the rate step by step, find where the loss falls fastest."""

from __future__ import annotations

import dataclasses
import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.errors import InputError, MissingExtraError
from mlpx.network.network import Network
from mlpx.optimizers import Optimizer
from mlpx.records import require, require_count
from mlpx.schedules import Exponential
from mlpx.training.fit import fit

SMOOTHING = 0.9
BURN_IN = 10
"""No rate is suggested from the first steps, where the average covers only a few losses."""
DIVERGED = 4.0
"""The curve ends where the smoothed loss exceeds its minimum this many times."""


@dataclass(frozen=True, eq=False)
class RateCurve:
    """Losses over learning rates; all arrays are float64 and of the same length.

    `smoothed` is the bias-corrected moving average of `losses`. `suggestion` is the rate at which
    it falls fastest on a logarithmic scale of rates: a good first guess, usually a few times below
    the best rate.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    suggestion: float

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Draw the curve to the file at `path` (.png, .svg or .pdf).

        Raises MissingExtraError without matplotlib.
        """
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise MissingExtraError("matplotlib", "plot", "RateCurve.plot", error) from error
        axes = (figure := Figure(figsize=(6, 4), layout="constrained")).subplots()
        axes.semilogx(self.rates, self.losses, color="0.75", label="each step")
        axes.semilogx(self.rates, self.smoothed, color="C0", label="smoothed")
        axes.axvline(self.suggestion, color="C1", label=f"suggestion: {self.suggestion:.2g}")
        axes.set(xlabel="learning rate", ylabel="loss")
        axes.set_ylim(*_limits(np.append(self.smoothed, self.losses.min())))
        axes.legend()
        figure.savefig(path)


def find_learning_rate(
    model: Network,
    x: Any,
    y: Any,
    *,
    optimizer: str | Optimizer = "adam",
    low: float = 1e-7,
    high: float = 10.0,
    steps: int = 100,
    **options: Any,
) -> RateCurve:
    """The losses of `steps` steps as the rate grows from `low` to `high`, on a copy of `model`.

    The model itself is not changed. `optimizer` is the one to find a rate for. Other options are
    those of `fit`: batch_size, sample_weight, sampling, engine. The curve ends early if training
    diverges.

    Raises InputError, InputTypeError or UnknownNameError, as `fit` does.
    Source: Smith, "Cyclical learning rates for training neural networks", 2017, section 3.3.
    """
    require("low", low, above=0)
    require("high", high, above=low)
    require_count("steps", steps, least=2)
    rule = Optimizer.resolve(optimizer)
    if rule.full_batch:
        raise InputError(f"optimizer = {rule.name!r} finds its own step lengths; it needs no rate")
    schedule = Exponential(low, every=steps - 1, factor=high / low)
    copy = model.copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "diverged", RuntimeWarning)
        losses = fit(
            copy, x, y, optimizer=dataclasses.replace(rule, learning_rate=schedule), steps=steps,
            **{"verbose": 0, **options},
        ).step_loss  # fmt: skip
    return read_curve(schedule.rates(np.arange(1.0, len(losses) + 1)), losses)


def read_curve(rates: np.ndarray, losses: np.ndarray) -> RateCurve:
    """The curve of `losses` at increasing `rates`, both (steps,), up to where it diverges."""
    bad = np.flatnonzero(~np.isfinite(losses))
    count = int(bad[0]) if len(bad) else len(losses)
    if count < 2:
        raise InputError(f"the loss is {losses[count]} at the rate {rates[count]:g}; lower `low`")
    smoothed = smooth(losses[:count])
    beyond = np.flatnonzero(smoothed > DIVERGED * np.minimum.accumulate(np.abs(smoothed)))
    count = max(int(beyond[0]), 2) if len(beyond) else count
    smoothed = smoothed[:count]
    slopes = np.convolve(np.gradient(smoothed, np.log(rates[:count])), np.ones(9) / 9, "same")
    first = min(BURN_IN, count // 2)
    least = max(int(smoothed.argmin()), first)
    steepest = first + int(slopes[first : least + 1].argmin())
    return RateCurve(rates[:count], losses[:count], smoothed, float(rates[steepest]))


def smooth(losses: np.ndarray) -> np.ndarray:
    """The bias-corrected exponential moving average of `losses` (steps,)."""
    means, mean = np.empty(len(losses)), 0.0
    for i, loss in enumerate(losses):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        means[i] = mean / (1 - SMOOTHING ** (i + 1))
    return means


def _limits(values: np.ndarray) -> tuple[float, float]:
    margin = 0.1 * (values.max() - values.min()) or 1.0
    return float(values.min() - margin), float(values.max() + margin)
