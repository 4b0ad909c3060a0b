"""Layers that are random in training and absent in prediction."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mlpx.errors import InputError
from mlpx.kernels import dropout
from mlpx.layers.base import Layer
from mlpx.random import Purpose
from mlpx.records import require
from mlpx.schedules import Schedule, Steps, begun, rate_or_schedule, require_unwatched
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan

TRIED = 1000
"""Steps of a schedule that are looked at when a dropout is made; the others when they are due."""


class _Masked(Layer):
    """A layer that multiplies by a random mask, a new one in every step."""

    @property
    def stochastic(self) -> bool:
        return not self._unused

    @property
    def _unused(self) -> bool:
        """Whether no element is ever dropped."""
        raise NotImplementedError

    def _bits(self, plan: LayerPlan, columns: int) -> tuple[Array, Array]:
        """Plan the drawing of bits (n, columns); returns them and the array for the mask."""
        m = plan.kept["mask"] = plan.buffer("mask", columns)
        return plan.bits(columns, Purpose.DROPOUT).reshape(plan.rows, columns), m

    def _idle(self, plan: LayerPlan) -> bool:
        return not plan.training or self._unused

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        if need_dx and not self._idle(plan):
            plan.call(dropout.backward, dy, plan.kept["mask"], out=dy)
        return dy if need_dx else None


@dataclass(frozen=True)
class Dropout(_Masked, name="dropout"):
    """In training, sets elements to zero with probability `rate`; the others are divided by
    1 - rate.

    In prediction it does nothing. The mask depends only on the model's seed, the step and the
    layer, on every device. The rate may be a schedule: `Dropout(FlatCosine(0.15))` has another one
    in each step, rounded to a multiple of 2**-24; steps are counted as for the learning rate.
    Raises InputError unless rate is in [0, 1). Source: Srivastava et al., "Dropout", 2014.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`,
    `program/layer_numbers.py` (a rate that is a schedule), `network/summary.py`,
    `estimators/settings.py`, `estimators/saving.py`.
    """

    rate: float | Schedule = 0.5

    def __post_init__(self) -> None:
        if not isinstance(rate_or_schedule("rate", self.rate), Schedule):
            require("rate", self.rate, least=0, below=1)
            return
        for schedule in self.schedules:
            require_unwatched("rate", schedule)
            tried = schedule.resolved(TRIED) if schedule.open else schedule
            _check_rates(schedule, tried.rates(np.arange(1.0, TRIED + 1)))

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        return (self.rate,) if isinstance(self.rate, Schedule) else ()

    @property
    def _unused(self) -> bool:
        return self.rate == 0

    def begun(self, begin: int, total: int) -> Dropout:
        if not isinstance(self.rate, Schedule):
            return self
        return dataclasses.replace(self, rate=begun(self.rate, begin, total))

    def numbers(self, t: Steps) -> tuple[Steps, ...]:
        """The threshold and the scale of each step."""
        if not isinstance(self.rate, Schedule):
            return ()
        rates = self.rate.rates(t)
        _check_rates(self.rate, rates)
        rates = np.minimum(np.round(rates * dropout.COARSE), dropout.COARSE - 1) / dropout.COARSE
        return rates * 2.0**32, 1.0 / (1.0 - rates)

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        if self._idle(plan):
            return x
        bits, m = self._bits(plan, x.shape[1])
        if isinstance(self.rate, Schedule):
            plan.call(dropout.mask_by, bits, *plan.numbers(), out=m)
        else:
            scale = 1.0 / dropout.keep_rate(self.rate)
            plan.call(dropout.mask, bits, rate=self.rate, scale=scale, out=m)
        y = plan.buffer("y", x.shape[1])
        plan.call(dropout.forward, x, m, out=y)
        return y


def _check_rates(schedule: Schedule, rates: Steps) -> None:
    """Raise InputError for a rate that no dropout can have."""
    wrong = np.flatnonzero(~((rates >= 0) & (rates < 1)))
    if len(wrong):
        raise InputError(
            f"rate = {schedule!r} comes to {rates[wrong[0]]:g}; it must stay in [0, 1)"
        )


@dataclass(frozen=True)
class AlphaDropout(_Masked, name="alpha_dropout"):
    """Dropout for SELU: dropped elements get SELU's floor; mean 0 and variance 1 are kept.

    Raises InputError unless rate is in [0, 1).
    Source: Klambauer et al., "Self-normalizing neural networks", 2017.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`,
    `network/summary.py`.
    """

    rate: float = 0.05

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0, below=1)

    @property
    def _unused(self) -> bool:
        return self.rate == 0

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        if self._idle(plan):
            return x
        scale, offset = dropout.alpha_affine(self.rate)
        (bits, m), y = self._bits(plan, x.shape[1]), plan.buffer("y", x.shape[1])
        plan.call(dropout.mask, bits, rate=self.rate, scale=scale, out=m)
        plan.call(dropout.forward_alpha, x, m, offset=offset, out=y)
        return y


@dataclass(frozen=True)
class GaussianNoise(Layer, name="gaussian_noise"):
    """y = x + N(0, std**2) in training, y = x in prediction; as the first layer, input noise.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`,
    `network/summary.py`.
    """

    std: float = 0.1

    def __post_init__(self) -> None:
        require("std", self.std, least=0)

    @property
    def stochastic(self) -> bool:
        return self.std > 0

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        if not plan.training or self.std == 0:
            return x
        d = x.shape[1]
        size = plan.rows * d
        pairs = -(-size // 2)
        bits = plan.bits(d, Purpose.NOISE, count=2 * pairs)
        # Buffers hold whole rows; d + 1 columns leave room to round an odd count of elements up.
        noise = plan.buffer("noise", d + 1).reshape(-1)[: 2 * pairs]
        work = tuple(a.reshape(-1)[:pairs] for a in plan.scratch(d, 2))
        plan.call(dropout.normals, bits, std=self.std, out=noise, work=work)
        y = plan.buffer("y", d)
        plan.call(dropout.add_noise, x, noise[:size].reshape(plan.rows, d), out=y)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        return dy if need_dx else None
