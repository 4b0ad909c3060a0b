"""The training program: tables for one epoch, and the plan of a step that reads them.

Tables are filled once per epoch: `order` lists the rows of the data that each step sees, and the
update's `table` holds the optimizer's per-step numbers. Each step writes one line of `log`. The
last, ragged batch has a plan of its own on the same buffers.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from mlpx.kernels import batches
from mlpx.network.network import Network
from mlpx.optimizers.base import Optimizer
from mlpx.plan.plan import Buffers, Plan
from mlpx.program.batch import Batch
from mlpx.program.data import TrainingData, split_batches
from mlpx.program.gradients import Backpropagation, GradientRule
from mlpx.program.layer_numbers import LayerNumbers
from mlpx.program.step_gradient import HITS, LOSS, WEIGHT, StepGradient
from mlpx.program.update import Update
from mlpx.types import Array

__all__ = ["HITS", "LOSS", "WEIGHT", "TrainingProgram"]

FLUSH_STEPS = 512
"""How often denormal numbers, which are slow, are set to zero in the moments."""


class TrainingProgram:
    """Everything an engine needs to train one epoch of `rows` rows in batches of `batch_size`.

    A step has three parts: `batch` gathers its rows, `step_gradient` computes the gradient of
    their loss, and `update` moves the parameters along it.

    If `part_rows` is below `batch_size`, a step takes its batch in parts of that many rows and
    adds up their gradients; the update is that of the whole batch. Without an optimizer, a step
    leaves the gradient of the loss in `gradient` (of a batch in parts, in `step_gradient.total`)
    and changes nothing else. `precision` says how products may round their factors; engines without
    that rounding refuse the program. `span` (begin, total): the run whose length open schedules of
    layers take, `total` steps after step `begin`.
    """

    fills = 0
    """How many times the tables or the data were replaced."""

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
        span: tuple[int, int] | None = None,
    ) -> None:
        backend, dtype = network.backend, network.dtype
        self.network, self.moments, self.precision = network, moments, precision
        self.batch_size, self.rows = batch_size, rows
        self.full_steps, self.last_rows = split_batches(network.layers, rows, batch_size)
        self.steps = self.full_steps + bool(self.last_rows)
        self.part_rows = min(part_rows or batch_size, rows)
        parts = self.parts(self.full_steps and batch_size) + self.parts(self.last_rows)
        self.buffers = Buffers(backend, max(part.stop - part.start for part in parts), dtype)
        self.log = backend.zeros((self.steps, 3), dtype)

        lines = self.full_steps
        if data.room is not None:
            lines = min(lines, data.room // batch_size)
        self.batch = Batch(network, data, lines * batch_size + self.last_rows)
        self.layer_numbers = LayerNumbers(network, steps=self.steps, span=span)
        self.step_gradient = StepGradient(
            network,
            gradient_rule or Backpropagation(),
            steps=self.steps,
            in_parts=max(part.start for part in parts) > 0,
            norms=gradient_norms,
        )
        self.update: Update | None = None
        if optimizer is not None and not optimizer.full_batch:
            # A full-batch optimizer only needs gradients; it moves the parameters between steps.
            self.update = Update(network, optimizer, moments, steps=self.steps)

        self.gradient, self.norms = self.step_gradient.flat, self.step_gradient.norms
        self.order, self.state = self.batch.order, self.batch.state
        split = lines * batch_size
        by_step = self.order[:split].reshape(lines, batch_size)
        self.full = self._plan(batch_size, by_step) if self.full_steps else None
        self.last = self._plan(self.last_rows, self.order[split:]) if self.last_rows else None

    def _plan(self, rows: int, order: Array) -> Plan:
        """The plan of a step of `rows` rows, in parts that share the buffers."""
        network = self.network
        plan = Plan(
            self.buffers,
            rows,
            parameters=network.layout.views(network.flat),
            gradients=network.layout.gradients(self.gradient),
            training=True,
            seed=network.seed,
            state=self.state,
        )
        line = network.backend.zeros((1, 3), network.dtype)
        in_turn = order.ndim == 2 and len(order) < self.full_steps
        rows_at = self.batch.rows(plan, order, in_turn=in_turn)
        self.layer_numbers.plan(plan, self.state)
        parts = self.parts(rows)
        gradient = self.step_gradient.plan(plan, self.batch, rows_at, parts, line=line)
        if self.update is not None:
            moves = self.step_gradient.rule.updates
            self.update.plan(plan, gradient, self.state, moves=moves)
        plan.call(batches.record, self.log, self.state, line)
        plan.call(batches.advance, self.state)
        return plan

    def parts(self, rows: int) -> list[slice]:
        """The parts in which a step takes a batch of `rows` rows."""
        if not rows:
            return []
        full, last = split_batches(self.network.layers, rows, min(self.part_rows, rows))
        size = min(self.part_rows, rows)
        stops = [size * (i + 1) for i in range(full)] + [rows] * bool(last)
        return [slice(start, stop) for start, stop in pairwise([0, *stops])]

    @property
    def data(self) -> TrainingData:
        """The data that the steps read from."""
        return self.batch.data

    def feed(self, data: TrainingData) -> None:
        """Train on `data` from now on; its arrays have the same dtypes and shapes as before."""
        self.batch.feed(data, self.plans)
        self.fills += 1

    @property
    def nbytes(self) -> int:
        """The bytes it takes besides data, parameters and moments."""
        arrays = [*self.step_gradient.arrays, self.order, self.log]
        arrays += self.update.arrays if self.update is not None else []
        return self.buffers.nbytes + sum(int(array.nbytes) for array in arrays)

    def start_epoch(
        self,
        order: np.ndarray,
        *,
        step: int,
        drawn: int | None = None,
        rate_scale: float = 1.0,
        position: int = 0,
    ) -> None:
        """Fill the tables for an epoch with the rows `order` (rows,); if they take turns, those of
        the full steps of one turn, and of the last step.

        Before the epoch the optimizer took `step` steps, and the model took `drawn` over all fits
        (default: as many). `rate_scale` multiplies all rates. `position` is how many steps of the
        epoch an earlier run has taken.
        """
        drawn = step if drawn is None else drawn
        self.fills += 1
        t = np.arange(step + 1, step + 1 + self.steps, dtype=np.float64)
        upload = self.network.backend.upload
        upload(order, out=self.order)
        if self.update is not None:
            self.update.fill(t, rate_scale)
        self.layer_numbers.fill(t)
        if position == 0 and step // FLUSH_STEPS != (step + self.steps) // FLUSH_STEPS:
            self._flush()
        upload(np.array([position, drawn + position]), out=self.state)
        rule = self.step_gradient.rule
        if rule.columns:
            rates = t if self.update is None else rate_scale * self.update.optimizer.rates(t)
            numbers = np.stack(rule.numbers(self.network, t, rates), axis=1)
            upload(numbers, out=self.step_gradient.numbers)

    @property
    def plans(self) -> list[Plan]:
        """The plans of a full batch and of the ragged one, as far as there are such batches."""
        return [plan for plan in (self.full, self.last) if plan is not None]

    @property
    def norm_names(self) -> list[str]:
        """The parameters whose gradients have a column in `norms`."""
        return self.step_gradient.norm_names

    @property
    def interpreted(self) -> str | None:
        """The feature of this program that only the interpreter supports, or None."""
        rule = self.step_gradient.rule
        return None if isinstance(rule, Backpropagation) else f"gradient={rule.name!r}"

    def _flush(self) -> None:
        xp, work = self.network.backend.xp, self.gradient
        tiny = float(np.finfo(self.network.dtype).tiny)
        for moment in self.moments.values():
            xp.absolute(moment, out=work)
            xp.greater_equal(work, tiny, out=work)
            xp.multiply(moment, work, out=moment)
        work.fill(0)  # the gradient stays zero where nothing is learnt
