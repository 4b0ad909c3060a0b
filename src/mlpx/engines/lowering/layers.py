"""The translations of layers beside the affine ones, and of activations that learn or mix."""

from __future__ import annotations

import numpy as np

from mlpx.engines.lowering.operations import Access, access, address
from mlpx.engines.lowering.translator import Translator, translates
from mlpx.kernels import dropout, normalization, philox, skip
from mlpx.kernels.activations import PReLU, Softmax
from mlpx.plan.plan import Call, random_words
from mlpx.types import Array


class Bits:
    """Random bits that an operation draws for itself."""

    def __init__(self, call: Call) -> None:
        seed, purpose, item = (call.keywords[key] for key in ("seed", "purpose", "item"))
        self.n = (int(np.uint64(seed).view(np.int64)), purpose, item)
        """As the sizes of an operation, which have a sign."""


@translates(random_words, philox.fill)
def _bits(to: Translator, call: Call) -> None:
    """No operation: whoever takes the bits draws them."""
    to.by_row[address(call.keywords["out"])] = Bits(call)


@translates(dropout.mask)
def _mask(to: Translator, call: Call) -> None:
    (bits,), out = call.arguments, call.keywords["out"]
    drawn: Bits = to.by_row[address(bits)]
    n = (*out.shape, *drawn.n, dropout.threshold(call.keywords["rate"]))
    touches = to.by_rows(out, writes=True)
    to.emit("mask", n=n, c=(call.keywords["scale"],), p=(out,), touches=touches)


@translates(dropout.normals)
def _normals(to: Translator, call: Call) -> None:
    """No operation yet: `add_noise` has the shape of it."""
    (bits,), out = call.arguments, call.keywords["out"]
    to.by_row[address(out)] = (to.by_row[address(bits)], call.keywords["std"])


@translates(dropout.add_noise)
def _add_noise(to: Translator, call: Call) -> None:
    x, noise = call.arguments
    drawn, std = to.by_row[address(noise)]
    touches = to.by_rows(noise, writes=True)
    to.emit("normals", n=(*noise.shape, *drawn.n), c=(std,), p=(noise,), touches=touches)
    by_rows(to, "sum", x, noise, out=call.keywords["out"])


def by_rows(
    to: Translator, name: str, *given: Array | None, out: Array, c: tuple[float, ...] = ()
) -> None:
    """Append the operation `name` of arrays (n, d), and perhaps (d,), which writes `out` (n, d)."""
    full = [a for a in given if a is not None and a.shape[:1] == out.shape[:1] and a.ndim == 2]
    rest = [a for a in given if not any(a is other for other in full)]
    touches = (*to.by_rows(*full), *to.whole(*rest), *to.by_rows(out, writes=True))
    to.emit(name, n=out.shape, c=c, p=(*given, out), touches=touches)


@translates(dropout.forward, dropout.backward)
def _masked(to: Translator, call: Call) -> None:
    by_rows(to, "product", *call.arguments, out=call.keywords["out"])


@translates(dropout.forward_alpha)
def _alpha_dropout(to: Translator, call: Call) -> None:
    c = (dropout.FLOOR, call.keywords["offset"])
    by_rows(to, "alpha_dropout", *call.arguments, out=call.keywords["out"], c=c)


@translates(skip.forward)
def _skip(to: Translator, call: Call) -> None:
    by_rows(to, "sum", *call.arguments, out=call.keywords["out"])


@translates(skip.backward)
def _skip_backward(to: Translator, call: Call) -> None:
    out = call.keywords["out"]
    by_rows(to, "sum", out, *call.arguments, out=out)


def by_columns(a: Array, *, writes: bool = False) -> Access:
    """Access to (d,), (1, d) or (n, d), whose d columns are divided among the threads."""
    return access(a, writes=writes, division=("columns", a.size // a.shape[-1], a.shape[-1]))


@translates(normalization.standardise)
def _standardise(to: Translator, call: Call) -> None:
    (x,), given = call.arguments, call.keywords
    xhat, scale, c = given["out"], given["scale"], (given["epsilon"],)
    if given["axis"] == 1:
        touches = (*to.by_rows(x), *to.by_rows(xhat, scale, writes=True))
        to.emit("standardise_rows", n=x.shape, c=c, p=(x, xhat, scale), touches=touches)
        return
    moments = (given["mu"], given["variance"], scale)
    touches = (by_columns(x), *(by_columns(a, writes=True) for a in (xhat, *moments)))
    to.emit("standardise_columns", n=x.shape, c=c, p=(x, xhat, *moments), touches=touches)


@translates(normalization.scale_to_unit)
def _scale_to_unit(to: Translator, call: Call) -> None:
    (x,), given = call.arguments, call.keywords
    touches = (*to.by_rows(x), *to.by_rows(given["out"], given["scale"], writes=True))
    p = (x, given["out"], given["scale"])
    to.emit("unit_rows", n=x.shape, c=(given["epsilon"],), p=p, touches=touches)


@translates(normalization.affine)
def _scale_shift(to: Translator, call: Call) -> None:
    by_rows(to, "scale_shift", *call.arguments, out=call.keywords["out"])


@translates(normalization.affine_backward)
def _scale_shift_backward(to: Translator, call: Call) -> None:
    (dy, xhat, gamma), given = call.arguments, call.keywords
    dgamma, dbeta = given["dgamma"], given["dbeta"]
    sums = [by_columns(a, writes=True) for a in (dgamma, dbeta) if a is not None]
    touches = (by_columns(dy), by_columns(xhat), *sums)
    to.emit("scale_shift_sums", n=dy.shape, p=(dy, xhat, dgamma, dbeta), touches=touches)
    by_rows(to, "scale_shift", dy, gamma, None, out=given["out"])


@translates(normalization.backward)
def _standardise_backward(to: Translator, call: Call) -> None:
    (dxhat, xhat, scale), given = call.arguments, call.keywords
    out, n = given["out"], (*dxhat.shape, given["centred"])
    p = (dxhat, xhat, scale, out)
    if given["axis"] == 1:
        touches = (*to.by_rows(dxhat, xhat, scale), *to.by_rows(out, writes=True))
        to.emit("standardise_rows_back", n=n, p=p, touches=touches)
        return
    touches = (*(by_columns(a) for a in (dxhat, xhat, scale)), by_columns(out, writes=True))
    to.emit("standardise_columns_back", n=n, p=p, touches=touches)


@translates(normalization.track)
def _track(to: Translator, call: Call) -> None:
    (value,), given = call.arguments, call.keywords
    running, c = given["running"], (given["momentum"], given["factor"])
    touches = (by_columns(value), by_columns(running, writes=True))
    to.emit("track", n=(running.size,), c=c, p=(value, running), touches=touches)


@translates(normalization.apply_running)
def _apply_running(to: Translator, call: Call) -> None:
    c = (call.keywords["epsilon"],)
    by_rows(to, "apply_running", *call.arguments, out=call.keywords["out"], c=c)


@translates((PReLU, "forward"))
def _prelu(to: Translator, call: Call) -> None:
    by_rows(to, "prelu", *call.arguments, call.keywords["slope"], out=call.keywords["out"])


@translates((PReLU, "backward"))
def _prelu_backward(to: Translator, call: Call) -> None:
    (dy, z), given = call.arguments, call.keywords
    touches = (by_columns(dy), by_columns(z), by_columns(given["dslope"], writes=True))
    to.emit("prelu_slope", n=dy.shape, p=(dy, z, given["dslope"]), touches=touches)
    by_rows(to, "prelu_back", dy, z, given["slope"], out=given["out"])


@translates((Softmax, "forward"))
def _softmax(to: Translator, call: Call) -> None:
    by_rows(to, "softmax", *call.arguments, out=call.keywords["out"])


@translates((Softmax, "backward"))
def _softmax_backward(to: Translator, call: Call) -> None:
    by_rows(to, "softmax_back", *call.arguments, out=call.keywords["out"])
