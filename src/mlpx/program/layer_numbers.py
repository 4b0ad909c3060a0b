"""The numbers of each step that layers read: those of a dropout whose rate follows a schedule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from mlpx.kernels import batches
from mlpx.layers import Layer
from mlpx.network.network import Network
from mlpx.plan.plan import Plan
from mlpx.schedules import Steps
from mlpx.types import Array


class LayerNumbers:
    """A table (steps, columns) of the numbers of each step of an epoch, and the row of one step.

    `span` is (begin, total): open schedules take the `total` steps after step `begin`; without it,
    they take the `steps` of the first epoch.
    """

    def __init__(
        self, network: Network, *, steps: int, span: tuple[int, int] | None = None
    ) -> None:
        begun = {name: layer.begun(*(span or (0, steps))) for name, layer in named(network.layers)}
        widths = {name: len(layer.numbers(np.ones(1))) for name, layer in begun.items()}
        self.widths = {name: width for name, width in widths.items() if width}
        self.layers = [begun[name] for name in self.widths]
        self.backend, dtype = network.backend, network.dtype
        self.table = self.backend.zeros((steps, sum(self.widths.values())), dtype)
        self.row = self.backend.zeros((1, self.table.shape[1]), dtype)

    def fill(self, t: Steps) -> None:
        """Fill the table for the steps t = 1, 2, ... of the optimizer.

        Raises InputError for a schedule that leaves the range.
        """
        columns = [column for layer in self.layers for column in layer.numbers(t)]
        if columns:
            self.backend.upload(np.array(columns).T, out=self.table)

    def plan(self, plan: Plan, state: Array) -> None:
        """Append the selection of the step's row, if there is any, for the layers planned next."""
        if self.layers:
            plan.call(batches.select_row, self.backend.take, self.table, state, out=self.row)
            plan.numbers = self.parts(self.row)

    def parts(self, row: Array) -> dict[str, tuple[Array, ...]]:
        """The numbers (1,) of each layer, by its name, in a row (1, columns) of the table."""
        found, first = dict[str, tuple[Array, ...]](), 0
        for name, width in self.widths.items():
            found[name] = tuple(row[0, first + i : first + i + 1] for i in range(width))
            first += width
        return found


def named(layers: Iterable[Layer], around: str = "") -> Iterator[tuple[str, Layer]]:
    """All layers by their names in a plan, those inside others too: "0", "1", "1.0", "1.1"."""
    for i, layer in enumerate(layers):
        yield f"{around}{i}", layer
        yield from named(layer.inner, f"{around}{i}.")
