"""Normalising layers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpx.kernels import normalization
from mlpx.kernels.initializers import Constant, Zeros
from mlpx.layers.base import Layer
from mlpx.plan.layout import Parameter
from mlpx.records import require
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan

GAMMA, BETA = Constant(1.0), Zeros()


class _Normalization(Layer):
    """What the normalisations share: gamma (d,), beta (d,) or none, and the backward pass."""

    axis = 1
    centred = True
    epsilon: float

    def __post_init__(self) -> None:
        require("epsilon", self.epsilon, above=0)

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        gamma = Parameter("gamma", (d_in,), GAMMA, kind="norm")
        return (gamma, Parameter("beta", (d_in,), BETA, kind="norm")) if self.centred else (gamma,)

    def _columns(self, plan: LayerPlan, d: int, *names: str) -> tuple[Array, ...]:
        """Arrays of one number per feature (1, d) for axis 0, per row (n, 1) for axis 1."""
        if self.axis == 0:
            return tuple(plan.vector(name, d)[None, :] for name in names)
        return tuple(plan.buffer(name, 1) for name in names)

    def _ones(self, plan: LayerPlan, d: int) -> Array:
        if self.axis == 0:
            return plan.ones()
        ones = plan.vector("ones", d)
        ones[...] = 1
        return ones[:, None]

    def _standardise(self, plan: LayerPlan, x: Array) -> tuple[Array, Array]:
        """Plan xhat (n, d) into the layer's buffers; returns mean and variance."""
        d = x.shape[1]
        mu, variance, scale = self._columns(plan, d, "mu", "variance", "scale")
        xhat = plan.buffer("xhat", d)
        plan.call(
            normalization.standardise, x, axis=self.axis, ones=self._ones(plan, d),
            epsilon=self.epsilon, mu=mu, variance=variance, scale=scale, out=xhat,
            work=plan.scratch(d, 1)[0],
        )  # fmt: skip
        plan.kept.update(xhat=xhat, scale=scale)
        return mu, variance

    def _affine(self, plan: LayerPlan, xhat: Array) -> Array:
        y = plan.buffer("y", xhat.shape[1])
        gamma, beta = plan.parameter("gamma"), plan.parameter("beta")
        plan.call(normalization.affine, xhat, gamma, beta, out=y)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        xhat, scale = plan.kept["xhat"], plan.kept["scale"]
        d = xhat.shape[1]
        (work,) = plan.scratch(d, 1)
        plan.call(
            normalization.affine_backward, dy, xhat, plan.parameter("gamma"), ones=plan.ones(),
            dgamma=plan.gradient("gamma"), dbeta=plan.gradient("beta"), out=dy, work=work,
        )  # fmt: skip
        if not need_dx:
            return None
        (mu,) = self._columns(plan, d, "dmu")
        plan.call(
            normalization.backward, dy, xhat, scale, axis=self.axis, ones=self._ones(plan, d),
            centred=self.centred, mu=mu, out=dy, work=work,
        )  # fmt: skip
        return dy


@dataclass(frozen=True)
class BatchNorm(_Normalization, name="batch_norm"):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, for each feature.

    In training, mean and variance (biased, divided by n) are those of the batch, without row
    weights. Each step also moves the running ones, running += momentum (batch - running) with the
    unbiased variance (divided by n - 1), as PyTorch does; Keras' momentum is 1 - this one.
    Prediction uses the running ones, which are saved with the model and not learnt. A batch needs
    two rows: a last batch of one row is merged into the one before it, and `batch_size=1` is
    refused. Source: Ioffe and Szegedy, "Batch normalization", 2015.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`.
    """

    momentum: float = 0.1
    epsilon: float = 1e-5

    axis = 0

    def __post_init__(self) -> None:
        require("momentum", self.momentum, least=0, most=1)
        super().__post_init__()

    @property
    def least_rows(self) -> int:
        return 2

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        return (
            *super().parameters(d_in),
            Parameter("mean", (d_in,), Zeros(), kind="state"),
            Parameter("variance", (d_in,), Constant(1.0), kind="state"),
        )

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        if not plan.training:
            return self._apply_running(plan, x)
        n, d = x.shape
        mu, variance = self._standardise(plan, x)
        (work,) = self._columns(plan, d, "change")
        for name, value, factor in (("mean", mu, 1.0), ("variance", variance, n / max(n - 1, 1))):
            plan.call(
                normalization.track, value, momentum=self.momentum, factor=factor,
                running=plan.parameter(name), work=work,
            )  # fmt: skip
        return self._affine(plan, plan.kept["xhat"])

    def _apply_running(self, plan: LayerPlan, x: Array) -> Array:
        d = x.shape[1]
        y = plan.buffer("y", d)
        (scale,) = self._columns(plan, d, "scale")
        names = ("mean", "variance", "gamma", "beta")
        plan.call(
            normalization.apply_running, x, *map(plan.parameter, names), epsilon=self.epsilon,
            scale=scale, out=y,
        )  # fmt: skip
        return y


@dataclass(frozen=True)
class LayerNorm(_Normalization, name="layer_norm"):
    """y = gamma (x - mean) / sqrt(variance + epsilon) + beta, the moments (biased) of each row.

    Source: Ba, Kiros and Hinton, "Layer normalization", 2016.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`.
    """

    epsilon: float = 1e-5

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        self._standardise(plan, x)
        return self._affine(plan, plan.kept["xhat"])


@dataclass(frozen=True)
class RMSNorm(_Normalization, name="rms_norm"):
    """y = gamma x / sqrt(mean x**2 + epsilon), the mean of each row.

    Source: Zhang and Sennrich, "Root mean square layer normalization", 2019.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`.
    """

    epsilon: float = 1e-6

    centred = False

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        d = x.shape[1]
        xhat, (scale,) = plan.buffer("xhat", d), self._columns(plan, d, "scale")
        plan.call(
            normalization.scale_to_unit, x, ones=self._ones(plan, d), epsilon=self.epsilon,
            scale=scale, out=xhat,
        )  # fmt: skip
        plan.kept.update(xhat=xhat, scale=scale)
        return self._affine(plan, xhat)
