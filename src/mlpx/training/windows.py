"""Rows of which only some are in the device's memory at a time: they take turns in a window."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.network.network import Network
from mlpx.program.data import TrainingData, split_batches
from mlpx.training.sampling import Feed


@dataclass(frozen=True, eq=False)
class Window(TrainingData):
    """Room on the device for some rows of `source`, which take turns in it.

    `source` has a `len`, and `part(rows)` that brings some of its rows to the device.
    """

    source: Any

    def __len__(self) -> int:
        return len(self.source)

    @property
    def room(self) -> int:
        """How many rows there is room for."""
        return len(self.x)

    def part(self, rows: np.ndarray) -> TrainingData:
        """Some of the rows of the source."""
        found: TrainingData = self.source.part(rows)
        return found


class Windowed(Feed):
    """Rows in their order: all at once, or one window after the other."""

    def __init__(self, model: Network, data: TrainingData, *, batch_size: int) -> None:
        self.model, self.data, self.batch_size = model, data, batch_size
        self.window = data if isinstance(data, Window) else None
        self.room = data.room
        self._shown = -1
        """Which turn's rows are in the window, counted from the epoch's first."""

    def places(self) -> np.ndarray:
        """Where each row of a turn is in the window, and then those of a last, ragged batch."""
        n, rows = len(self.data), self.batch_size
        full, last = split_batches(self.model.layers, n, rows)
        if self.room is None:
            return np.arange(n)
        steps = self.room // rows
        start = full % steps * rows
        turn = np.arange(min(steps, full) * rows)
        return np.concatenate([turn, np.arange(start, start + last)])

    def ready(self, position: int, end: int) -> int:
        if self.room is None:
            return end
        steps = self.room // self.batch_size
        turn = position // steps
        if turn != self._shown:
            self.show(turn)
            self._shown = turn
        return min(end, (turn + 1) * steps)

    def show(self, turn: int) -> None:
        """Bring the rows of a turn into the window."""
        raise NotImplementedError


class Turns:
    """Rows of which only some are in memory at a time, with what to predict; `fit` takes it as x.

    The order of the rows is its own.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def opened(self, model: Network, batch_size: int) -> tuple[TrainingData, Feed]:
        """A window onto these rows for steps of `batch_size`, and what fills it.

        Raises InputError if the model cannot take them.
        """
        raise NotImplementedError
