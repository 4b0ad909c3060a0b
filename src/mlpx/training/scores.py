"""Prediction and evaluation, in chunks of rows."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any
from weakref import proxy

import numpy as np

from mlpx import engines
from mlpx.backend.base import is_array_like
from mlpx.engines.interpreter import run_once
from mlpx.inputs.arrays import check_finite, check_x
from mlpx.inputs.targets import check_data
from mlpx.kernels import losses as kernels
from mlpx.metrics import Metric, Results, choose_metrics
from mlpx.metrics.undefined import undefined
from mlpx.network.passes import Buffers, Plan, plan_forward
from mlpx.program.objective import loss_work, plan_by_column, plan_targets
from mlpx.records import require_count
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.mlp import MLP


class ForwardProgram:
    """A forward pass for chunks of up to `rows` rows; `losses` of the rows too if y is given."""

    def __init__(self, model: MLP, *, rows: int) -> None:
        self.model, self.rows = model, rows
        self.buffers = Buffers(model.backend, rows, model.dtype)
        self._plans: dict[int, tuple[Plan, Array, Array]] = {}
        self._losses: dict[int, tuple[Plan, Array, Array, Array]] = {}

    def run(self, x: Array) -> Array:
        """The outputs (m, d_out) for x (m, d_in), in a buffer that the next run overwrites."""
        plan, inputs, z = self._plans.get(len(x)) or self._plan(len(x))
        self.model.backend.xp.copyto(inputs, self.model.backend.asarray(x))
        run_once(plan)
        return z

    def losses(self, z: Array, y: Array) -> Array:
        """The loss of each row (m, 1), for outputs z (m, d_out) and targets y, in a buffer.

        Targets are of one dtype and width in all calls.
        """
        plan, outputs, targets, rows = self._losses.get(len(z)) or self._plan_losses(len(z), y)
        outputs[...], targets[...] = z, y
        run_once(plan)
        return rows

    def _plan(self, rows: int) -> tuple[Plan, Array, Array]:
        model = self.model
        plan = Plan(self.buffers, rows, parameters=model.layout.views(model.flat))
        x = plan.buffer("x", model.d_in)
        z, _ = plan_forward(plan, model, x)
        self._plans[rows] = plan, x, z
        return self._plans[rows]

    def _plan_losses(self, n: int, like: Array) -> tuple[Plan, Array, Array, Array]:
        model, plan = self.model, Plan(self.buffers, n, parameters={})
        z = plan.buffer("given outputs", model.d_out)
        columns = 1 if like.ndim == 1 else like.shape[1]
        y = plan.buffer("y", columns, dtype=like.dtype).reshape(n, *like.shape[1:])
        rows = plan.buffer("row losses", 1)
        t = plan_targets(plan, model, y)
        work = loss_work(plan, model.loss, model.d_out)
        plan.call(model.loss.value, plan_by_column(plan, z), t, rows=rows, work=work)
        self._losses[n] = plan, z, y, rows
        return self._losses[n]


def chunks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n)."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


class Kept:
    """What runs a model's forward pass, on memory that is kept between predictions.

    `forward` is None where the interpreter is to.
    """

    def __init__(self, model: MLP) -> None:
        self.flat, self.forward = model.flat, engines.forward(proxy(model))


def _forward(model: MLP) -> engines.Forward | None:
    kept = model.kept
    if kept is None or kept.flat is not model.flat:
        kept = model.kept = Kept(model)
    return kept.forward


def outputs(model: MLP, x: Any, *, batch_size: int) -> Array:
    """The raw outputs (n, d_out) for x (n, d_in)."""
    return _predict(model, x, batch_size, classes=False)


def _predict(model: MLP, x: Any, batch_size: int, *, classes: bool) -> Array:
    """Outputs, or the likeliest classes, of what may be anything."""
    require_count("batch_size", batch_size)
    x = check_x(x, columns=model.d_in, backend=model.backend, least_rows=0)
    if len(x) == 0:
        shape, dtype = ((0,), np.int64) if classes else ((0, model.d_out), model.dtype)
        return model.backend.empty(shape, dtype)
    forward = _forward(model)
    if forward is not None:
        found, fine = forward.run(x, classes=classes, rows=batch_size)
        if not fine:
            check_finite(x, dtype=model.dtype, name="x")
        return found
    with model.backend.failing("predicting"):
        check_finite(x, dtype=model.dtype, name="x")
        z = _interpret(ForwardProgram(model, rows=min(batch_size, len(x))), x)
        return z.argmax(axis=1) if classes else z


def _interpret(program: ForwardProgram, x: Array, out: Array | None = None) -> Array:
    model = program.model
    if out is None:
        out = model.backend.empty((len(x), model.d_out), model.dtype)
    for part in chunks(len(x), program.rows):
        out[part] = program.run(x[part])
    return out


def probabilities(model: MLP, x: Any, *, batch_size: int) -> Array:
    """Probabilities (n, d_out), or (n, 2) for one yes-or-no output.

    Raises InputError if the model's loss has none.
    """
    kernels.require_probabilities(model.loss)
    z = outputs(model, x, batch_size=batch_size)
    with model.backend.failing("predicting"):
        return kernels.probabilities(model.backend.xp, model.loss, z)


def predictions(model: MLP, x: Any, *, batch_size: int) -> Array:
    """Class indices (n,), 0 or 1 for each of several labels (n, d_out), or values (n, d_out)."""
    if model.loss.target_kind(model.d_out) == "classes":
        return _predict(model, x, batch_size, classes=True)
    z = outputs(model, x, batch_size=batch_size)
    with model.backend.failing("predicting"):
        return kernels.predictions(model.backend.xp, model.loss, z)


def evaluate(
    model: MLP,
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
        model: MLP,
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
        forward = _forward(self.model)
        if forward is None:
            return _interpret(self.program, x, self.z)
        if is_array_like(x):
            return forward.run(asarray(x), classes=False, rows=rows)[0]
        for part in chunks(len(x), rows):
            self.z[part], _ = forward.run(asarray(x[part]), classes=False, rows=rows)
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
