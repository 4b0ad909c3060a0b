"""Training runs in the order that scikit-learn draws, also on sparse rows, window by window."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from mlpx.estimators.rows import take
from mlpx.optimizers.lbfgs import LBFGS
from mlpx.program.data import TrainingData
from mlpx.program.program import LOSS, WEIGHT
from mlpx.training.full_batch import FullBatchRun
from mlpx.training.run import Run

Part = tuple[Any, Any, Any]
WINDOW_ELEMENTS = 1 << 21
"""How many numbers of sparse rows are dense at a time, unless one batch has more."""


@dataclass(frozen=True, eq=False)
class Window(TrainingData):
    """Room on the device for some of the `source`'s rows, which take turns in it."""

    source: TrainingData

    def __len__(self) -> int:
        return len(self.source)

    @property
    def rows(self) -> int:
        """How many rows there is room for."""
        return len(self.x)


def open_window(model: Any, source: TrainingData, batch_size: int) -> Window:
    """A window on data whose x is sparse, of whole batches."""
    columns, n = max(1, source.x.shape[1]), len(source)
    batches = max(1, WINDOW_ELEMENTS // (columns * batch_size))
    rows = batch_size * min(batches, -(-n // batch_size))
    backend = model.backend
    weights = None if source.weights is None else backend.zeros((rows, 1), model.dtype)
    x = backend.zeros((rows, columns), model.dtype)
    return Window(x, backend.zeros((rows, *source.y.shape[1:]), source.y.dtype), weights, source)


def fill(model: Any, window: Window, rows: np.ndarray) -> None:
    """Bring `rows` of the source into the window's first places."""
    backend, n = model.backend, len(rows)
    source: Any = window.source  # it has weights if the window has
    backend.upload(source.x[rows], out=window.x[:n])
    at = backend.asarray(rows)
    window.y[:n] = source.y[at]
    if window.weights is not None:
        window.weights[:n] = source.weights[at]


def weighing(w: np.ndarray) -> np.ndarray:
    """Which weights in a model's range (n,) count in its dtype: engines flush what is denormal."""
    found: np.ndarray = w >= np.finfo(w.dtype).tiny
    return found


def enough_weighing(X: Any, y: np.ndarray, w: np.ndarray | None, *, batch_rows: int) -> Part:
    """X, y and w, those rows left out that weigh nothing if all batches cannot have one that does.

    w is in the model's range, so that its scale decides nothing.
    """
    weighs = None if w is None else weighing(w)
    if w is None or weighs is None or weighs.sum() * batch_rows >= len(y):
        return X, y, w
    return take(X, weighs), y[weighs], w[weighs]


def spread(order: np.ndarray, weighs: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """`order` with rows exchanged so that each batch, from its start, has one that `weighs`.

    There must be as many of these rows as batches.
    """
    counts = np.add.reduceat(weighs[order].astype(np.int64), starts)
    order = order.copy()
    for empty in np.flatnonzero(counts == 0):
        giver = counts.argmax()
        a, b = starts[giver] + weighs[order[starts[giver] :]].argmax(), starts[empty]
        order[[a, b]] = order[[b, a]]
        counts[giver] -= 1
    return order


class ShuffledRun(Run):
    """A run whose epochs see the rows in the order that the estimator's random state gives."""

    estimator: Any
    objective = math.nan
    """The loss of the last epoch as scikit-learn has it: batches count as their rows do."""
    weights: np.ndarray | None = None
    """Those of the data in the model's range, (n,)."""
    constants: np.ndarray | None = None
    """What the loss of each row has besides, (n,)."""
    _true_order: np.ndarray

    def _order(self) -> np.ndarray:
        order = self.estimator._next_order(len(self.data), anew=self.state.position == 0)
        if self.weights is not None:
            order = spread(order, weighing(self.weights), self._starts)
        self._true_order = order
        if not isinstance(self.data, Window):
            return self._true_order
        self._shown = -1
        return np.arange(self.rows) % self.data.rows

    def _draw_ahead(self) -> None:
        """Nothing: the estimator's random state has moved on with each order."""

    @cached_property
    def _starts(self) -> np.ndarray:
        """Where each batch begins, (steps,)."""
        return self.batch_size * np.arange(self.program.steps)

    def _logs(self, log: np.ndarray, scores: np.ndarray) -> dict[str, float]:
        logs = super()._logs(log, scores)
        self.objective = logs["loss"]
        if self.weights is not None or self.constants is not None:
            self.objective = self._by_rows(log[:, LOSS])
        return logs

    def _by_rows(self, losses: np.ndarray) -> float:
        """The mean of the batches' losses, `constants` added, where each counts as its rows do."""
        stop = self.state.position or self.program.steps
        ran = slice(stop - len(losses), stop)
        rows = np.diff(self._starts, append=self.rows)[ran]
        if self.constants is not None:
            losses = losses + self._means(self.constants)[ran]
        return float(losses @ rows / rows.sum())

    def _means(self, constants: np.ndarray) -> np.ndarray:
        """The weighted mean of each batch's `constants`, (steps,)."""
        w = np.ones(len(self.data)) if self.weights is None else self.weights
        parts = (w * constants, w.astype(np.float64))
        sums = [np.add.reduceat(a[self._true_order], self._starts) for a in parts]
        means: np.ndarray = sums[0] / sums[1]
        return means

    def _ready(self, position: int, end: int) -> int:
        window = self.data
        if not isinstance(window, Window):
            return end
        steps = window.rows // self.batch_size
        turn = position // steps
        if turn != self._shown:
            rows = self._true_order[turn * window.rows : (turn + 1) * window.rows]
            fill(self.model, window, rows)
            self._shown = turn
        return min(end, (turn + 1) * steps)


class QuasiNewtonRun(FullBatchRun):
    """L-BFGS with scikit-learn's limits; sparse rows are evaluated window by window."""

    estimator: Any
    objective = math.nan
    weights: np.ndarray | None = None
    constants: np.ndarray | None = None

    def _options(self, rule: LBFGS) -> dict[str, Any]:
        ours = super()._options(rule)
        del ours["ftol"]  # SciPy's own, as scikit-learn has it
        return {**ours, "maxfun": int(self.estimator.max_fun)}

    def _settings(self) -> dict[str, Any]:
        settings = super()._settings()
        if isinstance(self.data, Window):
            settings["batch_size"] = min(self.data.rows, len(self.data))
        return settings

    def _evaluate(self, p: np.ndarray) -> tuple[float, np.ndarray]:
        windowed = isinstance(self.data, Window)
        found = self._over_windows(p, self.data) if windowed else super()._evaluate(p)  # type: ignore[arg-type]
        self.objective = found[0]
        if self.constants is not None:
            self.objective += float(np.average(self.constants, weights=self.weights))
        return self.objective, found[1]

    def _over_windows(self, p: np.ndarray, window: Window) -> tuple[float, np.ndarray]:
        """The objective and its gradient, as weighted means over the windows."""
        self._move_to(p)
        program, backend, n = self.program, self.model.backend, len(window)
        backend.upload(np.arange(n) % window.rows, out=program.order)
        program.state[...] = 0
        lines, gradient = np.zeros((program.steps, 3)), np.zeros(len(p))
        for i in range(program.steps):
            fill(self.model, window, np.arange(n)[i * window.rows : (i + 1) * window.rows])
            plan = program.full if i < program.full_steps else program.last
            assert plan is not None
            self.execute(plan, 1)
            lines[i] = backend.to_numpy(program.log[i])
            gradient += lines[i, WEIGHT] * backend.to_numpy(program.gradient[: len(p)])
        self.samples_done += n
        weight = lines[:, WEIGHT]
        mean = weight @ lines / weight.sum()
        backend.upload(mean[None, :], out=program.log[:1])
        decay = self._decay()
        loss = float(mean[LOSS]) + float(decay @ p**2) / 2
        return loss, gradient / weight.sum() + decay * p
