"""The gradient of a step's loss, and what a step records: loss, hits, gradient norms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlpx.kernels import batches, updates
from mlpx.network.network import Network
from mlpx.network.passes import plan_forward
from mlpx.plan.plan import Plan
from mlpx.program.batch import Batch
from mlpx.program.gradients import GradientRule
from mlpx.program.objective import Objective, plan_loss, plan_penalties, plan_targets
from mlpx.types import Array

LOSS, HITS, WEIGHT = range(3)  # the columns of a log line


class StepGradient:
    """The calls that compute the gradient of a batch's loss; arrays are allocated once.

    The gradient is in `flat`. For a batch taken in parts, `flat` holds the gradient of the last
    part and `total` their sum; without such batches the two are one array. `norms`
    (steps, parameters) receives the norms of the gradients, if requested.
    """

    def __init__(
        self, network: Network, rule: GradientRule, *, steps: int, in_parts: bool, norms: bool
    ) -> None:
        backend, size, dtype = network.backend, network.layout.size, network.dtype
        self.network, self.rule = network, rule
        self.flat = backend.zeros(size, dtype)
        self.total = backend.zeros(size, dtype) if in_parts else self.flat
        self.numbers = backend.zeros((steps, rule.columns), dtype)
        """The numbers that the rule needs from the host for each step."""
        self.norms = backend.zeros((steps, len(self.norm_names)), dtype) if norms else None

    @property
    def norm_names(self) -> list[str]:
        """The parameters whose gradients have a column in `norms`."""
        places = self.network.layout.places
        return sorted(name for name in places if places[name].parameter.kind != "state")

    @property
    def arrays(self) -> list[Array]:
        """The arrays allocated here."""
        apart = [] if self.total is self.flat else [self.total]
        return [self.flat, *apart, self.numbers, *([] if self.norms is None else [self.norms])]

    def plan(
        self, plan: Plan, batch: Batch, rows: Array, parts: Sequence[slice], *, line: Array
    ) -> Array:
        """Append the gradient of the batch of `rows`, taken in `parts`; returns where it will be.

        `line` (1, 3) receives the batch's loss, its accuracy and the sum of its weights.
        """
        r = batch.weights(plan, rows, total=line[:, WEIGHT:])
        numbers = self._numbers(plan, batch.state)
        lines = line
        if len(parts) > 1:
            lines = self.network.backend.zeros((len(parts), 3), self.network.dtype)
        for i, at in enumerate(parts):
            part = plan.part(at.stop - at.start, first=i == 0)
            objective = self._objective(part, batch, rows[at], r[at], lines[i : i + 1], numbers)
            self.rule.plan(objective)
            plan.objective = objective
            if len(parts) > 1:
                plan.call(updates.add if i else batches.copy, self.flat, out=self.total)
        if len(parts) > 1:
            plan.call(batches.sum_rows, lines[:, :WEIGHT], out=line[:, :WEIGHT])
        gradient = self.total if len(parts) > 1 else self.flat
        plan.gradient_stop = len(plan.calls)
        self._record_norms(plan, gradient, batch.state)
        return gradient

    def _objective(
        self, plan: Plan, batch: Batch, rows: Array, r: Array, line: Array, numbers: Array | None
    ) -> Objective:
        """Append the loss of the part of a batch at `rows`, and its part of the log line."""
        network = self.network
        x, y = batch.x(plan, rows), batch.y(plan, rows)
        start = len(plan.calls)
        z, sites = plan_forward(plan, network, x)
        losses, dz = plan_loss(plan, network, z, plan_targets(plan, network, y), r)
        loss = line[:, LOSS : LOSS + 1]
        plan.call(batches.weighted_mean, r, losses, out=loss)
        plan_penalties(plan, network, loss)
        stop = len(plan.calls)
        self._count_hits(plan, z, y, r, line[:, HITS : HITS + 1])
        return Objective(plan, network, self.flat, loss, start, stop, sites, dz, numbers)

    def _numbers(self, plan: Plan, state: Array) -> Array | None:
        """Append the selection of the rule's numbers for this step, if it has any."""
        if not self.rule.columns:
            return None
        backend = self.network.backend
        row = backend.empty((1, self.rule.columns), self.network.dtype)
        plan.call(batches.select_row, backend.take, self.numbers, state, out=row)
        return row

    def _record_norms(self, plan: Plan, gradient: Array, state: Array) -> None:
        """Append the norm of each parameter's gradient, if requested."""
        if self.norms is None:
            return
        row = self.network.backend.empty((1, len(self.norm_names)), self.network.dtype)
        views = self.network.layout.views(gradient)
        gradients = tuple(views[name].reshape(-1) for name in self.norm_names)
        plan.call(batches.norms, gradients, out=row)
        plan.call(batches.record, self.norms, state, row)

    def _count_hits(self, plan: Plan, z: Array, y: Array, r: Array, out: Array) -> None:
        """Append the batch's accuracy, or 0 if the targets are values."""
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
