"""An activation as a layer of its own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpx.kernels.activations import Activation
from mlpx.kernels.initializers import Constant
from mlpx.layers.base import Layer
from mlpx.plan.layout import Parameter
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan


@dataclass(frozen=True)
class ActivationLayer(Layer, name="activation"):
    """y = f(x), for an activation that a normalisation separates from its Dense layer.

    In a list of layers the activation itself means the same: `[20, Dense(64), BatchNorm(), "relu",
    2]`.

    Known to: `engines/lowering/batches.py`, `engines/lowering/layers.py` (PReLU, softmax),
    `network/architecture.py` (a last one left to the loss), `network/summary.py`,
    `layers/residual.py` (an entry of a list).
    """

    activation: str | Activation = "relu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation", Activation.resolve(self.activation))

    @property
    def nonlinearity(self) -> Activation:
        return Activation.resolve(self.activation)

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        return learnt_by(self.nonlinearity, d_in)

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        f, y = self.nonlinearity, plan.buffer("y", x.shape[1])
        activate(plan, f, x, out=y)
        plan.kept["f"] = x if f.keeps == "input" else y
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        activate_backward(plan, self.nonlinearity, dy)
        return dy if need_dx else None


def learnt_by(f: Activation, units: int) -> tuple[Parameter, ...]:
    """The parameters that the activation `f` of `units` columns learns; they are not decayed."""
    return tuple(
        Parameter(name, (units,), Constant(start), kind="norm")
        for name, start in f.parameters().items()
    )


def activate(plan: LayerPlan, f: Activation, z: Array, *, out: Array) -> None:
    """Plan out = f(z); out may be z if f keeps its output."""
    learnt = {name: plan.parameter(name) for name in f.parameters()}
    plan.call(f.forward, z, out=out, work=_work(plan, f, z.shape[1]), **learnt)


def activate_backward(plan: LayerPlan, f: Activation, dy: Array) -> None:
    """Plan dy = dy f'(z) in place, and the gradients of f's parameters, from `plan.kept["f"]`."""
    learnt: dict[str, Array] = {}
    for name in f.parameters():
        learnt |= {name: plan.parameter(name), f"d{name}": plan.gradient(name)}
        learnt["ones"] = plan.ones()
    work = _work(plan, f, dy.shape[1])
    plan.call(f.backward, dy, plan.kept["f"], out=dy, work=work, **learnt)


def _work(plan: LayerPlan, f: Activation, units: int) -> tuple[Array, ...]:
    columns = tuple(plan.buffer(f"f column {i}", 1) for i in range(f.columns))
    return plan.scratch(units, f.scratch) + columns
