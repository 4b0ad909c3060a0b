"""Evaluation: the loss and metrics of a network on data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

from mlpx.backend.base import is_array_like
from mlpx.engines.predict import ForwardProgram, chunks, interpret, predictor_of
from mlpx.metrics import Metric, Results, choose_metrics
from mlpx.metrics.undefined import undefined
from mlpx.network.network import Network
from mlpx.program.data import check_data
from mlpx.records import require_count
from mlpx.types import Array


def evaluate(
    model: Network,
    x: Any,
    y: Any,
    *,
    sample_weight: Any,
    metrics: Iterable[str] | None,
    batch_size: int,
) -> dict[str, float]:
    """Mean loss and metrics of x against y."""
    require_count("batch_size", batch_size)
    chosen = choose_metrics(metrics, model.loss, model.d_out)
    x, y, w = check_data(model, x, y, sample_weight)
    y, w = (None if part is None else model.backend.asarray(part) for part in (y, w))
    scores = Scores(model, x, y, w, metrics=chosen, batch_size=batch_size)
    found = scores.named(model.backend.to_numpy(scores.run()))
    for why in scores.undefined(found):
        warnings.warn(why, UserWarning, stacklevel=4)
    return found


class Scores:
    """The loss and metrics of a model on data, as often as asked for, on memory allocated once.

    x may lie on the host; y and w are on the model's device. Only metrics make arrays of their own.
    """

    def __init__(
        self,
        model: Network,
        x: Array,
        y: Array,
        w: Array | None,
        *,
        metrics: tuple[Metric, ...],
        batch_size: int,
    ) -> None:
        backend = model.backend
        self.model, self.x, self.y, self.w, self.metrics = model, x, y, w, metrics
        self.program = ForwardProgram(model, rows=min(batch_size, len(x)))
        self.z = backend.empty((len(x), model.d_out), model.dtype)
        self.losses = backend.empty((len(x), 1), model.dtype)
        self.found = backend.empty(1 + len(metrics), np.float64)

    def run(self) -> Array:
        """The loss and each metric, (1 + metrics,) in float64 on the device; nothing waits."""
        model, z = self.model, self._outputs()
        for part in chunks(len(self.x), self.program.rows):
            self.losses[part] = self.program.losses(z[part], self.y[part])
        self.found[0] = mean(self.losses[:, 0], self.w)
        results = Results(model.backend.xp, model.loss, z, self.y, self.w)
        for i, metric in enumerate(self.metrics):
            self.found[1 + i] = metric.compute(results)
        return self.found

    def _outputs(self) -> Array:
        """The outputs (n, d_out); of rows that are no array, such as sparse ones, in parts."""
        x, rows, asarray = self.x, self.program.rows, self.model.backend.asarray
        predictor = predictor_of(self.model)
        if predictor is None:
            return interpret(self.program, x, self.z)
        if is_array_like(x):
            return predictor.run(asarray(x), classes=False, rows=rows)[0]
        for part in chunks(len(x), rows):
            self.z[part], _ = predictor.run(asarray(x[part]), classes=False, rows=rows)
        return self.z

    def named(self, found: np.ndarray) -> dict[str, float]:
        """What `run` found, brought to the host, by name."""
        return dict(zip(self.names, map(float, found), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """The loss and the metrics, in the order that `run` finds them in."""
        return ("loss", *(metric.name for metric in self.metrics))

    def undefined(self, named: dict[str, float]) -> list[str]:
        """What is to be said of the metrics that the targets leave undefined."""
        lacking = [metric for metric in self.metrics if math.isnan(named[metric.name])]
        if not lacking:
            return []
        results = Results(self.model.backend.xp, self.model.loss, self.z, self.y, self.w)
        reasons = {metric.name: metric.lacks(results) for metric in lacking}
        return [undefined(name, why) for name, why in reasons.items() if why]


def mean(values: Array, w: Array | None) -> Array:
    """The mean of values (n,) in float64, weighted by w (n, 1) if given; stays on the device."""
    values = values.astype(np.float64)
    if w is None:
        return values.mean()
    w = w[:, 0].astype(np.float64)
    return (values * w).sum() / w.sum()
