"""Prediction and evaluation, in chunks of rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.engines.interpreter import run_once
from mlpx.kernels import losses as kernels
from mlpx.metrics import Metric, Results, choose_metrics
from mlpx.program import Buffers, Plan, loss_work, plan_by_column, plan_forward, plan_targets
from mlpx.records import require_count
from mlpx.targets import check_y, row_weights
from mlpx.types import Array
from mlpx.validation import check_finite, check_x

if TYPE_CHECKING:
    from mlpx.model import MLP


class ForwardProgram:
    """A forward pass for chunks of up to `rows` rows; `losses` of the rows too if y is given."""

    def __init__(self, model: MLP, *, rows: int) -> None:
        self.model, self.rows = model, rows
        self.buffers = Buffers(model.backend, rows, model.dtype)
        self._plans: dict[int, tuple[Plan, Array, Array]] = {}

    def run(self, x: Array) -> Array:
        """The outputs (m, d_out) for x (m, d_in), in a buffer that the next run overwrites."""
        plan, inputs, z = self._plans.get(len(x)) or self._plan(len(x))
        self.model.backend.xp.copyto(inputs, self.model.backend.asarray(x))
        run_once(plan)
        return z

    def losses(self, z: Array, y: Array) -> Array:
        """The loss of each row (m, 1), for outputs z (m, d_out) and targets y."""
        model, plan = self.model, Plan(self.buffers, len(z), parameters={})
        rows = plan.buffer("row losses", 1)
        t = plan_targets(plan, model, y)
        work = loss_work(plan, model.loss, model.d_out)
        plan.call(model.loss.value, plan_by_column(plan, z), t, rows=rows, work=work)
        run_once(plan)
        return rows

    def _plan(self, rows: int) -> tuple[Plan, Array, Array]:
        model = self.model
        plan = Plan(self.buffers, rows, parameters=model.layout.views(model.flat))
        x = plan.buffer("x", model.d_in)
        z, _ = plan_forward(plan, model, x)
        self._plans[rows] = plan, x, z
        return plan, x, z


def chunks(n: int, size: int) -> Iterator[slice]:
    """Slices of at most `size` that cover range(n)."""
    return (slice(start, min(start + size, n)) for start in range(0, n, size))


def outputs(model: MLP, x: Any, *, batch_size: int) -> Array:
    """The raw outputs (n, d_out) for x (n, d_in)."""
    require_count("batch_size", batch_size)
    x = check_x(x, columns=model.d_in, backend=model.backend)
    check_finite(x, dtype=model.dtype, name="x")
    return _outputs(model, x, batch_size)


def _outputs(model: MLP, x: Array, batch_size: int) -> Array:
    program = ForwardProgram(model, rows=min(batch_size, len(x)))
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
    return kernels.probabilities(model.backend.xp, model.loss, z)


def predictions(model: MLP, x: Any, *, batch_size: int) -> Array:
    """Class indices (n,), 0 or 1 for each of several labels (n, d_out), or values (n, d_out)."""
    z = outputs(model, x, batch_size=batch_size)
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
    x = check_x(x, columns=model.d_in, backend=model.backend)
    check_finite(x, dtype=model.dtype, name="x")
    y = check_y(
        y, n=len(x), d_out=model.d_out, loss=model.loss, dtype=model.dtype,
        backend=model.backend,
    )  # fmt: skip
    w = row_weights(
        sample_weight, y, d_out=model.d_out, loss=model.loss, dtype=model.dtype,
        backend=model.backend,
    )  # fmt: skip
    return score(model, x, model.backend.asarray(y), w, metrics=chosen, batch_size=batch_size)


def score(
    model: MLP,
    x: Array,
    y: Array,
    w: Array | None,
    *,
    metrics: tuple[Metric, ...],
    batch_size: int,
) -> dict[str, float]:
    """`evaluate` on checked arrays; one transfer from the device at the end."""
    backend = model.backend
    program = ForwardProgram(model, rows=min(batch_size, len(x)))
    z = backend.empty((len(x), model.d_out), model.dtype)
    losses = backend.empty((len(x), 1), model.dtype)
    for part in chunks(len(x), program.rows):
        z[part] = program.run(x[part])
        losses[part] = program.losses(z[part], y[part])
    w = None if w is None else backend.asarray(w)
    found = backend.empty(1 + len(metrics), np.float64)
    found[0] = mean(losses[:, 0], w)
    results = Results(backend.xp, model.loss, z, y, w)
    for i, metric in enumerate(metrics):
        found[1 + i] = metric.compute(results)
    names = ["loss", *(metric.name for metric in metrics)]
    return dict(zip(names, map(float, backend.to_numpy(found)), strict=True))


def mean(values: Array, w: Array | None) -> Array:
    """The mean of values (n,) in float64, weighted by w (n, 1) if given; stays on the device."""
    values = values.astype(np.float64)
    if w is None:
        return values.mean()
    w = w[:, 0].astype(np.float64)
    return (values * w).sum() / w.sum()
