"""The base of every layer: a record that plans its forward and backward kernel calls."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Self

from mlpx.kernels.penalties import Penalty
from mlpx.plan.layout import Parameter
from mlpx.records import Record
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.plan.plan import LayerPlan
    from mlpx.schedules import Schedule, Steps


class Layer(Record, kind="layer"):
    """The specification of one layer. It holds no arrays: those are in the model's flat vector."""

    @property
    def inner(self) -> tuple[Layer, ...]:
        """The layers inside it."""
        return ()

    @property
    def stochastic(self) -> bool:
        """Whether it draws random numbers in training."""
        return any(layer.stochastic for layer in self.inner)

    @property
    def least_rows(self) -> int:
        """The fewest rows a training batch may have."""
        return max((layer.least_rows for layer in self.inner), default=1)

    @property
    def schedules(self) -> tuple[Schedule, ...]:
        """The schedules that its numbers follow, and those of the layers inside it."""
        return tuple(schedule for layer in self.inner for schedule in layer.schedules)

    @property
    def open(self) -> bool:
        """Whether a schedule still needs the length of the run."""
        return any(schedule.open for schedule in self.schedules)

    def begun(self, begin: int, total: int) -> Layer:
        """The layer with its own open schedules as they are in a run of `total` steps after step
        `begin`.
        """
        return self

    def numbers(self, t: Steps) -> tuple[Steps, ...]:
        """Columns of its own numbers for the steps t = 1, 2, ..., float64 (steps,); a step reads
        its row by `plan.numbers()`.
        """
        return ()

    def width(self, d_in: int) -> int:
        """The number of output columns for `d_in` input columns."""
        return d_in

    def outputs(self, d_in: int) -> int:
        """As `width`, for layers that have a field of that name."""
        return self.width(d_in)

    @property
    def codes(self) -> tuple[int, ...]:
        """How many codes there are for each of its last input columns; () if it takes none."""
        return ()

    def passed_on(self, d_in: int) -> int:
        """How many of its last input columns come out as they are, and last."""
        return 0

    def parameters(self, d_in: int) -> tuple[Parameter, ...]:
        """The parameters it owns for `d_in` input columns."""
        return ()

    def penalised(self, penalty: Penalty) -> Self:
        """The layer with `penalty` on its weights, unless it has one of its own."""
        return self

    def forward(self, plan: LayerPlan, x: Array) -> Array:
        """Plan the calls that turn `x` (n, d_in) into the array returned (n, width).

        x must not be changed; the array returned may be x itself.
        """
        raise NotImplementedError

    def backward(self, plan: LayerPlan, dy: Array, *, need_dx: bool) -> Array | None:
        """Plan the calls from `dy` (n, width) to parameter gradients and, if wanted, dx (n, d_in).

        `dy` may be overwritten. `plan.kept` holds what `forward` put there. A layer without
        parameters is asked only if dx is wanted.
        """
        raise NotImplementedError


def chain_forward(layers: Sequence[Layer], sites: Sequence[LayerPlan], x: Array) -> Array:
    """Plan the forward calls of consecutive layers; returns the last output."""
    for site, layer in zip(sites, layers, strict=True):
        x = layer.forward(site, x)
    return x


def chain_backward(
    layers: Sequence[Layer], sites: Sequence[LayerPlan], dy: Array | None, *, need_dx: bool
) -> Array | None:
    """Plan the backward calls, last layer first; dx only if something before needs it."""
    learns = (site.learns for site in sites)
    needed = list(accumulate(learns, operator.or_, initial=need_dx))
    for i in reversed(range(len(sites))):
        if needed[i + 1]:
            dy = layers[i].backward(sites[i], dy, need_dx=needed[i])
    return dy if need_dx else None
