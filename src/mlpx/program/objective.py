"""The objective of a step: targets, the loss and its gradient, penalties, norm limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.kernels import batches, losses
from mlpx.kernels.losses import Loss
from mlpx.network.network import Network
from mlpx.plan.plan import Call, LayerPlan, Plan
from mlpx.types import Array

Runs = Sequence[Callable[[], None]]


@dataclass(frozen=True, eq=False)
class Objective:
    """A batch's loss as part of a step's plan: the calls that compute it, and their arrays."""

    plan: Plan
    network: Network
    gradient: Array
    """The flat gradient to fill; its padding stays zero."""
    loss: Array
    """(1, 1), written by the calls from `start` to `stop` of the plan."""
    start: int
    stop: int
    sites: list[LayerPlan]
    dz: Array
    numbers: Array | None
    """This step's row of `GradientRule.numbers`, (1, columns)."""

    @property
    def calls(self) -> list[Call]:
        """The calls that compute the loss from the current parameters."""
        return self.plan.calls[self.start : self.stop]

    @property
    def forward(self) -> Runs:
        """`calls` as functions."""
        return [call.bind(self.network.backend.xp) for call in self.calls]

    @property
    def kept(self) -> tuple[tuple[Array, Array], ...]:
        """(array, room for a copy) of what `calls` change: the loss and the layers' state."""
        state = self.network.flat[self.network.layout.span("state")]
        return tuple((array, array.copy()) for array in (self.loss, state) if array.size)


def plan_targets(plan: Plan, network: Network, y: Array) -> Array:
    """Append the conversion of y to the loss's targets (rows, d_out), column by column in memory.

    y is integer labels (rows,), or numbers (rows, columns) in the model's dtype, with as many
    columns as the loss takes for d_out outputs.
    """
    k, loss = network.d_out, network.loss
    if y.ndim == 2 and k == 1:
        return y
    t = plan.buffer("targets", k, by_column=True)
    if y.ndim == 1:
        classes = network.backend.asarray(np.arange(k))
        plan.call(losses.one_hot, y, classes, out=t)
    elif y.shape[1] == k:
        plan.call(batches.copy, y, out=t)
    else:
        plan.call(losses.repeat, y, out=t)
    if loss.smoothing():
        plan.call(losses.smooth, t, amount=loss.smoothing())
    return t


def plan_loss(plan: Plan, network: Network, z: Array, t: Array, r: Array) -> tuple[Array, Array]:
    """Append the loss and its gradient; returns the row losses (rows, 1) and dz (rows, d_out).

    z is stored by row, t by column; r is the row weights (rows, 1).
    """
    k, loss = network.d_out, network.loss
    rows = plan.buffer("row losses", 1)
    dz = plan.buffer("dz", k)
    out = dz if k == 1 else plan.buffer("dz by column", k, by_column=True)
    plan.call(
        loss.gradient,
        plan_by_column(plan, z),
        t,
        r,
        rows=rows,
        out=out,
        work=loss_work(plan, loss, k),
    )
    if out is not dz:
        plan.call(batches.copy, out, out=dz)
    return rows, dz


def loss_work(plan: Plan, loss: Loss, k: int) -> tuple[Array, ...]:
    """The scratch arrays and constants that a loss needs."""
    buffers = plan.buffers
    columns = tuple(plan.buffer(f"loss column {i}", 1) for i in range(loss.columns))
    constants = tuple(buffers.backend.asarray(c.astype(buffers.dtype)) for c in loss.constants(k))
    return plan.scratch(k, loss.scratch, by_column=True) + columns + constants


def plan_by_column(plan: Plan, z: Array) -> Array:
    """Append a copy of `z` (rows, k) stored by column; returns z itself if k = 1."""
    if z.shape[1] == 1:
        return z
    by_column = plan.buffer("outputs", z.shape[1], by_column=True)
    plan.call(batches.copy, z, out=by_column)
    return by_column


def divides_by_weight(network: Network) -> bool:
    """Whether a penalty is divided by the sum of the row weights, so that their scale matters."""
    penalties = (place.parameter.penalty for place in network.layout.places.values())
    return any(penalty is not None and penalty.shared for penalty in penalties)


def plan_penalties(plan: Plan, network: Network, loss: Array) -> None:
    """Append the calls that add the penalties to `loss` (1, 1)."""
    total = plan.buffers.vector("penalty", 1)[None, :]
    _call_penalties(plan, network, "value", lambda name: {"loss": loss, "total": total})


def plan_penalty_gradients(plan: Plan, network: Network) -> None:
    """Append the calls that add the penalties' gradients to the gradient."""
    _call_penalties(plan, network, "gradient", lambda name: {"dW": plan.gradients[name]})


def _call_penalties(
    plan: Plan, network: Network, method: str, outputs: Callable[[str], dict[str, Array]]
) -> None:
    """Append `method` of each penalty; `outputs` maps a weight's name to the arrays it writes."""
    for name, place in network.layout.places.items():
        penalty: Any = place.parameter.penalty
        if penalty is None or not plan.penalised:
            continue
        W = plan.parameters[name]
        given = {**outputs(name), "work": plan.like(W)}
        if penalty.shared and plan.batch_weight is not None:
            plan.call(getattr(penalty, f"{method}_by_weight"), W, plan.batch_weight, **given)
        else:
            plan.call(getattr(penalty.of_rows(plan.batch_rows), method), W, **given)
