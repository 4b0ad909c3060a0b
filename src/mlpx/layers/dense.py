"""The fully connected layer, and the fixed scaling of inputs."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from mlpx.kernels import affine, scaling
from mlpx.kernels.activations import Activation, Identity
from mlpx.kernels.initializers import Initializer
from mlpx.kernels.penalties import Penalty
from mlpx.layers.activation import activate, activate_backward, learnt_by
from mlpx.layers.base import Layer
from mlpx.plan.layout import Parameter
from mlpx.records import require, require_count, require_flag
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan


@dataclass(frozen=True)
class Dense(Layer, name="dense"):
    """y = f(x W + b), with W (d_in, units), b (units,) and the activation f.

    `initializer` of W is the activation's default unless given; b starts at zero unless
    `bias_initializer` says otherwise. `bias=False` leaves b out. What an activation learns (PReLU:
    "slope", (units,)) is a parameter of the layer and not decayed. `penalty` ("l2",
    `L1(1e-5)`) of W is added to the loss; after every update the norm of each unit's weights, a
    column of W, is limited to `max_norm`.

    Raises InputError, InputTypeError or UnknownNameError.

    Known to: `engines/lowering/batches.py` (affine), `network/architecture.py` (a width in a list
    of layers), `network/summary.py`, `gradcheck/numerical.py` (its batched forms),
    `estimators/settings.py`, `estimators/saving.py`, `cli/train/setup.py`.
    """

    units: int
    activation: str | Activation | None = None
    initializer: str | Initializer | None = None
    bias: bool = True
    bias_initializer: str | Initializer = "zeros"
    penalty: str | Penalty | None = None
    max_norm: float | None = None

    def __post_init__(self) -> None:
        require_count("units", self.units)
        require_flag("bias", self.bias)
        activation = Activation.resolve(_unless_none(self.activation, Identity()))
        rule = Initializer.resolve(_unless_none(self.initializer, activation.initializer))
        object.__setattr__(self, "units", int(self.units))
        object.__setattr__(self, "activation", activation)
        object.__setattr__(self, "initializer", rule)
        object.__setattr__(self, "bias_initializer", Initializer.resolve(self.bias_initializer))
        if self.penalty is not None:
            object.__setattr__(self, "penalty", Penalty.resolve(self.penalty))
        if self.max_norm is not None:
            require("max_norm", self.max_norm, above=0)

    @property
    def nonlinearity(self) -> Activation:
        return Activation.resolve(self.activation)

    def width(self, d_in: int) -> int:
        return self.units

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        W = Parameter(
            "W",
            (d_in, self.units),
            Initializer.resolve(self.initializer),
            penalty=None if self.penalty is None else Penalty.resolve(self.penalty),
            max_norm=self.max_norm,
        )
        owned = [W]
        if self.bias:
            rule = Initializer.resolve(self.bias_initializer)
            owned.append(Parameter("b", (self.units,), rule, kind="bias"))
        return (*owned, *learnt_by(self.nonlinearity, self.units))

    def penalised(self, penalty: Penalty) -> Self:
        return self if self.penalty is not None else dataclasses.replace(self, penalty=penalty)

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        f = self.nonlinearity
        z = plan.buffer("y", self.units)
        plan.call(affine.forward, x, plan.parameter("W"), plan.parameter("b"), out=z)
        y = plan.buffer("f", self.units) if f.keeps == "input" else z
        if not isinstance(f, Identity):
            activate(plan, f, z, out=y)
        plan.kept.update(x=x, f=z if f.keeps == "input" else y)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        f, x = self.nonlinearity, plan.kept["x"]
        if not isinstance(f, Identity):
            activate_backward(plan, f, dy)
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


def _unless_none(given: object, default: object) -> object:
    return default if given is None else given


@dataclass(frozen=True)
class Rescale(Layer, name="rescale"):
    """y = x scale + offset, fixed: `Rescale(1 / 255)` in front of a net that takes bytes.

    Known to: `engines/lowering/batches.py`, `gradcheck/numerical.py` (its batched forms),
    `cli/train/setup.py`.
    """

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
        plan.call(scaling.backward, dy, scale=self.scale, out=dy)
        return dy
