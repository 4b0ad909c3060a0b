"""Layers with a skip connection around them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.kernels import batches, skip
from mlpx.kernels.activations import Activation
from mlpx.kernels.penalties import Penalty
from mlpx.layers.activation import ActivationLayer
from mlpx.layers.base import Layer, chain_backward, chain_forward
from mlpx.plan.layout import Parameter
from mlpx.records import Record
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan


@dataclass(frozen=True)
class Residual(Layer, name="residual"):
    """y = x + layers(x), as `Residual([Dense(64, activation="relu"), Dense(64)])`.

    The inner layers must give as many columns as they get; otherwise building the model fails.
    Raises InputError or InputTypeError. Source: He et al., "Deep residual learning", 2016.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/layers.cu`, `engines/cuda/launches.py`,
    `engines/lowering/batches.py` (a copy of dy), `network/summary.py`.
    """

    layers: Sequence[str | Layer | Activation] = ()

    def __post_init__(self) -> None:
        one = not isinstance(self.layers, Iterable) or isinstance(self.layers, str | Record)
        given = (self.layers,) if one else tuple(self.layers)
        if not given:
            raise InputError("layers is empty; a residual block needs at least one layer inside")
        object.__setattr__(self, "layers", tuple(as_layer(entry) for entry in given))

    @property
    def inner(self) -> tuple[Layer, ...]:
        return tuple(as_layer(layer) for layer in self.layers)

    def width(self, d_in: int) -> int:
        width = d_in
        for layer in self.inner:
            width = layer.outputs(width)
        if width != d_in:
            raise InputError(
                f"a residual block gets {d_in} columns and its layers give {width}; they must be "
                f"equal: end the block with Dense({d_in}), or put Dense({width}) in front of it"
            )
        return d_in

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        parameters, width = [], d_in
        for i, layer in enumerate(self.inner):
            parameters += [
                dataclasses.replace(parameter, name=f"{i}.{parameter.name}")
                for parameter in layer.parameters(width)
            ]
            width = layer.outputs(width)
        return tuple(parameters)

    def penalised(self, penalty: Penalty) -> Self:
        return dataclasses.replace(
            self, layers=tuple(layer.penalised(penalty) for layer in self.inner)
        )

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        sites = plan.kept["sites"] = [plan.at(str(i)) for i in range(len(self.inner))]
        inner, y = chain_forward(self.inner, sites, x), plan.buffer("y", x.shape[1])
        plan.call(skip.forward, x, inner, out=y)
        return y

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        dx = None
        if need_dx:  # the inner layers may overwrite dy
            dx = plan.buffer("dx", dy.shape[1])
            plan.call(batches.copy, dy, out=dx)
        inner = chain_backward(self.inner, plan.kept["sites"], dy, need_dx=need_dx)
        if need_dx:
            plan.call(skip.backward, inner, out=dx)
        return dx


def as_layer(given: object) -> Layer:
    """The layer for an entry of a list: a layer, an activation, or the name of either.

    Raises UnknownNameError or InputTypeError.
    """
    if isinstance(given, str):
        name = given.strip().lower().replace("-", "_")
        if name in Layer.table:
            return Layer.resolve(name)
        if name not in Activation.table:
            raise UnknownNameError("layer or activation", given, {*Layer.table, *Activation.table})
    if isinstance(given, Layer) or (isinstance(given, type) and issubclass(given, Layer)):
        return Layer.resolve(given)
    try:
        return ActivationLayer(Activation.resolve(given))
    except InputTypeError:
        raise InputTypeError(
            f"layers holds {given!r}, a {type(given).__name__}; wanted layers or activations, "
            "or their names"
        ) from None
