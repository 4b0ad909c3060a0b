"""Where each parameter lives in the one flat vector of a model.

Weights come first, then biases, then the parameters of normalisations, so that an optimizer can
treat each kind as one slice. Running statistics come last, after `Layout.learnt`: they are saved,
moved and restored with the rest, but no optimizer touches them. Every parameter starts at a
multiple of 256 bytes; the padding between is zero, its gradient is zero, and it is never saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np

from mlpx.backend.cpu import aligned
from mlpx.kernels.initializers import Initializer
from mlpx.kernels.penalties import Penalty
from mlpx.types import Array

Kind = Literal["weight", "bias", "norm", "state"]
KINDS: tuple[Kind, ...] = ("weight", "bias", "norm")
ALIGNMENT_BYTES = 256


@dataclass(frozen=True)
class Parameter:
    """One array of a layer; one of kind `"state"` is updated by the layer, not trained.

    `penalty` is added to the loss; `max_norm` bounds the norm of each column after every update.
    """

    name: str
    shape: tuple[int, ...]
    initializer: Initializer
    kind: Kind = "weight"
    penalty: Penalty | None = None
    max_norm: float | None = None

    @property
    def size(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Place:
    """A parameter's elements in the flat vector: `[start, stop)`."""

    parameter: Parameter
    start: int

    @property
    def stop(self) -> int:
        return self.start + self.parameter.size


class Layout:
    """The places of named parameters in one flat vector of `size` elements."""

    def __init__(self, parameters: dict[str, Parameter], itemsize: int) -> None:
        step = ALIGNMENT_BYTES // itemsize
        order = sorted(parameters, key=lambda name: (*KINDS, "state").index(parameters[name].kind))
        self.places: dict[str, Place] = {}
        self.size = 0
        self.learnt = 0
        """The optimizer moves the elements before this one, and none from it on."""
        for name in order:
            self.places[name] = Place(parameters[name], self.size)
            self.size += -(-parameters[name].size // step) * step
            if parameters[name].kind != "state":
                self.learnt = self.size

    def views(self, flat: Array) -> dict[str, Array]:
        """A view of `flat` for each name, in the parameter's shape."""
        return {
            name: flat[place.start : place.stop].reshape(place.parameter.shape)
            for name, place in self.places.items()
        }

    def gradients(self, flat: Array) -> dict[str, Array]:
        """As `views`, of trainable parameters only."""
        views = self.views(flat)
        return {
            name: views[name]
            for name, place in self.places.items()
            if place.parameter.kind != "state"
        }

    def span(self, kind: Kind) -> slice:
        """The slice that holds all parameters of one kind, padding included."""
        starts = [place.start for place in self.places.values() if place.parameter.kind == kind]
        later = [
            place.start
            for place in self.places.values()
            if starts and place.start > max(starts) and place.parameter.kind != kind
        ]
        return slice(min(starts, default=0), min(later, default=self.size) if starts else 0)

    def __len__(self) -> int:
        return sum(
            place.parameter.size
            for place in self.places.values()
            if place.parameter.kind != "state"
        )


def aligned_zeros(size: int, dtype: np.dtype) -> np.ndarray:
    """Zeros in host memory, aligned to ALIGNMENT_BYTES as CUDA allocations are."""
    return aligned(np.zeros, size * dtype.itemsize, to=ALIGNMENT_BYTES).view(dtype)
