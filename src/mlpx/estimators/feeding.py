"""Rows in the order that scikit-learn draws them; sparse rows come window by window."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.backend import array_backend
from mlpx.estimators.rows import take
from mlpx.mlp import MLP
from mlpx.network.network import Network
from mlpx.program.data import TrainingData, split_batches
from mlpx.training.epochs import Epochs
from mlpx.training.full_batch import FullBatch
from mlpx.training.run import Loop, RunOptions
from mlpx.training.sampling import Feed
from mlpx.training.windows import Window, Windowed

Part = tuple[Any, Any, Any]
WINDOW_ELEMENTS = 1 << 21
"""How many numbers of sparse rows are made dense at a time, unless one batch has more."""


class SparseWindow(Window):
    """A window onto data whose x is sparse."""

    def part(self, rows: np.ndarray) -> TrainingData:
        """Some of the rows of the source."""
        source, backend = self.source, array_backend(self.x)
        at = backend.asarray(rows)
        weights = None if source.weights is None else source.weights[at]
        return TrainingData(backend.asarray(source.x[rows]), source.y[at], weights)


def open_window(model: MLP, source: TrainingData, batch_size: int) -> SparseWindow:
    """A window of whole batches onto data whose x is sparse."""
    columns, n = max(1, source.x.shape[1]), len(source)
    batches = max(1, WINDOW_ELEMENTS // (columns * batch_size))
    rows = batch_size * min(batches, -(-n // batch_size))
    backend = model.backend
    weights = None if source.weights is None else backend.zeros((rows, 1), model.dtype)
    x = backend.zeros((rows, columns), model.dtype)
    return SparseWindow(
        x, backend.zeros((rows, *source.y.shape[1:]), source.y.dtype), weights, source
    )


def fill(model: Network, window: Window, rows: np.ndarray) -> None:
    """Copy `rows` of the source into the first rows of the window."""
    backend, n = model.backend, len(rows)
    source: Any = window.source  # it has weights if the window does
    backend.upload(source.x[rows], out=window.x[:n])
    at = backend.asarray(rows)
    window.y[:n] = source.y[at]
    if window.weights is not None:
        window.weights[:n] = source.weights[at]


def weighing(w: np.ndarray) -> np.ndarray:
    """Which weights (n,), scaled to the model's dtype, count: engines flush denormals to zero."""
    weighs: np.ndarray = w >= np.finfo(w.dtype).tiny
    return weighs


def enough_weighing(X: Any, y: np.ndarray, w: np.ndarray | None, *, batch_rows: int) -> Part:
    """X, y and w; without the rows of weight zero if not every batch can have a weighted row.

    w is already scaled to the model's dtype, so the user's scale does not matter.
    """
    weighs = None if w is None else weighing(w)
    if w is None or weighs is None or weighs.sum() * batch_rows >= len(y):
        return X, y, w
    return take(X, weighs), y[weighs], w[weighs]


def spread(order: np.ndarray, weighs: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """`order` with rows exchanged so that each batch, given by its start, has one that `weighs`.

    There must be at least as many such rows as batches.
    """
    counts = np.add.reduceat(weighs[order].astype(np.int64), starts)
    order = order.copy()
    for empty in np.flatnonzero(counts == 0):
        fullest = counts.argmax()
        a, b = starts[fullest] + weighs[order[starts[fullest] :]].argmax(), starts[empty]
        order[[a, b]] = order[[b, a]]
        counts[fullest] -= 1
    return order


class InOrder(Windowed):
    """Rows in order, of which sparse ones are made dense window by window."""

    def __init__(self, model: MLP, data: TrainingData, *, batch_size: int) -> None:
        super().__init__(model, data, batch_size=batch_size)
        self._order = np.arange(len(data))

    def rows_at(self, order: np.ndarray, places: slice) -> np.ndarray:
        return self._order[places]

    def show(self, turn: int) -> None:
        assert self.window is not None
        rows = self.window.room
        fill(self.model, self.window, self._order[turn * rows : (turn + 1) * rows])


class Shuffled(InOrder):
    """Rows in the order drawn from an estimator's random state, and scikit-learn's epoch loss.

    `weights` (n,) are the row weights, scaled to the model's dtype; `constants` (n,) are the terms
    that scikit-learn's loss of each row has besides ours.
    """

    def __init__(
        self, estimator: Any, model: MLP, data: TrainingData, *, batch_size: int,
        weights: np.ndarray | None, constants: np.ndarray | None,
    ) -> None:  # fmt: skip
        super().__init__(model, data, batch_size=batch_size)
        self.estimator, self.weights, self.constants = estimator, weights, constants
        full, last = split_batches(model.layers, len(data), batch_size)
        self.starts = batch_size * np.arange(full + bool(last))
        """Where each batch begins, (steps,)."""

    def order(self, epoch: int, position: int) -> np.ndarray:
        order: np.ndarray = self.estimator._next_order(len(self.data), anew=position == 0)
        if self.weights is not None:
            order = spread(order, weighing(self.weights), self.starts)
        self._order = order
        if self.window is None:
            return order
        self._shown = -1
        return self.places()

    def objective(self, losses: np.ndarray, position: int) -> float:
        """scikit-learn's loss of the batches before `position` (0: the epoch's end).

        It is the mean of their losses, plus `constants`, weighted by their numbers of rows.
        """
        stop = position or len(self.starts)
        ran = slice(stop - len(losses), stop)
        rows = np.diff(self.starts, append=len(self.data))[ran]
        if self.constants is not None:
            losses = losses + self._means(self.constants)[ran]
        return float(losses @ rows / rows.sum())

    def _means(self, constants: np.ndarray) -> np.ndarray:
        """The weighted mean of each batch's `constants`, (steps,)."""
        w = np.ones(len(self.data)) if self.weights is None else self.weights
        parts = (w * constants, w.astype(np.float64))
        sums = [np.add.reduceat(a[self._order], self.starts) for a in parts]
        means: np.ndarray = sums[0] / sums[1]
        return means


def loop_and_feed(
    estimator: Any, model: MLP, data: TrainingData, options: RunOptions,
    weights: np.ndarray | None, constants: np.ndarray | None,
) -> tuple[Loop, Feed]:  # fmt: skip
    """How the run of an estimator goes over the rows; L-BFGS has scikit-learn's limits and loss.

    `weights` and `constants` as for `Shuffled`.
    """
    if not options.optimizer.full_batch:
        return Epochs(), Shuffled(
            estimator, model, data, batch_size=options.batch_size, weights=weights,
            constants=constants,
        )  # fmt: skip
    limits = {"ftol": None, "maxfun": int(estimator.max_fun)}
    constant = 0.0 if constants is None else float(np.average(constants, weights=weights))
    feed = InOrder(model, data, batch_size=data.room or len(data))
    return FullBatch(limits=limits, constant=constant), feed
