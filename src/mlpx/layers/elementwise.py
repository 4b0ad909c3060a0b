"""Layers that learn one number for each column: a factor, and a share of an activation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpx.errors import InputError
from mlpx.kernels import normalization, parametric
from mlpx.kernels.activations import Activation
from mlpx.kernels.initializers import Constant
from mlpx.layers.base import Layer
from mlpx.plan.layout import Parameter
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan


@dataclass(frozen=True)
class Scale(Layer, name="scale"):
    """y = x s, with a learnt factor s (d_in,) of each column that starts at 1.

    In front of a net it learns which columns matter. s is of the kind "norm": it is not decayed
    unless the optimizer decays all. Source: Holzmueller, Grinsztajn and Steinwart, "Better by
    default: strong pre-tuned MLPs and boosted trees on tabular data", 2024.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`.
    """

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        return (Parameter("s", (d_in,), Constant(1.0), kind="norm"),)

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        y = plan.buffer("y", x.shape[1])
        plan.kept["x"] = x
        plan.call(normalization.affine, x, plan.parameter("s"), None, out=y)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        plan.call(
            normalization.affine_backward, dy, plan.kept["x"], plan.parameter("s"),
            ones=plan.ones(), dgamma=plan.gradient("s"), dbeta=None, out=dy,
            work=plan.scratch(dy.shape[1], 1)[0],
        )  # fmt: skip
        return dy if need_dx else None


@dataclass(frozen=True)
class ParametricActivation(Layer, name="parametric_activation"):
    """y = x + a (f(x) - x), with a learnt share a (d_in,) of the activation f in each unit.

    a starts at 1, where y = f(x), and is of the kind "norm": it is not decayed unless the optimizer
    decays all. f works on each number by itself and learns nothing. Raises InputError for another
    one. Source: Holzmueller, Grinsztajn and Steinwart, "Better by default: strong pre-tuned MLPs
    and boosted trees on tabular data", 2024.

    Known to: `engines/lowering/parametric.py`, `engines/native/c/parametric.inc`,
    `engines/native/c/table.inc`, `engines/cuda/parametric.cu`, `engines/cuda/launches.py`,
    `gradcheck/check.py` (its kinks), `network/summary.py`.
    """

    activation: str | Activation = "selu"

    def __post_init__(self) -> None:
        f = Activation.resolve(self.activation)
        if f.parameters() or not f.elementwise:
            why = "learns parameters of its own" if f.parameters() else "mixes the columns"
            raise InputError(
                f"activation = {f.name!r} {why}; a parametric activation wants one that works on "
                "each number by itself and learns nothing, such as 'selu' or 'mish'"
            )
        object.__setattr__(self, "activation", f)

    @property
    def nonlinearity(self) -> Activation:
        return Activation.resolve(self.activation)

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        return (Parameter("a", (d_in,), Constant(1.0), kind="norm"),)

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        f, d = self.nonlinearity, x.shape[1]
        y = plan.buffer("y", d)
        plan.kept["x"] = x
        plan.call(
            parametric.forward, x, plan.parameter("a"), f=f, out=y, rest=plan.vector("rest", d),
            work=plan.scratch(d, 1 + f.scratch),
        )  # fmt: skip
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        f, d = self.nonlinearity, dy.shape[1]
        plan.call(
            parametric.backward, dy, plan.kept["x"], plan.parameter("a"), f=f, ones=plan.ones(),
            da=plan.gradient("a"), out=dy, rest=plan.vector("rest", d),
            work=plan.scratch(d, 2 + f.scratch),
        )  # fmt: skip
        return dy if need_dx else None
