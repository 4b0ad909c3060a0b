"""Layers that are random in training and absent in prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpx.kernels import dropout
from mlpx.layers.base import Layer
from mlpx.random import Purpose
from mlpx.records import require
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan


class _Masked(Layer):
    """A layer that multiplies by a random mask, a new one in every step."""

    rate: float

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0, below=1)

    @property
    def stochastic(self) -> bool:
        return self.rate > 0

    def _mask(self, plan: LayerPlan, columns: int, scale: float) -> Array:
        m = plan.kept["mask"] = plan.buffer("mask", columns)
        bits = plan.bits(columns, Purpose.DROPOUT).reshape(plan.rows, columns)
        plan.call(dropout.mask, bits, rate=self.rate, scale=scale, out=m)
        return m

    def _idle(self, plan: LayerPlan) -> bool:
        return not plan.training or self.rate == 0

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        if need_dx and not self._idle(plan):
            plan.call(dropout.backward, dy, plan.kept["mask"], out=dy)
        return dy if need_dx else None


@dataclass(frozen=True)
class Dropout(_Masked, name="dropout"):
    """In training, sets elements to zero with probability `rate`; the others are divided by
    1 - rate.

    In prediction it does nothing. The mask depends only on the model's seed, the step and the
    layer, on every device. Raises InputError unless rate is in [0, 1). Source: Srivastava et al.,
    "Dropout", 2014.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`,
    `network/summary.py`, `estimators/settings.py`, `estimators/saving.py`.
    """

    rate: float = 0.5

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        if self._idle(plan):
            return x
        m = self._mask(plan, x.shape[1], 1.0 / dropout.keep_rate(self.rate))
        y = plan.buffer("y", x.shape[1])
        plan.call(dropout.forward, x, m, out=y)
        return y


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

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        if self._idle(plan):
            return x
        scale, offset = dropout.alpha_affine(self.rate)
        m, y = self._mask(plan, x.shape[1], scale), plan.buffer("y", x.shape[1])
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
