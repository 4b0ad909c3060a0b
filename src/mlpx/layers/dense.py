"""The fully connected layer, and the fixed scaling of inputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mlpx.initializers import Constant, Initializer
from mlpx.kernels import affine, scaling
from mlpx.kernels.activations import Activation, Identity
from mlpx.layers.base import Layer
from mlpx.parameters import Parameter
from mlpx.records import require, require_count
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.program import LayerPlan


@dataclass(frozen=True)
class Dense(Layer, name="dense"):
    """y = f(x W + b), with W (d_in, units), b (units,) and the activation f.

    `initializer` of W is the activation's own unless given; b starts at zero unless
    `bias_initializer` says otherwise. `bias=False` leaves b out. What an activation learns (PReLU:
    "slope", (units,)) is a parameter of the layer, left out of weight decay.
    """

    units: int
    activation: str | Activation | None = None
    initializer: str | Initializer | None = None
    bias: bool = True
    bias_initializer: str | Initializer = "zeros"

    def __post_init__(self) -> None:
        require_count("units", self.units)
        activation = Activation.resolve(self.activation or Identity())
        rule = Initializer.resolve(self.initializer or activation.initializer)
        object.__setattr__(self, "units", int(self.units))
        object.__setattr__(self, "activation", activation)
        object.__setattr__(self, "initializer", rule)
        object.__setattr__(self, "bias_initializer", Initializer.resolve(self.bias_initializer))

    @property
    def nonlinearity(self) -> Activation:
        return Activation.resolve(self.activation)

    def width(self, d_in: int) -> int:
        return self.units

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        owned = [Parameter("W", (d_in, self.units), Initializer.resolve(self.initializer))]
        if self.bias:
            rule = Initializer.resolve(self.bias_initializer)
            owned.append(Parameter("b", (self.units,), rule, kind="bias"))
        for name, start in self.nonlinearity.parameters().items():
            owned.append(Parameter(name, (self.units,), Constant(start), kind="norm"))
        return tuple(owned)

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        f = self.nonlinearity
        y = z = plan.buffer("y", self.units)
        plan.call(affine.forward, x, plan.parameter("W"), plan.parameter("b"), out=z)
        if f.keeps == "input":
            y = plan.buffer("f", self.units)
        if not isinstance(f, Identity):
            learnt = {name: plan.parameter(name) for name in f.parameters()}
            plan.call(f.forward, z, out=y, work=self._work(plan), **learnt)
        plan.kept.update(x=x, f=z if f.keeps == "input" else y)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        f, x = self.nonlinearity, plan.kept["x"]
        if not isinstance(f, Identity):
            learnt = self._learnt(plan)
            plan.call(f.backward, dy, plan.kept["f"], out=dy, work=self._work(plan), **learnt)
        dx = plan.buffer("dx", x.shape[1]) if need_dx else None
        plan.call(
            affine.backward,
            dy,
            x,
            plan.parameter("W"),
            ones=plan.ones(),
            dW=plan.gradient("W"),
            db=plan.gradient("b"),
            dx=dx,
        )
        return dx

    def _work(self, plan: LayerPlan) -> tuple[Array, ...]:
        f = self.nonlinearity
        columns = tuple(plan.buffer(f"f column {i}", 1) for i in range(f.columns))
        return plan.scratch(self.units, f.scratch) + columns

    def _learnt(self, plan: LayerPlan) -> dict[str, Array | None]:
        """What the activation learns and where the gradients go, as its `backward` names them."""
        names = self.nonlinearity.parameters()
        if not names:
            return {}
        values = {name: plan.parameter(name) for name in names}
        return {
            **values,
            **{f"d{name}": plan.gradient(name) for name in names},
            "ones": plan.ones(),
        }


@dataclass(frozen=True)
class Rescale(Layer, name="rescale"):
    """y = x scale + offset, fixed: `Rescale(1 / 255)` in front of a net that is fed bytes."""

    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        require("scale", self.scale)
        require("offset", self.offset)

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        y = plan.buffer("y", x.shape[1])
        plan.call(scaling.forward, x, scale=self.scale, offset=self.offset, out=y)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        if not need_dx:
            return None
        plan.call(scaling.backward, dy, scale=self.scale, out=dy)
        return dy
