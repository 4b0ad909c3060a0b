"""The training program: tables for one epoch, and the plan of a step on them.

Tables are filled once an epoch: `order` says which rows of the data each step sees, `table` holds
the optimizer's per-step numbers, and each step writes one line of `log`. The last, ragged batch has
a plan of its own on the same buffers.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mlpx.kernels import batches, updates
from mlpx.network.network import Network
from mlpx.network.passes import plan_forward
from mlpx.optimizers.base import Optimizer
from mlpx.plan.plan import Buffers, Call, Plan
from mlpx.program.data import TrainingData, split_batches
from mlpx.program.gradients import Backpropagation, GradientRule
from mlpx.program.objective import (
    Objective,
    plan_loss,
    plan_norm_limits,
    plan_penalties,
    plan_targets,
)
from mlpx.program.update import Update, average_columns, make_groups
from mlpx.schedules import Steps
from mlpx.types import Array

LOSS, HITS, WEIGHT = range(3)  # the columns of a log line


FLUSH_STEPS = 512
"""How often numbers too small for their format, which are slow, leave the moments."""


class TrainingProgram:
    """Everything an engine needs to train one epoch of `rows` rows in batches of `batch_size`.

    With `part_rows` below `batch_size` a step takes its batch in parts of so many rows and adds up
    their gradients; the update is that of the whole batch. Without an optimizer a step leaves the
    gradient of the loss in `gradient` and changes nothing else. `precision` is how products may
    round what they multiply; engines that do not do that refuse.
    """

    fills = 0
    """How often tables or data were set anew."""

    def __init__(
        self,
        network: Network,
        data: TrainingData,
        *,
        optimizer: Optimizer | None,
        moments: dict[str, Array],
        batch_size: int,
        rows: int,
        gradient_rule: GradientRule | None = None,
        gradient_norms: bool = False,
        part_rows: int | None = None,
        precision: str = "float32",
    ) -> None:
        backend, dtype = network.backend, network.dtype
        if optimizer is not None and optimizer.full_batch:
            optimizer = None  # it asks for gradients and moves the parameters between steps
        self.network, self.data = network, data.apart()
        self.optimizer, self.moments = optimizer, moments
        self.groups = make_groups(network.layout, optimizer) if optimizer else []
        self.batch_size, self.rows = batch_size, rows
        self.gradient_rule, self.precision = gradient_rule or Backpropagation(), precision
        self.full_steps, self.last_rows = split_batches(network.layers, rows, batch_size)
        self.steps = self.full_steps + bool(self.last_rows)
        self.part_rows = min(part_rows or batch_size, rows)
        parts = self._parts(self.full_steps and batch_size) + self._parts(self.last_rows)
        self.buffers = Buffers(backend, max(part.stop - part.start for part in parts), dtype)
        self.gradient = backend.zeros(network.layout.size, dtype)
        self.state, self.order = backend.zeros(2, np.int64), backend.zeros(rows, np.int64)
        self.table = backend.zeros((self.steps, len(self._columns(np.ones(1), 1.0))), dtype)
        self.log = backend.zeros((self.steps, 3), dtype)
        self.numbers = backend.zeros((self.steps, self.gradient_rule.columns), dtype)
        self.norms = (
            backend.zeros((self.steps, len(self.norm_names)), dtype) if gradient_norms else None
        )
        self.row = backend.zeros((1, self.table.shape[1]), dtype)
        self.total = self.gradient
        """Where a batch taken in parts has its gradient; `gradient` then holds the last part's."""
        if max(part.start for part in parts) > 0:
            self.total = backend.zeros(network.layout.size, dtype)
        if optimizer is not None:
            self.update = Update(network, optimizer, self.groups, moments, self.row[0])
        split = self.full_steps * batch_size
        by_step = self.order[:split].reshape(self.full_steps, batch_size)
        self.full = self._plan(batch_size, by_step) if self.full_steps else None
        self.last = self._plan(self.last_rows, self.order[split:]) if self.last_rows else None

    def feed(self, data: TrainingData) -> None:
        """Take the rows of `data` from now on: arrays of the dtypes and shapes of those before."""
        self.data = data.apart()
        self.fills += 1
        for plan in self.plans:
            for i, name in plan.reads:
                call = plan.calls[i]
                take, _, rows = call.arguments
                given = take, getattr(self.data, name), rows
                plan.calls[i] = Call(call.kernel, given, call.keywords)

    @property
    def nbytes(self) -> int:
        """The bytes it takes beside data, parameters and moments."""
        arrays = [self.gradient, self.order, self.table, self.log, self.numbers, self.norms]
        arrays += [] if self.total is self.gradient else [self.total]
        arrays += self.update.work if self.optimizer is not None else []
        return self.buffers.nbytes + sum(int(a.nbytes) for a in arrays if a is not None)

    def start_epoch(
        self,
        order: np.ndarray,
        *,
        step: int,
        drawn: int | None = None,
        rate_scale: float = 1.0,
        position: int = 0,
    ) -> None:
        """Fill the tables for an epoch in `order` (rows,), before which the optimizer took `step`
        steps and the model `drawn` in its whole life, if those are more.

        `rate_scale`: a factor on all rates. `position`: how many steps of the epoch were taken in
        an earlier run.
        """
        drawn = step if drawn is None else drawn
        self.fills += 1
        t = np.arange(step + 1, step + 1 + self.steps, dtype=np.float64)
        upload = self.network.backend.upload
        upload(order, out=self.order)
        columns = self._columns(t, rate_scale)
        if columns:
            upload(np.array(columns).T, out=self.table)
        if position == 0 and step // FLUSH_STEPS != (step + self.steps) // FLUSH_STEPS:
            self._flush()
        upload(np.array([position, drawn + position]), out=self.state)
        if self.gradient_rule.columns:
            rates = rate_scale * self.optimizer.rates(t) if self.optimizer else t
            numbers = np.stack(self.gradient_rule.numbers(self.network, t, rates), axis=1)
            upload(numbers, out=self.numbers)

    @property
    def plans(self) -> list[Plan]:
        """The plan of a full batch and that of the ragged one, where there are such batches."""
        return [plan for plan in (self.full, self.last) if plan is not None]

    @property
    def norm_names(self) -> list[str]:
        """The parameters whose gradients have a column in `norms`."""
        places = self.network.layout.places
        return sorted(name for name in places if places[name].parameter.kind != "state")

    @property
    def interpreted(self) -> str | None:
        """What of this program only the interpreter does, or None."""
        if isinstance(self.gradient_rule, Backpropagation):
            return None
        return f"gradient={self.gradient_rule.name!r}"

    def _columns(self, t: Steps, rate_scale: float) -> list[Steps]:
        """The columns of the table for steps t."""
        columns = [column for group in self.groups for column in group.columns(t, rate_scale)]
        return columns + list(average_columns(self.optimizer, t) if self.optimizer else ())

    def _flush(self) -> None:
        xp, work = self.network.backend.xp, self.gradient
        tiny = float(np.finfo(self.network.dtype).tiny)
        for moment in self.moments.values():
            xp.absolute(moment, out=work)
            xp.greater_equal(work, tiny, out=work)
            xp.multiply(moment, work, out=moment)
        work.fill(0)  # where nothing is learnt it stays zero

    def _plan(self, rows: int, order: Array) -> Plan:
        """The plan of a step of `rows` rows, in parts that share the buffers."""
        views = self.network.layout.views(self.network.flat)
        plan = Plan(self.buffers, rows, parameters=views, training=True)
        rows_of = self._rows(plan, order)
        parts = self._parts(rows)
        line = self.network.backend.zeros((1, 3), self.network.dtype)
        lines = line
        if len(parts) > 1:
            lines = self.network.backend.zeros((len(parts), 3), self.network.dtype)
        r = self._weights(plan, rows_of, line[:, WEIGHT:])
        numbers = self._numbers(plan)
        for i, part in enumerate(parts):
            self._plan_part(plan, rows_of[part], r[part], lines[i : i + 1], numbers, first=i == 0)
            if len(parts) > 1:
                plan.call(updates.add if i else batches.copy, self.gradient, out=self.total)
        if len(parts) > 1:
            plan.call(batches.sum_rows, lines[:, :WEIGHT], out=line[:, :WEIGHT])
        gradient = self.total if len(parts) > 1 else self.gradient
        plan.gradient_stop = len(plan.calls)
        self._record_norms(plan, gradient)
        if self.optimizer is not None:
            self._plan_update(plan, gradient)
        plan.call(batches.record, self.log, self.state, line)
        plan.call(batches.advance, self.state)
        return plan

    def _plan_update(self, plan: Plan, gradient: Array) -> None:
        """Append what moves the parameters."""
        take = self.network.backend.take
        plan.call(batches.select_row, take, self.table, self.state, out=self.row)
        if self.gradient_rule.updates:
            self.update.plan(plan, gradient)
        plan_norm_limits(plan, self.network)
        self.update.plan_average(plan)

    def _plan_part(
        self, whole: Plan, rows: Array, r: Array, line: Array, numbers: Array | None, *, first: bool
    ) -> None:
        """Append the part of the batch at `rows` of the data: its gradient, its share of the log
        line.
        """
        layout, network = self.network.layout, self.network
        plan = Plan(
            self.buffers,
            len(rows),
            parameters=layout.views(network.flat),
            gradients=layout.gradients(self.gradient),
            training=True,
            seed=network.seed,
            state=self.state,
        )
        plan.calls, plan.reads = whole.calls, whole.reads
        plan.streams, plan.penalised = whole.streams, first
        plan.batch_rows, plan.batch_weight = whole.rows, whole.batch_weight
        labels = self.data.y.dtype if self.data.y.ndim == 1 else network.dtype
        x = self._fetch(plan, "x", rows, network.dtype)
        y = self._fetch(plan, "y", rows, labels)
        start = len(plan.calls)
        z, sites = plan_forward(plan, network, x)
        losses, dz = plan_loss(plan, network, z, plan_targets(plan, network, y), r)
        loss = line[:, LOSS : LOSS + 1]
        plan.call(batches.weighted_mean, r, losses, out=loss)
        plan_penalties(plan, network, loss)
        stop = len(plan.calls)
        self._count_hits(plan, z, y, r, line[:, HITS : HITS + 1])
        whole.objective = Objective(
            plan, network, self.gradient, loss, start, stop, sites, dz, numbers
        )
        self.gradient_rule.plan(whole.objective)
        whole.streams = plan.streams

    def _parts(self, rows: int) -> list[slice]:
        """The parts of a batch of `rows` rows."""
        if not rows:
            return []
        full, last = split_batches(self.network.layers, rows, min(self.part_rows, rows))
        size = min(self.part_rows, rows)
        stops = [size * (i + 1) for i in range(full)] + [rows] * bool(last)
        return [slice(start, stop) for start, stop in pairwise([0, *stops])]

    def _rows(self, plan: Plan, order: Array) -> Array:
        """Append the choice of the step's rows; returns where they are, (rows,)."""
        if order.ndim == 1:
            return order
        rows = self.network.backend.empty((1, plan.rows), np.int64)
        plan.call(batches.select_row, self.network.backend.take, order, self.state, out=rows)
        return rows[0]

    def _fetch(self, plan: Plan, name: str, rows: Array, dtype: np.dtype) -> Array:
        """Append the gathering of `rows` of one of the data's arrays; returns them as `dtype`."""
        source: Array = getattr(self.data, name)
        columns = 1 if source.ndim == 1 else source.shape[1]
        raw = plan.buffer(f"raw {name}", columns, dtype=source.dtype)
        out = raw if source.dtype == dtype else plan.buffer(f"batch {name}", columns)
        if source.ndim == 1:
            raw = out = raw[:, 0]
        self._gather(plan, name, rows, raw=raw, out=out)
        return out

    def _gather(self, plan: Plan, name: str, rows: Array, *, raw: Array, out: Array) -> None:
        plan.reads.append((len(plan.calls), name))
        source = getattr(self.data, name)
        plan.call(batches.gather, self.network.backend.take, source, rows, raw=raw, out=out)

    def _weights(self, plan: Plan, rows: Array, total: Array) -> Array:
        """Append the normalisation of the rows' weights; returns r (rows, 1), which sums to one."""
        backend, weights = self.network.backend, self.data.weights
        r = backend.empty((plan.rows, 1), self.network.dtype)
        if weights is None:
            r[...] = 1.0 / plan.rows
            total[...] = plan.rows
        else:
            w = backend.empty((plan.rows, 1), self.network.dtype)
            self._gather(plan, "weights", rows, raw=w, out=w)
            plan.call(batches.normalise_weights, w, total=total, out=r)
            plan.batch_weight = total
        return r

    def _numbers(self, plan: Plan) -> Array | None:
        """Append the reading of the gradient rule's per-step numbers, if it has any."""
        if not self.gradient_rule.columns:
            return None
        row = self.network.backend.empty((1, self.gradient_rule.columns), self.network.dtype)
        plan.call(batches.select_row, self.network.backend.take, self.numbers, self.state, out=row)
        return row

    def _record_norms(self, plan: Plan, gradient: Array) -> None:
        """Append the norm of each parameter's gradient, if they are wanted."""
        if self.norms is None:
            return
        row = self.network.backend.empty((1, len(self.norm_names)), self.network.dtype)
        views = self.network.layout.views(gradient)
        gradients = tuple(views[name].reshape(-1) for name in self.norm_names)
        plan.call(batches.norms, gradients, out=row)
        plan.call(batches.record, self.norms, self.state, row)

    def _count_hits(self, plan: Plan, z: Array, y: Array, r: Array, out: Array) -> None:
        """Append the batch's accuracy, unless the targets are values."""
        kind = self.network.loss.target_kind(z.shape[1])
        if kind == "values":
            out[...] = 0
            return
        hits = plan.buffer("hits", 1)
        if kind == "binary":
            work = plan.scratch(z.shape[1], 2)
            plan.call(batches.all_correct, z, y, work=work, out=hits)
            plan.call(batches.weighted_mean, r, hits, out=out)
            return
        predicted = plan.buffer("predicted", 1, dtype=np.int64)[:, 0]
        labels = y
        if y.ndim == 2:
            labels = plan.buffer("likeliest", 1, dtype=np.int64)[:, 0]
            plan.call(batches.likeliest, y, out=labels)
        plan.call(batches.correct, z, labels, predicted=predicted, out=hits)
        plan.call(batches.weighted_mean, r, hits, out=out)
