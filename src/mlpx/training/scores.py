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
from mlpx.program.data import TrainingData, prepare_data
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
    """The mean loss and the metrics on x and y."""
    require_count("batch_size", batch_size)
    chosen = choose_metrics(metrics, model.loss, model.d_out)
    data = prepare_data(model, x, y, sample_weight, finite=None, trains=False, moves_x=False)
    scores = Scores(model, data, metrics=chosen, batch_size=batch_size)
    named = scores.named(model.backend.to_numpy(scores.run()))
    for why in scores.undefined(named):
        warnings.warn(why, UserWarning, stacklevel=4)
    return named


class Scores:
    """The loss and metrics of a network on data, in memory allocated once for any number of calls.

    x may be on the host; y and the weights are on the network's device. Only metrics allocate
    arrays of their own.
    """

    def __init__(
        self,
        network: Network,
        data: TrainingData,
        *,
        metrics: tuple[Metric, ...],
        batch_size: int,
    ) -> None:
        backend, n = network.backend, len(data)
        self.network, self.data, self.metrics = network, data, metrics
        self.program = ForwardProgram(network, rows=min(batch_size, n))
        self.z = backend.empty((n, network.d_out), network.dtype)
        self.losses = backend.empty((n, 1), network.dtype)
        self.values = backend.empty(1 + len(metrics), np.float64)

    def run(self) -> Array:
        """The loss and each metric, (1 + metrics,) in float64 on the device, without waiting."""
        z, data = self._outputs(), self.data
        for part in chunks(len(data), self.program.rows):
            self.losses[part] = self.program.losses(z[part], data.y[part])
        self.values[0] = mean(self.losses[:, 0], data.weights)
        results = self._results(z)
        for i, metric in enumerate(self.metrics):
            self.values[1 + i] = metric.compute(results)
        return self.values

    def _results(self, z: Array) -> Results:
        xp, loss = self.network.backend.xp, self.network.loss
        return Results(xp, loss, z, self.data.y, self.data.weights)

    def _outputs(self) -> Array:
        """The outputs (n, d_out); rows that are not an array, such as sparse ones, go in parts."""
        x, rows, asarray = self.data.x, self.program.rows, self.network.backend.asarray
        predictor = predictor_of(self.network)
        if predictor is None:
            return interpret(self.program, x, self.z)
        if is_array_like(x):
            return predictor.run(asarray(x), classes=False, rows=rows)[0]
        for part in chunks(len(x), rows):
            self.z[part], _ = predictor.run(asarray(x[part]), classes=False, rows=rows)
        return self.z

    def named(self, values: np.ndarray) -> dict[str, float]:
        """The values from `run`, copied to the host, by name."""
        return dict(zip(self.names, map(float, values), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        """The loss and the metrics, in the order of `values`."""
        return ("loss", *(metric.name for metric in self.metrics))

    def undefined(self, named: dict[str, float]) -> list[str]:
        """Messages about metrics that are undefined on these targets."""
        missing = [metric for metric in self.metrics if math.isnan(named[metric.name])]
        if not missing:
            return []
        results = self._results(self.z)
        reasons = {metric.name: metric.lacks(results) for metric in missing}
        return [undefined(name, why) for name, why in reasons.items() if why]


def mean(values: Array, w: Array | None) -> Array:
    """The mean of values (n,) in float64, weighted by w (n, 1) if given; stays on the device."""
    values = values.astype(np.float64)
    if w is None:
        return values.mean()
    w = w[:, 0].astype(np.float64)
    return (values * w).sum() / w.sum()
