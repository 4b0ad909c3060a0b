"""The translations of batches, affine maps and activations."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.engines.lowering.losses import Pending, lies_by_column
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
    """No operation: operations that use the row read it from the table."""
    _, table, _ = call.arguments
    to.rows_of[address(call.keywords["out"])] = table


@translates(batches.select_row_in_turn)
def _select_row_in_turn(to: Translator, call: Call) -> None:
    _, table, _ = call.arguments
    to.rows_of[address(call.keywords["out"])] = table
    to.in_turn.add(address(table))


@translates(batches.gather)
def _gather(to: Translator, call: Call) -> None:
    _, x, rows = call.arguments
    out = call.keywords["out"]
    in_table = to.row_source(rows)
    indices, table, stride = (
        (rows, rows, 0) if in_table is None else (*in_table, in_table[1].shape[1])
    )
    if x.ndim == 2 and not x.flags.c_contiguous:
        raise UntranslatableError("x is not C-contiguous")
    code = LABELS if out.dtype == np.int64 else DTYPES.get(x.dtype.name)
    if code is None or (code == LABELS and x.dtype != np.int64):
        raise UntranslatableError(f"x of {x.dtype}")
    if out.dtype not in (np.int64, to.dtype):
        raise UntranslatableError(f"a batch of {out.dtype}")
    to.emit(
        "gather",
        rows=len(rows),
        columns=1 if x.ndim == 1 else x.shape[1],
        dtype=code,
        stride=stride,
        swapped=not x.dtype.isnative,
        positions=len(table) if address(table) in to.in_turn else 0,
        x=x,
        indices=indices,
        out=out,
        touches=(*to.undivided(x, table), *to.rows_divided(out, writes=True)),
    )


@translates(batches.copy)
def _copy(to: Translator, call: Call) -> None:
    """Append a copy, except from rows to columns or back, since operations take arrays by row."""
    (x,), out = call.arguments, call.keywords["out"]
    source = to.stands_for.get(address(x))
    if isinstance(source, Pending):
        source.emit(to, out)
    elif lies_by_column(out):
        to.stands_for[address(out)] = x
    elif out.ndim == 2:
        rows, columns = out.shape
        touches = (*to.rows_divided(x), *to.rows_divided(out, writes=True))
        to.emit("copy", rows=rows, columns=columns, x=x, out=out, touches=touches)
    else:
        touches = (*to.elements_divided(x), *to.elements_divided(out, writes=True))
        to.emit("add", elements=x.size, overwrites=True, a=x, out=out, touches=touches)


@translates(batches.normalise_weights)
def _normalise_weights(to: Translator, call: Call) -> None:
    (w,), total, out = call.arguments, call.keywords["total"], call.keywords["out"]
    touches = (*to.undivided(w), *to.undivided(total, out, writes=True))
    to.emit("weigh", rows=len(w), w=w, total=total, out=out, touches=touches, alone=True)


@translates(batches.weighted_mean)
def _weighted_mean(to: Translator, call: Call) -> None:
    (r, values), out = call.arguments, call.keywords["out"]
    to.emit(
        "weighted_mean",
        rows=len(values),
        r=r,
        values=values,
        out=out,
        touches=(*to.undivided(r, values), *to.undivided(out, writes=True)),
        alone=True,
        late=True,
    )


@translates(batches.likeliest)
def _likeliest(to: Translator, call: Call) -> None:
    (t,), out = call.arguments, call.keywords["out"]
    rows, outputs = t.shape
    touches = (*to.rows_divided(t), *to.rows_divided(out, writes=True))
    to.emit("likeliest", rows=rows, outputs=outputs, t=t, out=out, touches=touches)


@translates(batches.correct)
def _correct(to: Translator, call: Call) -> None:
    (z, labels), out = call.arguments, call.keywords["out"]
    rows, outputs = z.shape
    touches = (*to.rows_divided(z, labels), *to.rows_divided(out, writes=True))
    to.emit("correct", rows=rows, outputs=outputs, z=z, labels=labels, out=out, touches=touches)


@translates(batches.all_correct)
def _all_correct(to: Translator, call: Call) -> None:
    (z, t), out = call.arguments, call.keywords["out"]
    rows, outputs = z.shape
    touches = (*to.rows_divided(z, t), *to.rows_divided(out, writes=True))
    to.emit("all_correct", rows=rows, outputs=outputs, z=z, t=t, out=out, touches=touches)


@translates(batches.sum_rows)
def _sum_rows(to: Translator, call: Call) -> None:
    (lines,), out = call.arguments, call.keywords["out"]
    rows, columns = lines.shape
    to.emit(
        "sum_lines",
        rows=rows,
        columns=columns,
        stride=lines.strides[0] // lines.itemsize,
        lines=lines,
        out=out,
        touches=(*to.undivided(lines), *to.undivided(out, writes=True)),
        alone=True,
        late=True,
    )


@translates(batches.norms)
def _norms(to: Translator, call: Call) -> None:
    (arrays,), out = call.arguments, call.keywords["out"]
    for j, a in enumerate(arrays):
        norm = out[:, j : j + 1]
        touches = (*to.undivided(a), *to.undivided(norm, writes=True))
        to.emit("norm", elements=a.size, a=a, out=norm, touches=touches, alone=True)


@translates(batches.record)
def _record(to: Translator, call: Call) -> None:
    log, _, values = call.arguments
    touches = (*to.undivided(values), *to.undivided(log, writes=True))
    to.emit("record", columns=log.shape[1], log=log, values=values, touches=touches, alone=True)


@translates(batches.advance)
def _advance(to: Translator, call: Call) -> None:
    """No operation where the target's own loop counts."""
    (state,) = call.arguments
    if not to.target.counts:
        to.emit("advance", state=state, touches=to.undivided(state, writes=True), alone=True)


@translates(scaling.forward)
def _rescale(to: Translator, call: Call) -> None:
    (x,), given = call.arguments, call.keywords
    scale(to, x, given["out"], by=given["scale"], offset=given["offset"])


@translates(scaling.backward)
def _rescale_backward(to: Translator, call: Call) -> None:
    (dy,), given = call.arguments, call.keywords
    scale(to, dy, given["out"], by=given["scale"], offset=0.0)


def scale(to: Translator, x: Array, out: Array, *, by: float, offset: float) -> None:
    """Append out = x by + offset."""
    rows, columns = x.shape
    touches = (*to.rows_divided(x), *to.rows_divided(out, writes=True))
    numbers: dict[str, Any] = {"scale": by, "offset": offset}
    to.emit("scale", rows=rows, columns=columns, **numbers, x=x, out=out, touches=touches)


@translates(affine.forward)
def _affine_forward(to: Translator, call: Call) -> None:
    (x, W, b), out = call.arguments, call.keywords["out"]
    inputs, outputs = W.shape
    touches = (*to.rows_divided(x), *to.undivided(W), *to.rows_divided(out, writes=True))
    to.emit(
        "affine", rows=len(x), inputs=inputs, outputs=outputs, x=x, W=W, out=out, touches=touches
    )
    if b is not None:
        activate(to, Identity(), out, out, b)


def activate(to: Translator, f: Activation, z: Array, y: Array, b: Array | None) -> None:
    """Append y = f(z + b); z keeps the sum where y is another array."""
    rows, columns = z.shape
    to.emit(
        "activation",
        rows=rows,
        columns=columns,
        formula=to.formula(f),
        biased=b is not None,
        constants=constants(f),
        z=z,
        y=y,
        bias=b,
        touches=(*to.rows_divided(z, y, writes=True), *to.undivided(b)),
    )


def constants(f: Any) -> tuple[float, ...]:
    """The fields of an activation, in their order."""
    return tuple(value for key, value in f.config().items() if key not in ("kind", "name"))


@translates((Activation, "forward"))
def _activation_forward(to: Translator, call: Call) -> None:
    """Append the activation, joined with the operation before it if that added the bias to the same
    array.
    """
    (z,), out = call.arguments, call.keywords["out"]
    f = call.kernel.__self__  # type: ignore[attr-defined]
    before, bias = to.operations[-1] if to.operations else None, None
    if (
        before is not None
        and before.name == "activation"
        and address(before["y"]) == address(z)
        and before["formula"] == to.formula(Identity())
        and before["biased"]
    ):
        bias = to.operations.pop()["bias"]
    activate(to, f, z, out, bias)


@translates((Activation, "backward"))
def _activation_backward(to: Translator, call: Call) -> None:
    (dy, kept), out = call.arguments, call.keywords["out"]
    f = call.kernel.__self__  # type: ignore[attr-defined]
    rows, columns = dy.shape
    to.emit(
        "activation_back",
        rows=rows,
        columns=columns,
        formula=to.formula(f),
        constants=constants(f),
        dy=dy,
        kept=kept,
        out=out,
        touches=(*to.rows_divided(dy, kept), *to.rows_divided(out, writes=True)),
    )


@translates(affine.backward)
def _affine_backward(to: Translator, call: Call) -> None:
    dz, x, W = call.arguments
    dW, db, dx = (call.keywords[name] for name in ("dW", "db", "dx"))
    inputs, outputs = W.shape
    sizes = {"rows": len(x), "inputs": inputs, "outputs": outputs}
    if dx is not None:
        touches = (*to.rows_divided(dz), *to.undivided(W), *to.rows_divided(dx, writes=True))
        to.emit("affine_dx", **sizes, dz=dz, W=W, dx=dx, touches=touches)
    touches = (*to.undivided(x, dz), access(dW, writes=True, division=("d", dW.shape)))
    to.emit("affine_dW", **sizes, x=x, dz=dz, dW=dW, touches=touches, late=True)
    if db is not None:
        touches = (*to.undivided(dz), access(db, writes=True, division=("k", db.shape)))
        rows, columns = dz.shape
        to.emit("column_sum", rows=rows, columns=columns, dz=dz, db=db, touches=touches, late=True)
