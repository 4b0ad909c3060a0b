"""The translations of layers beside the affine ones, and of activations that learn or mix."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.engines.lowering.operations import address
from mlpx.engines.lowering.translator import Translator, translates
from mlpx.engines.lowering.updates import scalar_source
from mlpx.kernels import dropout, normalization, philox, skip
from mlpx.kernels.activations import PReLU, Softmax
from mlpx.plan.plan import Call, random_words
from mlpx.types import Array


class Bits:
    """A stream of random bits, which an operation draws for itself."""

    def __init__(self, call: Call) -> None:
        seed, purpose, item = (call.keywords[key] for key in ("seed", "purpose", "item"))
        signed = int(np.uint64(seed).view(np.int64))  # as the sizes of an operation are
        self.stream = {"seed": signed, "purpose": purpose, "item": item}


@translates(random_words, philox.fill)
def _bits(to: Translator, call: Call) -> None:
    """No operation: the operation that uses the bits draws them."""
    to.stands_for[address(call.keywords["out"])] = Bits(call)


@translates(dropout.mask)
def _mask(to: Translator, call: Call) -> None:
    (bits,), out = call.arguments, call.keywords["out"]
    drawn: Bits = to.stands_for[address(bits)]
    rows, columns = out.shape
    to.emit(
        "mask",
        rows=rows,
        columns=columns,
        **drawn.stream,
        threshold=dropout.threshold(call.keywords["rate"]),
        scale=call.keywords["scale"],
        out=out,
        touches=to.rows_divided(out, writes=True),
    )


@translates(dropout.mask_by)
def _mask_by(to: Translator, call: Call) -> None:
    (bits, threshold, _), out = call.arguments, call.keywords["out"]
    drawn: Bits = to.stands_for[address(bits)]
    numbers, table = scalar_source(to, threshold)
    rows, columns = out.shape
    to.emit(
        "mask_by",
        rows=rows,
        columns=columns,
        **drawn.stream,
        table_columns=table.shape[1],
        numbers=numbers,
        out=out,
        touches=to.rows_divided(out, writes=True),
    )


@translates(dropout.normals)
def _normals(to: Translator, call: Call) -> None:
    """No operation yet: only `add_noise` knows the shape."""
    (bits,), out = call.arguments, call.keywords["out"]
    to.stands_for[address(out)] = (to.stands_for[address(bits)], call.keywords["std"])


@translates(dropout.add_noise)
def _add_noise(to: Translator, call: Call) -> None:
    x, noise = call.arguments
    drawn, std = to.stands_for[address(noise)]
    rows, columns = noise.shape
    touches = to.rows_divided(noise, writes=True)
    to.emit(
        "normals", rows=rows, columns=columns, **drawn.stream, std=std, out=noise, touches=touches
    )
    emit_by_rows(to, "sum", {"a": x, "b": noise}, out=call.keywords["out"])


def emit_by_rows(
    to: Translator, name: str, given: dict[str, Any], *, out: Array, **numbers: Any
) -> None:
    """Append the operation `name`, which makes `out` (n, d) of the arrays in `given`; threads
    divide the rows of `out` and of those of its shape.
    """
    arrays = [a for a in given.values() if a is not None]
    full = [a for a in arrays if a.shape[:1] == out.shape[:1] and a.ndim == 2]
    rest = [a for a in arrays if not any(a is other for other in full)]
    touches = (
        *to.rows_divided(*full),
        *to.undivided(*rest),
        *to.rows_divided(out, writes=True),
    )
    rows, columns = out.shape
    to.emit(name, rows=rows, columns=columns, **given, out=out, **numbers, touches=touches)


@translates(dropout.forward, dropout.backward)
def _masked(to: Translator, call: Call) -> None:
    a, mask = call.arguments
    emit_by_rows(to, "product", {"a": a, "b": mask}, out=call.keywords["out"])


@translates(dropout.forward_alpha)
def _alpha_dropout(to: Translator, call: Call) -> None:
    (x, mask), given = call.arguments, call.keywords
    numbers = {"floor": dropout.FLOOR, "offset": given["offset"]}
    emit_by_rows(to, "alpha_dropout", {"x": x, "mask": mask}, out=given["out"], **numbers)


@translates(skip.forward)
def _skip(to: Translator, call: Call) -> None:
    a, b = call.arguments
    emit_by_rows(to, "sum", {"a": a, "b": b}, out=call.keywords["out"])


@translates(skip.backward)
def _skip_backward(to: Translator, call: Call) -> None:
    (b,), out = call.arguments, call.keywords["out"]
    emit_by_rows(to, "sum", {"a": out, "b": b}, out=out)


@translates(normalization.standardise)
def _standardise(to: Translator, call: Call) -> None:
    (x,), given = call.arguments, call.keywords
    if given["axis"] == 1:
        _emit_row_scaling(to, "standardise_rows", x, given)
        return
    written = {"xhat": given["out"], **{key: given[key] for key in ("mu", "variance", "scale")}}
    touches = (*to.columns_divided(x), *to.columns_divided(*written.values(), writes=True))
    rows, columns = x.shape
    to.emit(
        "standardise_columns",
        rows=rows,
        columns=columns,
        epsilon=given["epsilon"],
        x=x,
        **written,
        touches=touches,
    )


@translates(normalization.scale_to_unit)
def _scale_to_unit(to: Translator, call: Call) -> None:
    (x,) = call.arguments
    _emit_row_scaling(to, "unit_rows", x, call.keywords)


def _emit_row_scaling(to: Translator, name: str, x: Array, given: dict[str, Any]) -> None:
    """Append xhat (n, d) = x scaled row by row, and the scales (n,)."""
    xhat, scale, (rows, columns) = given["out"], given["scale"], x.shape
    touches = (*to.rows_divided(x), *to.rows_divided(xhat, scale, writes=True))
    sizes = {"rows": rows, "columns": columns, "epsilon": given["epsilon"]}
    to.emit(name, **sizes, x=x, xhat=xhat, scale=scale, touches=touches)


@translates(normalization.affine)
def _scale_shift(to: Translator, call: Call) -> None:
    xhat, gamma, beta = call.arguments
    arrays = {"xhat": xhat, "gamma": gamma, "beta": beta}
    emit_by_rows(to, "scale_shift", arrays, out=call.keywords["out"])


@translates(normalization.affine_backward)
def _scale_shift_backward(to: Translator, call: Call) -> None:
    (dy, xhat, gamma), given = call.arguments, call.keywords
    sums = {"dgamma": given["dgamma"], "dbeta": given["dbeta"]}
    touches = (*to.columns_divided(dy, xhat), *to.columns_divided(*sums.values(), writes=True))
    rows, columns = dy.shape
    to.emit(
        "scale_shift_sums", rows=rows, columns=columns, dy=dy, xhat=xhat, **sums, touches=touches
    )
    emit_by_rows(to, "scale_shift", {"xhat": dy, "gamma": gamma, "beta": None}, out=given["out"])


@translates(normalization.backward)
def _standardise_backward(to: Translator, call: Call) -> None:
    (dxhat, xhat, scale), given = call.arguments, call.keywords
    by_row, out = given["axis"] == 1, given["out"]
    divided = to.rows_divided if by_row else to.columns_divided
    rows, columns = dxhat.shape
    to.emit(
        "standardise_rows_back" if by_row else "standardise_columns_back",
        rows=rows,
        columns=columns,
        centred=given["centred"],
        dxhat=dxhat,
        xhat=xhat,
        scale=scale,
        out=out,
        touches=(*divided(dxhat, xhat, scale), *divided(out, writes=True)),
    )


@translates(normalization.track)
def _track(to: Translator, call: Call) -> None:
    (value,), given = call.arguments, call.keywords
    running = given["running"]
    touches = (*to.columns_divided(value), *to.columns_divided(running, writes=True))
    numbers = {"momentum": given["momentum"], "factor": given["factor"]}
    to.emit(
        "track", elements=running.size, **numbers, value=value, running=running, touches=touches
    )


@translates(normalization.apply_running)
def _apply_running(to: Translator, call: Call) -> None:
    arrays = dict(zip(("x", "mu", "variance", "gamma", "beta"), call.arguments, strict=True))
    out, epsilon = call.keywords["out"], call.keywords["epsilon"]
    emit_by_rows(to, "apply_running", arrays, out=out, epsilon=epsilon)


@translates((PReLU, "forward"))
def _prelu(to: Translator, call: Call) -> None:
    (z,), given = call.arguments, call.keywords
    emit_by_rows(to, "prelu", {"z": z, "slope": given["slope"]}, out=given["out"])


@translates((PReLU, "backward"))
def _prelu_backward(to: Translator, call: Call) -> None:
    (dy, z), given = call.arguments, call.keywords
    dslope, (rows, columns) = given["dslope"], dy.shape
    touches = (*to.columns_divided(dy, z), *to.columns_divided(dslope, writes=True))
    to.emit("prelu_slope", rows=rows, columns=columns, dy=dy, z=z, dslope=dslope, touches=touches)
    arrays = {"dy": dy, "z": z, "slope": given["slope"]}
    emit_by_rows(to, "prelu_back", arrays, out=given["out"])


@translates((Softmax, "forward"))
def _softmax(to: Translator, call: Call) -> None:
    (z,) = call.arguments
    emit_by_rows(to, "softmax", {"z": z}, out=call.keywords["out"])


@translates((Softmax, "backward"))
def _softmax_backward(to: Translator, call: Call) -> None:
    dy, y = call.arguments
    emit_by_rows(to, "softmax_back", {"dy": dy, "y": y}, out=call.keywords["out"])
