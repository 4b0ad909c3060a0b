"""The translations of targets and losses.

The kernels take targets and outputs by column, and the operations take them by row. Where a kernel
would write something by column, the operation writes the same by row to the same memory.
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
"""The most constants of a loss's formula."""


def lies_by_column(a: Array) -> bool:
    """Whether an array is stored by column, and not by row as well."""
    return bool(a.ndim == 2 and a.flags.f_contiguous and not a.flags.c_contiguous)


def laid_by_row(a: Array) -> Array:
    """An array of the same shape and memory as one stored by column, but stored by row."""
    return a.T.reshape(-1).reshape(a.shape)


def current(to: Translator, a: Array) -> Array:
    """The array, by row, with the values that a kernel would find in `a`."""
    return to.stands_for.get(address(a), a)


@translates(losses.one_hot)
def _one_hot(to: Translator, call: Call) -> None:
    """No operation yet: most losses take labels as they are."""
    labels, _ = call.arguments
    to.stands_for[address(call.keywords["out"])] = labels


@translates(losses.smooth)
def _smooth(to: Translator, call: Call) -> None:
    (t,), amount = call.arguments, call.keywords["amount"]
    spread(to, t, keep=1.0 - amount, more=amount / t.shape[1])


def spread(to: Translator, t: Array, *, keep: float, more: float) -> Array:
    """Append keep t + more, written to t's memory, for labels or numbers t; returns it, by row."""
    source, out = current(to, t), laid_by_row(t)
    rows, outputs = t.shape
    to.emit(
        "targets",
        rows=rows,
        outputs=outputs,
        by_label=source.ndim == 1,
        keep=keep,
        more=more,
        t=source,
        out=out,
        touches=(*to.rows_divided(source), *to.rows_divided(out, writes=True)),
    )
    to.stands_for[address(t)] = out
    return out


@translates(losses.repeat)
def _repeat(to: Translator, call: Call) -> None:
    (y,), t = call.arguments, call.keywords["out"]
    out = laid_by_row(t)
    rows, columns = y.shape
    sizes = {"rows": rows, "columns": columns, "times": t.shape[1] // columns}
    touches = (*to.rows_divided(y), *to.rows_divided(out, writes=True))
    to.emit("repeat", **sizes, y=y, out=out, touches=touches)
    to.stands_for[address(t)] = out


class Pending:
    """A loss whose operation is emitted when its gradient is copied from columns to rows."""

    def __init__(self, to: Translator, call: Call) -> None:
        self.record: Any = call.kernel.__self__  # type: ignore[attr-defined]
        z, t, self.r = call.arguments
        self.z, self.losses = current(to, z), call.keywords["rows"]
        self.t = current(to, t)
        if self.t.ndim == 1 and self.record.name != "softmax_cross_entropy":
            self.t = spread(to, t, keep=1.0, more=0.0)

    def emit(self, to: Translator, dz: Array) -> None:
        """Append the operation, which writes the gradient to `dz` (n, k)."""
        name, own = self._operation(to, dz.shape[1])
        rows, outputs = dz.shape
        read = {"z": self.z, "t": self.t, "r": self.r}
        written = {"losses": self.losses, "dz": dz}
        touches = (
            *to.rows_divided(*read.values()),
            *to.rows_divided(*written.values(), writes=True),
        )
        to.emit(name, rows=rows, outputs=outputs, **own, **read, **written, touches=touches)

    def _operation(self, to: Translator, k: int) -> tuple[str, dict[str, Any]]:
        """The operation's name, and the fields that not all losses have."""
        record = self.record
        upload = to.plan.buffers.backend.asarray
        fixed = [upload(np.ascontiguousarray(c, to.dtype)) for c in record.constants(k)]
        if isinstance(record, losses.SoftmaxCrossEntropy):
            return "softmax_loss", {"by_label": self.t.ndim == 1}
        if isinstance(record, losses.KLDivergence):
            return "kl_loss", {}
        if isinstance(record, losses.Focal):
            (alpha,) = fixed
            return "focal_loss", {"gamma": record.gamma, "alpha": alpha}
        c = constants(record)
        c = (*c, *[0.0] * (CONSTANTS - len(c)))
        formula, share = to.formula(record), record.share(k)
        return "column_loss", {"formula": formula, "constants": c, "share": share, "fixed": fixed}


def constants(record: Any) -> tuple[float, ...]:
    """The constants of a loss's formula."""
    if isinstance(record, losses.BinaryFocal):
        return (record.gamma, *record.weights)
    given = (value for key, value in record.config().items() if key not in ("kind", "name"))
    return tuple(value for value in given if isinstance(value, float))[:CONSTANTS]


@translates((losses.Loss, "gradient"))
def _loss(to: Translator, call: Call) -> None:
    out, pending = call.keywords["out"], Pending(to, call)
    if lies_by_column(out):
        to.stands_for[address(out)] = pending
    else:
        pending.emit(to, out)
