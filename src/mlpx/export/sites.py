"""The layers of a model with their places: columns and parameters, on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from mlpx.errors import InputError
from mlpx.kernels.activations import Activation
from mlpx.layers import Layer
from mlpx.network.network import Network
from mlpx.records import Record

Form = TypeVar("Form")


@dataclass(frozen=True)
class Site:
    """A layer where it stands in a model."""

    layer: Any
    """A `Layer`; of any kind, so that each form may ask for the fields of its own."""
    name: str
    """What the names of its parameters begin with: "0", or "2.1" inside a residual block."""
    columns: int
    """How many columns it gets."""
    values: Mapping[str, np.ndarray]
    """The parameters of the whole model."""

    def key(self, parameter: str) -> str:
        """The name of one of its parameters in the model: "0.W" of "W"."""
        return f"{self.name}.{parameter}"

    def value(self, parameter: str) -> np.ndarray:
        """One of its parameters."""
        return self.values[self.key(parameter)]

    def __contains__(self, parameter: str) -> bool:
        return self.key(parameter) in self.values

    @property
    def activation(self) -> Activation:
        """The activation of a layer that has one."""
        f: Activation = self.layer.nonlinearity
        return f

    @property
    def inner(self) -> Iterator[Site]:
        """The layers inside it."""
        return _row(self.layer.inner, f"{self.name}.", self.columns, self.values)


def sites(model: Network) -> Iterator[Site]:
    """The layers of a model in their order."""
    values = {name: model.backend.to_numpy(value) for name, value in model.parameters.items()}
    return _row(model.layers, "", model.d_in, values)


def _row(
    layers: Sequence[Layer], prefix: str, columns: int, values: Mapping[str, np.ndarray]
) -> Iterator[Site]:
    for i, layer in enumerate(layers):
        yield Site(layer, f"{prefix}{i}", columns, values)
        columns = layer.outputs(columns)


def form_of(record: Record, forms: Mapping[str, Form], *, where: str, into: str) -> Form:
    """What `forms` has for a record, by its name.

    Raises InputError that names it, what it would be exported into, and the table that lacks it.
    """
    if record.name not in forms:
        raise InputError(
            f"the {record.kind} {record.name!r} has no form in {into}; there are forms of "
            f"{', '.join(sorted(forms))}; to add one, put a function into {where}"
        )
    return forms[record.name]
