"""The mini-batch of a step: which rows it has, and how they are gathered into buffers."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from mlpx.kernels import batches
from mlpx.network.network import Network
from mlpx.plan.plan import Call, Plan
from mlpx.program.data import TrainingData
from mlpx.types import Array


class Batch:
    """The calls of a plan that gather a step's rows.

    `order` (rows,) lists the epoch's rows, or those that are in memory if they take turns, of which
    each full step sees its own until they begin anew. `state` (2,) holds the step's position in
    the epoch and the number of steps over all fits; each step advances both.
    """

    def __init__(self, network: Network, data: TrainingData, rows: int) -> None:
        self.network, self.data = network, data.apart()
        self.order = network.backend.zeros(rows, np.int64)
        self.state = network.backend.zeros(2, np.int64)

    def feed(self, data: TrainingData, plans: Iterable[Plan]) -> None:
        """Make the plans gather from `data`, which has the same dtypes and shapes as before."""
        self.data = data.apart()
        for plan in plans:
            for i, name in plan.reads:
                call = plan.calls[i]
                take, _, rows = call.arguments
                given = take, getattr(self.data, name), rows
                plan.calls[i] = Call(call.kernel, given, call.keywords)

    def rows(self, plan: Plan, order: Array, *, in_turn: bool = False) -> Array:
        """Append the selection of the step's rows; returns their indices, (rows,).

        `order` is (steps, rows), or (rows,) for the single ragged batch; `in_turn`: it begins anew
        after its last line.
        """
        if order.ndim == 1:
            return order
        backend, state = self.network.backend, self.state
        chosen = backend.empty((1, plan.rows), np.int64)
        if in_turn:
            at = backend.empty(1, np.int64)
            plan.call(batches.select_row_in_turn, backend.take, order, state, at=at, out=chosen)
        else:
            plan.call(batches.select_row, backend.take, order, state, out=chosen)
        return chosen[0]

    def x(self, plan: Plan, rows: Array) -> Array:
        """Append the gathering of x; returns it in the model's dtype, (rows, d_in)."""
        return self._fetch(plan, "x", rows, self.network.dtype)

    def y(self, plan: Plan, rows: Array) -> Array:
        """Append the gathering of y; returns labels (rows,), or numbers (rows, columns)."""
        y = self.data.y
        return self._fetch(plan, "y", rows, y.dtype if y.ndim == 1 else self.network.dtype)

    def weights(self, plan: Plan, rows: Array, *, total: Array) -> Array:
        """Append the rows' weights; returns them normalised to a sum of one, r (rows, 1).

        `total` (1, 1) receives the sum of the weights, or the number of rows if there are none.
        """
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

    def _fetch(self, plan: Plan, name: str, rows: Array, dtype: np.dtype) -> Array:
        """Append the gathering of `rows` of the data's array `name`; returns them as `dtype`."""
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
