"""The translations of activations that are mixed with their input by a learnt share."""

from __future__ import annotations

from mlpx.engines.lowering.batches import constants
from mlpx.engines.lowering.layers import emit_by_rows
from mlpx.engines.lowering.translator import Translator, translates
from mlpx.kernels import parametric
from mlpx.plan.plan import Call


@translates(parametric.forward)
def _forward(to: Translator, call: Call) -> None:
    (x, a), given = call.arguments, call.keywords
    f = to.own(given["f"])
    numbers = {"formula": to.formula(f), "constants": constants(f)}
    emit_by_rows(to, "parametric", {"x": x, "a": a}, out=given["out"], **numbers)


@translates(parametric.backward)
def _backward(to: Translator, call: Call) -> None:
    (dy, x, a), given = call.arguments, call.keywords
    f, (rows, columns) = to.own(given["f"]), dy.shape
    da, out = given["da"], given["out"]
    to.emit(
        "parametric_back",
        rows=rows,
        columns=columns,
        formula=to.formula(f),
        by_output=f.keeps == "output",
        constants=constants(f),
        dy=dy,
        x=x,
        a=a,
        da=da,
        out=out,
        touches=(*to.columns_divided(dy, x, a), *to.columns_divided(da, out, writes=True)),
    )
