"""The training program: tables for one epoch, and the plan of a step on them.

Tables are filled once an epoch: `order` says which rows of the data each step sees, `table` holds
the optimizer's per-step numbers, and each step writes one line of `log`. The last, ragged batch has
a plan of its own on the same buffers.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlpx.errors import InputError
from mlpx.gradients import Backpropagation, GradientRule, Objective
from mlpx.kernels import batches, penalties
from mlpx.optimizers.base import Optimizer
from mlpx.program import (
    Buffers,
    Network,
    Plan,
    plan_forward,
    plan_loss,
    plan_penalties,
    plan_targets,
)
from mlpx.types import Array

LOSS, HITS, WEIGHT = range(3)  # the columns of a log line


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Arrays on the model's device: x (n, d_in), y (n,) or (n, d_out), weights (n, 1) or None."""

    x: Array
    y: Array
    weights: Array | None

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class Group:
    """A slice of the flat vector and the optimizer that moves it."""

    optimizer: Optimizer
    span: slice


def split_batches(network: Network, rows: int, batch_size: int) -> tuple[int, int]:
    """How many whole batches an epoch of `rows` rows has, and the rows of a last, other one.

    A last batch of fewer rows than some layer needs is merged into the one before it. Raises
    InputError if whole batches are too small for a layer.
    """
    full, last = divmod(rows, batch_size)
    neediest = max(network.layers, key=lambda layer: layer.least_rows)
    least = neediest.least_rows
    if min(batch_size, rows) < least:
        raise InputError(
            f"batch_size = {batch_size} on {rows} row{'s' * (rows > 1)} of data; {neediest.name} "
            f"takes statistics over each batch and needs at least {least} rows: raise batch_size, "
            "or layer_norm"
        )
    return (full - 1, last + batch_size) if 0 < last < least else (full, last)


class TrainingProgram:
    """Everything an engine needs to train one epoch of `rows` rows in batches of `batch_size`."""

    def __init__(
        self,
        network: Network,
        data: TrainingData,
        *,
        groups: list[Group],
        moments: dict[str, Array],
        batch_size: int,
        rows: int,
        gradient_rule: GradientRule | None = None,
        gradient_norms: bool = False,
    ) -> None:
        backend, dtype = network.backend, network.dtype
        self.network, self.data, self.groups, self.moments = network, data, groups, moments
        self.batch_size, self.rows = batch_size, rows
        self.gradient_rule = gradient_rule or Backpropagation()
        self.full_steps, self.last_rows = split_batches(network, rows, batch_size)
        self.steps = self.full_steps + bool(self.last_rows)
        self.buffers = Buffers(backend, max(min(batch_size, rows), self.last_rows), dtype)
        self.gradient = backend.zeros(network.layout.size, dtype)
        self.state = backend.zeros(2, np.int64)
        self.order = backend.zeros(rows, np.int64)
        columns = sum(group.optimizer.columns for group in groups)
        self.table = backend.zeros((self.steps, columns), dtype)
        self.log = backend.zeros((self.steps, 3), dtype)
        self.numbers = backend.zeros((self.steps, self.gradient_rule.columns), dtype)
        self.norms = (
            backend.zeros((self.steps, len(self.norm_names)), dtype) if gradient_norms else None
        )
        split = self.full_steps * batch_size
        by_step = self.order[:split].reshape(self.full_steps, batch_size)
        self.full = self._plan(batch_size, by_step) if self.full_steps else None
        self.last = self._plan(self.last_rows, self.order[split:]) if self.last_rows else None

    def start_epoch(
        self, order: np.ndarray, *, step: int, rate_scale: float = 1.0, position: int = 0
    ) -> None:
        """Fill the tables for an epoch in `order` (rows,), of which `step` steps came before.

        `rate_scale`: a factor on all rates. `position`: how many steps of the epoch were taken in
        an earlier run.
        """
        t = np.arange(step + 1, step + 1 + self.steps, dtype=np.float64)
        columns = [
            column
            for group in self.groups
            for column in group.optimizer.scalars(t, rate_scale * group.optimizer.rates(t))
        ]
        backend = self.network.backend
        self.order[...] = backend.asarray(order)
        self.table[...] = backend.asarray(np.stack(columns, axis=1).astype(self.network.dtype))
        self.state[...] = backend.asarray(np.array([position, step + position]))
        if self.gradient_rule.columns:
            rates = rate_scale * self.groups[0].optimizer.rates(t)
            numbers = np.stack(self.gradient_rule.numbers(self.network, t, rates), axis=1)
            self.numbers[...] = backend.asarray(numbers.astype(self.network.dtype))

    @property
    def norm_names(self) -> list[str]:
        """The parameters whose gradients have a column in `norms`."""
        places = self.network.layout.places
        return sorted(name for name in places if places[name].parameter.kind != "state")

    @property
    def interpreted(self) -> str | None:
        """What of this program only the interpreter does, or None."""
        if not isinstance(self.gradient_rule, Backpropagation):
            return f"gradient={self.gradient_rule.name!r}"
        return "recording gradient norms" if self.norms is not None else None

    def _plan(self, rows: int, order: Array) -> Plan:
        layout, network = self.network.layout, self.network
        plan = Plan(
            self.buffers,
            rows,
            parameters=layout.views(network.flat),
            gradients=layout.gradients(self.gradient),
            training=True,
            seed=network.seed,
            state=self.state,
        )
        x, y, w = self._fetch(plan, order)
        values = plan.buffer(f"log line of {rows}", 3)[:1]
        r = self._weights(plan, w, values[:, WEIGHT:])
        numbers = self._numbers(plan)
        start = len(plan.calls)
        z, sites = plan_forward(plan, network, x)
        losses, dz = plan_loss(plan, network, z, plan_targets(plan, network, y), r)
        loss = values[:, LOSS : LOSS + 1]
        plan.call(batches.weighted_mean, r, losses, out=loss)
        plan_penalties(plan, network, loss)
        stop = len(plan.calls)
        self._count_hits(plan, z, y, r, values[:, HITS : HITS + 1])
        plan.objective = Objective(
            plan, network, self.gradient, loss, start, stop, sites, dz, numbers
        )
        self.gradient_rule.plan(plan.objective)
        plan.gradient_stop = len(plan.calls)
        self._record_norms(plan)
        if self.gradient_rule.updates:
            self._update(plan)
        self._limit_norms(plan)
        plan.call(batches.record, self.log, self.state, values)
        plan.call(batches.advance, self.state)
        return plan

    def _fetch(self, plan: Plan, order: Array) -> tuple[Array, Array, Array | None]:
        """Append the gathering of the batch's rows; returns its x, y and weights."""
        take, data = self.network.backend.take, self.data
        rows = order
        if order.ndim == 2:
            rows = plan.buffer("rows", 1, dtype=np.int64).T
            plan.call(batches.select_row, take, order, self.state, out=rows)
            rows = rows[0]

        def fetch(name: str, source: Array, dtype: np.dtype) -> Array:
            columns = 1 if source.ndim == 1 else source.shape[1]
            raw = plan.buffer(f"raw {name}", columns, dtype=source.dtype)
            out = raw if source.dtype == dtype else plan.buffer(f"batch {name}", columns)
            if source.ndim == 1:
                raw = out = raw[:, 0]
            plan.call(batches.gather, take, source, rows, raw=raw, out=out)
            return out

        dtype = self.network.dtype
        labels = data.y.dtype if data.y.ndim == 1 else dtype
        w = None if data.weights is None else fetch("weights", data.weights, dtype)
        return fetch("x", data.x, dtype), fetch("y", data.y, labels), w

    def _weights(self, plan: Plan, w: Array | None, total: Array) -> Array:
        """Append the normalisation of the row weights; returns r (rows, 1), which sums to one."""
        r = plan.buffer(f"r of {plan.rows}", 1)
        if w is None:
            r[...] = 1.0 / plan.rows
            total[...] = plan.rows
        else:
            plan.call(batches.normalise_weights, w, total=total, out=r)
        return r

    def _numbers(self, plan: Plan) -> Array | None:
        """Append the reading of the gradient rule's per-step numbers, if it has any."""
        if not self.gradient_rule.columns:
            return None
        row = plan.buffer("gradient rule's numbers", self.gradient_rule.columns)[:1]
        plan.call(batches.select_row, self.network.backend.take, self.numbers, self.state, out=row)
        return row

    def _record_norms(self, plan: Plan) -> None:
        """Append the norm of each parameter's gradient, if they are wanted."""
        if self.norms is None:
            return
        row = plan.buffer("gradient norms", len(self.norm_names))[:1]
        gradients = tuple(plan.gradients[name].reshape(-1) for name in self.norm_names)
        plan.call(batches.norms, gradients, out=row)
        plan.call(batches.record, self.norms, self.state, row)

    def _count_hits(self, plan: Plan, z: Array, y: Array, r: Array, out: Array) -> None:
        """Append the batch's accuracy where the targets are classes."""
        if self.network.loss.targets != "classes":
            out[...] = 0
            return
        predicted = plan.buffer("predicted", 1, dtype=np.int64)[:, 0]
        labels = y
        if y.ndim == 2:
            labels = plan.buffer("likeliest", 1, dtype=np.int64)[:, 0]
            plan.call(batches.likeliest, y, out=labels)
        hits = plan.buffer("hits", 1)
        plan.call(batches.correct, z, labels, predicted=predicted, out=hits)
        plan.call(batches.weighted_mean, r, hits, out=out)

    def _limit_norms(self, plan: Plan) -> None:
        """Append the bounds on the norms of units, which follow the update."""
        for name, place in self.network.layout.places.items():
            most = place.parameter.max_norm
            if most is not None:
                W = plan.parameters[name]
                norms = self.buffers.vector(f"norms {name}", W.shape[1])[None, :]
                plan.call(penalties.limit_norms, W, most=most, norms=norms, work=plan.like(W))

    def _update(self, plan: Plan) -> None:
        """Append the optimizer, slice by slice so that each stays in the cache."""
        p, g, backend = self.network.flat, self.gradient, self.network.backend
        width = min(backend.slice_elements, len(p))
        count = max(group.optimizer.scratch for group in self.groups)
        work = [backend.empty(width, self.network.dtype) for _ in range(count)]
        row = plan.buffer("step numbers", self.table.shape[1])[:1]
        plan.call(batches.select_row, backend.take, self.table, self.state, out=row)
        first = 0
        for group in self.groups:
            rule, span = group.optimizer, group.span
            names = rule.moments
            scalars = tuple(row[0, first + i : first + i + 1] for i in range(rule.columns))
            first += rule.columns
            for start in range(span.start, span.stop, width):
                part = slice(start, min(start + width, span.stop))
                plan.call(
                    rule.update,
                    p[part],
                    g[part],
                    moments=tuple(self.moments[name][part] for name in names),
                    scalars=scalars,
                    work=tuple(w[: part.stop - part.start] for w in work[: rule.scratch]),
                )
