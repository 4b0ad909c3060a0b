"""The translations of targets and losses.

The kernels take targets and outputs by column; the operations take them by row. Where a kernel
leaves something by column, the operation leaves the same by row in the same memory.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.engines.lowering.operations import address
from mlpx.engines.lowering.translator import Translator, translates
from mlpx.kernels import losses
from mlpx.plan.plan import Call
from mlpx.types import Array

CONSTANTS = 7
"""How many fields of a loss an operation can be given."""


def by_column(a: Array) -> bool:
    """Whether an array lies in memory by column, and not by row as well."""
    return bool(a.ndim == 2 and a.flags.f_contiguous and not a.flags.c_contiguous)


def by_row(a: Array) -> Array:
    """The memory of an array that lies by column, as one of the same shape that lies by row."""
    return a.T.reshape(-1).reshape(a.shape)


def current(to: Translator, a: Array) -> Array:
    """Where the values are, by row, that a kernel would find in `a`."""
    return to.by_row.get(address(a), a)


@translates(losses.one_hot)
def _one_hot(to: Translator, call: Call) -> None:
    """Nothing yet: most losses take labels as they are."""
    labels, _ = call.arguments
    to.by_row[address(call.keywords["out"])] = labels


@translates(losses.smooth)
def _smooth(to: Translator, call: Call) -> None:
    (t,), amount = call.arguments, call.keywords["amount"]
    spread(to, t, keep=1.0 - amount, more=amount / t.shape[1])


def spread(to: Translator, t: Array, *, keep: float, more: float) -> Array:
    """Append targets keep t + more in t's memory, from labels or numbers; returns them, by row."""
    source, out = current(to, t), by_row(t)
    touches = (*to.by_rows(source), *to.by_rows(out, writes=True))
    n = (*t.shape, source.ndim == 1)
    to.emit("targets", n=n, c=(keep, more), p=(source, out), touches=touches)
    to.by_row[address(t)] = out
    return out


@translates(losses.repeat)
def _repeat(to: Translator, call: Call) -> None:
    (y,), t = call.arguments, call.keywords["out"]
    out = by_row(t)
    touches = (*to.by_rows(y), *to.by_rows(out, writes=True))
    to.emit("repeat", n=(*y.shape, t.shape[1] // y.shape[1]), p=(y, out), touches=touches)
    to.by_row[address(t)] = out


class Pending:
    """A loss whose gradient by column is about to be copied to where it goes by row."""

    def __init__(self, to: Translator, call: Call) -> None:
        self.record: Any = call.kernel.__self__  # type: ignore[attr-defined]
        z, t, self.r = call.arguments
        self.z, self.rows = current(to, z), call.keywords["rows"]
        self.t = current(to, t)
        if self.t.ndim == 1 and self.record.name != "softmax_cross_entropy":
            self.t = spread(to, t, keep=1.0, more=0.0)

    def emit(self, to: Translator, dz: Array) -> None:
        """Append the operation, which writes the gradient to `dz` (n, k)."""
        name, n, c, fixed = self._operation(to, dz.shape[1])
        touches = (*to.by_rows(self.z, self.t, self.r), *to.by_rows(dz, self.rows, writes=True))
        p = (self.z, self.t, self.r, self.rows, dz, *fixed)
        to.emit(name, n=(*dz.shape, *n), c=c, p=p, touches=touches)

    def _operation(
        self, to: Translator, k: int
    ) -> tuple[str, tuple[int, ...], tuple[float, ...], list[Array]]:
        """Its name, its sizes beside dz's shape, its constants and its constant arrays."""
        record = self.record
        upload = to.plan.buffers.backend.asarray
        fixed = [upload(np.ascontiguousarray(c, to.dtype)) for c in record.constants(k)]
        if isinstance(record, losses.SoftmaxCrossEntropy):
            return "softmax_loss", (self.t.ndim == 1,), (), []
        if isinstance(record, losses.KLDivergence):
            return "kl_loss", (), (), []
        if isinstance(record, losses.Focal):
            return "focal_loss", (), (record.gamma,), fixed
        c = fields(record)
        c = (*c, *[0.0] * (CONSTANTS - len(c)), record.share(k))
        return "column_loss", (to.formula(record),), c, fixed


def fields(record: Any) -> tuple[float, ...]:
    """The numbers that a loss's formula is given."""
    if isinstance(record, losses.BinaryFocal):
        return (record.gamma, *record.weights)
    given = (value for key, value in record.config().items() if key not in ("kind", "name"))
    return tuple(value for value in given if isinstance(value, float))[:CONSTANTS]


@translates((losses.Loss, "gradient"))
def _loss(to: Translator, call: Call) -> None:
    out, pending = call.keywords["out"], Pending(to, call)
    if by_column(out):
        to.by_row[address(out)] = pending
    else:
        pending.emit(to, out)
