"""The translations of batches, affine maps and activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.engines.lowering.losses import Pending, by_column
from mlpx.engines.lowering.operations import access, address
from mlpx.engines.lowering.translator import (
    DTYPES,
    LABELS,
    Translator,
    UntranslatableError,
    translates,
)
from mlpx.kernels import affine, batches, scaling
from mlpx.kernels.activations import Activation, Identity
from mlpx.plan.plan import Call
from mlpx.types import Array


@translates(batches.select_row)
def _select_row(to: Translator, call: Call) -> None:
    """No operation: whoever reads the row finds it in the table."""
    _, table, _ = call.arguments
    to.rows_of[address(call.keywords["out"])] = table


@translates(batches.gather)
def _gather(to: Translator, call: Call) -> None:
    _, x, rows = call.arguments
    out = call.keywords["out"]
    found = to.row_source(rows)
    start, table, stride = (rows, rows, 0) if found is None else (*found, found[1].shape[1])
    columns = 1 if x.ndim == 1 else x.shape[1]
    if x.ndim == 2 and not x.flags.c_contiguous:
        raise UntranslatableError("x is not C-contiguous")
    code = LABELS if out.dtype == np.int64 else DTYPES.get(x.dtype.name)
    if code is None or (code == LABELS and x.dtype != np.int64):
        raise UntranslatableError(f"x of {x.dtype}")
    if out.dtype not in (np.int64, to.dtype):
        raise UntranslatableError(f"a batch of {out.dtype}")
    touches = (*to.whole(x, table), *to.by_rows(out, writes=True))
    n = (len(rows), columns, code, stride, not x.dtype.isnative)
    to.emit("gather", n=n, p=(x, start, out), touches=touches)


@translates(batches.copy)
def _copy(to: Translator, call: Call) -> None:
    """Appends a copy, but none from rows to columns or back: the operations take arrays by row."""
    (x,), out = call.arguments, call.keywords["out"]
    source = to.by_row.get(address(x))
    if isinstance(source, Pending):
        source.emit(to, out)
    elif by_column(out):
        to.by_row[address(out)] = x
    elif out.ndim == 2:
        touches = (*to.by_rows(x), *to.by_rows(out, writes=True))
        to.emit("copy", n=out.shape, p=(x, out), touches=touches)
    else:
        to.emit("add", n=(x.size, 1), p=(x, out), touches=(*to.flat(x), *to.flat(out, writes=True)))


@translates(batches.normalise_weights)
def _normalise_weights(to: Translator, call: Call) -> None:
    (w,), total, out = call.arguments, call.keywords["total"], call.keywords["out"]
    touches = (*to.whole(w), *to.whole(total, out, writes=True))
    to.emit("weigh", n=(len(w),), p=(w, total, out), touches=touches, alone=True)


@translates(batches.weighted_mean)
def _weighted_mean(to: Translator, call: Call) -> None:
    (r, rows), out = call.arguments, call.keywords["out"]
    touches = (*to.whole(r, rows), *to.whole(out, writes=True))
    to.emit(
        "weighted_mean", n=(len(rows),), p=(r, rows, out), touches=touches, alone=True, late=True
    )


@translates(batches.likeliest)
def _likeliest(to: Translator, call: Call) -> None:
    (t,), out = call.arguments, call.keywords["out"]
    touches = (*to.by_rows(t), *to.by_rows(out, writes=True))
    to.emit("likeliest", n=t.shape, p=(t, out), touches=touches)


@translates(batches.correct)
def _correct(to: Translator, call: Call) -> None:
    (z, labels), out = call.arguments, call.keywords["out"]
    touches = (*to.by_rows(z, labels), *to.by_rows(out, writes=True))
    to.emit("correct", n=z.shape, p=(z, labels, out), touches=touches)


@translates(batches.all_correct)
def _all_correct(to: Translator, call: Call) -> None:
    (z, t), out = call.arguments, call.keywords["out"]
    touches = (*to.by_rows(z, t), *to.by_rows(out, writes=True))
    to.emit("all_correct", n=z.shape, p=(z, t, out), touches=touches)


@translates(batches.sum_rows)
def _sum_rows(to: Translator, call: Call) -> None:
    (lines,), out = call.arguments, call.keywords["out"]
    n = (*lines.shape, lines.strides[0] // lines.itemsize)
    touches = (*to.whole(lines), *to.whole(out, writes=True))
    to.emit("sum_lines", n=n, p=(lines, out), touches=touches, alone=True, late=True)


@translates(batches.norms)
def _norms(to: Translator, call: Call) -> None:
    (arrays,), out = call.arguments, call.keywords["out"]
    for j, a in enumerate(arrays):
        norm = out[:, j : j + 1]
        touches = (*to.whole(a), *to.whole(norm, writes=True))
        to.emit("norm", n=(a.size,), p=(a, norm), touches=touches, alone=True)


@translates(batches.record)
def _record(to: Translator, call: Call) -> None:
    log, _, values = call.arguments
    touches = (*to.whole(values), *to.whole(log, writes=True))
    to.emit("record", n=(log.shape[1],), p=(log, values), touches=touches, alone=True)


@translates(batches.advance)
def _advance(to: Translator, call: Call) -> None:
    """No operation where the target's own loop counts."""
    (state,) = call.arguments
    if not to.target.counts:
        to.emit("advance", p=(state,), touches=to.whole(state, writes=True), alone=True)


@translates(scaling.forward)
def _rescale(to: Translator, call: Call) -> None:
    (x,), keywords = call.arguments, call.keywords
    out = keywords["out"]
    touches = (*to.by_rows(x), *to.by_rows(out, writes=True))
    to.emit(
        "scale", n=x.shape, c=(keywords["scale"], keywords["offset"]), p=(x, out), touches=touches
    )


@translates(scaling.backward)
def _rescale_backward(to: Translator, call: Call) -> None:
    (dy,), out = call.arguments, call.keywords["out"]
    touches = (*to.by_rows(dy), *to.by_rows(out, writes=True))
    to.emit("scale", n=dy.shape, c=(call.keywords["scale"], 0.0), p=(dy, out), touches=touches)


@translates(affine.forward)
def _affine_forward(to: Translator, call: Call) -> None:
    (x, W, b), out = call.arguments, call.keywords["out"]
    touches = (*to.by_rows(x), *to.whole(W), *to.by_rows(out, writes=True))
    to.emit("affine", n=(len(x), *W.shape), p=(x, W, out), touches=touches)
    if b is not None:
        activate(to, Identity(), out, out, b)


def activate(to: Translator, f: Activation, z: Array, y: Array, b: Array | None) -> None:
    """Append y = f(z + b); z keeps the sum where y is another array."""
    touches = (*to.by_rows(z, y, writes=True), *to.whole(b))
    n = (*z.shape, to.formula(f), b is not None)
    to.emit("activation", n=n, c=constants(f), p=(z, y, b), touches=touches)


def constants(f: Any) -> tuple[float, ...]:
    """The fields of an activation, in their order."""
    return tuple(value for key, value in f.config().items() if key not in ("kind", "name"))


@translates((Activation, "forward"))
def _activation_forward(to: Translator, call: Call) -> None:
    """Joins the operation before it, if that added the bias to the same array."""
    (z,), out = call.arguments, call.keywords["out"]
    f = call.kernel.__self__  # type: ignore[attr-defined]
    before, bias = to.operations[-1] if to.operations else None, None
    if (
        before is not None
        and before.name == "activation"
        and address(before.p[1]) == address(z)
        and before.n[2:] == (to.formula(Identity()), True)
    ):
        bias = to.operations.pop().p[2]
    activate(to, f, z, out, bias)


@translates((Activation, "backward"))
def _activation_backward(to: Translator, call: Call) -> None:
    (dy, kept), out = call.arguments, call.keywords["out"]
    f = call.kernel.__self__  # type: ignore[attr-defined]
    touches = (*to.by_rows(dy, kept), *to.by_rows(out, writes=True))
    to.emit(
        "activation_back",
        n=(*dy.shape, to.formula(f)),
        c=constants(f),
        p=(dy, kept, out),
        touches=touches,
    )


@translates(affine.backward)
def _affine_backward(to: Translator, call: Call) -> None:
    dz, x, W = call.arguments
    dW, db, dx = (call.keywords[name] for name in ("dW", "db", "dx"))
    n = (len(x), *W.shape)
    if dx is not None:
        touches = (*to.by_rows(dz), *to.whole(W), *to.by_rows(dx, writes=True))
        to.emit("affine_dx", n=n, p=(dz, W, dx), touches=touches)
    touches = (*to.whole(x, dz), access(dW, writes=True, division=("d", dW.shape)))
    to.emit("affine_dW", n=n, p=(x, dz, dW), touches=touches, late=True)
    if db is not None:
        touches = (*to.whole(dz), access(db, writes=True, division=("k", db.shape)))
        to.emit("column_sum", n=dz.shape, p=(dz, db), touches=touches, late=True)
