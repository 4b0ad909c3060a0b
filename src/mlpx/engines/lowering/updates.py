"""The translations of optimizer rules and what surrounds them."""

from __future__ import annotations

from typing import Any

from mlpx.engines.lowering.operations import access, address
from mlpx.engines.lowering.translator import Translator, UntranslatableError, translates
from mlpx.kernels import updates
from mlpx.optimizers import LAMB, SGD, Muon, Optimizer, RMSProp
from mlpx.optimizers.muon import COEFFICIENTS
from mlpx.plan.plan import Call
from mlpx.types import Array

RULES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "adagrad": ("adagrad", ("G",), ("epsilon",)),
    "adadelta": ("adadelta", ("v", "D"), ("rho", "epsilon")),
    "adam": ("adam", ("m", "v"), ("beta1", "beta2")),
    "adamw": ("adam", ("m", "v"), ("beta1", "beta2")),
    "adam_hat": ("adam", ("m", "v"), ("beta1", "beta2")),
    "amsgrad": ("amsgrad", ("m", "v", "h"), ("beta1", "beta2")),
    "nadam": ("nadam", ("m", "v"), ("beta1", "beta2")),
    "radam": ("radam", ("m", "v"), ("beta1", "beta2", "epsilon")),
    "adamax": ("adamax", ("m", "u"), ("beta1", "beta2", "epsilon")),
    "lion": ("lion", ("m",), ("beta1", "beta2")),
}
"""For each optimizer the rule in formulas.h, the moments that are m0, m1, m2 there, and the fields
that are c[0], c[1], ...
"""


def formula(to: Translator, rule: Any) -> tuple[str, tuple[str, ...], tuple[float, ...]]:
    """The name of the rule in formulas.h, its moments and its constants.

    Raises UntranslatableError.
    """
    if isinstance(rule, SGD):
        name = "sgd" if not rule.momentum else "nesterov" if rule.nesterov else "momentum"
        return name, ("v",), (rule.momentum, rule.dampening)
    if isinstance(rule, RMSProp):
        name = "rmsprop" + "_centered" * rule.centered + "_momentum" * (rule.momentum > 0)
        return name, ("v", "a", "u"), (rule.rho, rule.epsilon, rule.momentum)
    if rule.name not in RULES:
        raise to.formless(f"optimizer {rule.name!r}")
    name, moments, fields = RULES[rule.name]
    return name, moments, tuple(getattr(rule, field) for field in fields)


def scalar_source(to: Translator, scalar: Array) -> tuple[int, Array]:
    """Where a per-step number is in its table: the address in the first row, and the table.

    Raises UntranslatableError for a number that is in no table.
    """
    source = to.row_source(scalar)
    if source is None or source[1].dtype != to.dtype:
        raise UntranslatableError("a per-step number in no table")
    return source


@translates((Optimizer, "update"))
def _update(to: Translator, call: Call) -> None:
    p, g = call.arguments
    rule: Any = call.kernel.__self__  # type: ignore[attr-defined]
    name, slots, constants = formula(to, rule)
    given = dict(zip(rule.moments, call.keywords["moments"], strict=True))
    scalars, table = scalar_source(to, call.keywords["scalars"][0])
    to.emit(
        f"rule_{name}",
        elements=p.size,
        table_columns=table.shape[1],
        constants=constants,
        parameters=p,
        gradient=g,
        moments=[given.get(slot) for slot in slots] + [None] * (4 - len(slots)),
        scalars=scalars,
        touches=(
            *to.elements_divided(p, *given.values(), writes=True),
            *to.elements_divided(g),
        ),
    )


@translates(updates.clip_values)
def _clip_values(to: Translator, call: Call) -> None:
    (g,), limit = call.arguments, call.keywords["limit"]
    touches = to.elements_divided(g, writes=True)
    to.emit("clip_values", elements=g.size, limit=limit, gradient=g, touches=touches)


@translates(updates.sum_squares)
def _sum_squares(to: Translator, call: Call) -> None:
    (g,), out = call.arguments, call.keywords["out"]
    touches = (*to.undivided(g), *to.undivided(out, writes=True))
    to.emit("sum_squares", elements=g.size, gradient=g, out=out, touches=touches, alone=True)


@translates(updates.norm_factor)
def _norm_factor(to: Translator, call: Call) -> None:
    (squares,), out = call.arguments, call.keywords["out"]
    to.emit(
        "norm_factor",
        count=len(squares),
        limit=call.keywords["limit"],
        squares=squares,
        out=out,
        touches=(*to.undivided(squares), *to.undivided(out, writes=True)),
        alone=True,
    )


@translates(updates.scale)
def _scale(to: Translator, call: Call) -> None:
    a, factor = call.arguments
    touches = to.elements_divided(a, writes=True)
    try:
        start, table = scalar_source(to, factor)
        stride = table.shape[1]
    except UntranslatableError:
        start, stride = address(factor), 0
        touches = (*touches, *to.undivided(factor))
    to.emit("scale_by", elements=a.size, table_columns=stride, a=a, factor=start, touches=touches)


@translates(updates.add_decay)
def _add_decay(to: Translator, call: Call) -> None:
    (p, g), decay = call.arguments, call.keywords["weight_decay"]
    touches = (*to.elements_divided(p), *to.elements_divided(g, writes=True))
    to.emit("add_decay", elements=p.size, decay=decay, parameters=p, gradient=g, touches=touches)


@translates(updates.add)
def _add(to: Translator, call: Call) -> None:
    (a,), out = call.arguments, call.keywords["out"]
    touches = (*to.elements_divided(a), *to.elements_divided(out, writes=True))
    to.emit("add", elements=a.size, overwrites=False, a=a, out=out, touches=touches)


@translates(updates.blend)
def _blend(to: Translator, call: Call) -> None:
    (p,), out = call.arguments, call.keywords["out"]
    keep, table = scalar_source(to, call.keywords["keep"])
    weight, _ = scalar_source(to, call.keywords["weight"])
    to.emit(
        "blend",
        elements=p.size,
        table_columns=table.shape[1],
        parameters=p,
        keep=keep,
        weight=weight,
        out=out,
        touches=(*to.elements_divided(p), *to.elements_divided(out, writes=True)),
    )


@translates((LAMB, "update"))
def _lamb(to: Translator, call: Call) -> None:
    (p, g), given = call.arguments, call.keywords
    rule: Any = call.kernel.__self__  # type: ignore[attr-defined]
    (m, v), (u, ratio, *_) = given["moments"], given["work"]
    scalars, table = scalar_source(to, given["scalars"][0])
    to.emit(
        "lamb_direction",
        elements=p.size,
        table_columns=table.shape[1],
        beta1=rule.beta1,
        beta2=rule.beta2,
        decay=rule.constant_decay,
        parameters=p,
        gradient=g,
        m=m,
        v=v,
        u=u,
        scalars=scalars,
        touches=(*to.elements_divided(p, g), *to.elements_divided(m, v, u, writes=True)),
    )
    if rule.adapt:
        touches = (*to.undivided(p, u), *to.undivided(ratio, writes=True))
        arrays = {"parameters": p, "u": u, "out": ratio}
        to.emit("trust_ratio", elements=p.size, **arrays, touches=touches, alone=True)
    descend(to, p, u, given["scalars"][0], ratio=ratio if rule.adapt else None)


def descend(
    to: Translator, p: Array, u: Array, rate: Array, *, ratio: Array | None = None, by: float = 1.0
) -> None:
    """Append p -= rate by ratio u."""
    scalars, table = scalar_source(to, rate)
    to.emit(
        "descend",
        elements=p.size,
        table_columns=table.shape[1],
        factor=by,
        parameters=p,
        u=u,
        ratio=ratio,
        scalars=scalars,
        touches=(
            *to.elements_divided(u),
            *to.undivided(ratio),
            *to.elements_divided(p, writes=True),
        ),
    )


@translates((Muon, "update"))
def _muon(to: Translator, call: Call) -> None:
    (W, g), given = call.arguments, call.keywords
    rule: Any = call.kernel.__self__  # type: ignore[attr-defined]
    m, (X, Y, *squares) = given["moments"][0], given["work"]
    to.emit(
        "muon_direction",
        elements=W.size,
        nesterov=rule.nesterov,
        momentum=rule.momentum,
        gradient=g,
        m=m,
        X=X,
        touches=(*to.elements_divided(g), *to.elements_divided(m, X, writes=True)),
    )
    X = orthogonalise(to, X, Y, squares, iterations=rule.iterations)
    d_in, d_out = W.shape
    descend(to, W, X, given["scalars"][0], by=max(1.0, d_out / d_in) ** 0.5)


def orthogonalise(
    to: Translator, X: Array, Y: Array, squares: list[Array], *, iterations: int
) -> Array:
    """Append X = nearly U V^T, as `optimizers.muon.orthogonalise` does; returns X or Y, whichever
    holds the result.
    """
    a, b, c = COEFFICIENTS
    wide, r = X.shape[0] <= X.shape[1], min(X.shape)
    A, B = (square.reshape(-1)[: r * r].reshape(r, r) for square in squares[:2])
    norm = A[:1, :1]
    touches = (*to.undivided(X), *to.undivided(norm, writes=True))
    to.emit("norm", elements=X.size, a=X, out=norm, touches=touches, alone=True)
    touches = (*to.undivided(norm), *to.elements_divided(X, writes=True))
    to.emit("shrink", elements=X.size, epsilon=1e-7, X=X, norm=norm, touches=touches)
    for _ in range(iterations):
        multiply(to, X, X, A, turned=(not wide, wide))
        duplicate(to, A, B)
        multiply(to, A, A, B, alpha=c, beta=b)
        duplicate(to, X, Y)
        multiply(to, *((B, X) if wide else (X, B)), Y, beta=a)
        X, Y = Y, X
    return X


def duplicate(to: Translator, source: Array, out: Array) -> None:
    """Append out = source."""
    touches = (*to.elements_divided(source), *to.elements_divided(out, writes=True))
    to.emit("add", elements=source.size, overwrites=True, a=source, out=out, touches=touches)


def multiply(
    to: Translator,
    A: Array,
    B: Array,
    out: Array,
    *,
    turned: tuple[bool, bool] = (False, False),
    alpha: float = 1.0,
    beta: float = 0.0,
) -> None:
    """Append out = alpha A B + beta out; A, or B, is transposed if `turned`."""
    rows, columns = out.shape
    written = access(out, writes=True, division=("rows of a product", *out.shape))
    to.emit(
        "matrix_product",
        rows=rows,
        columns=columns,
        inner=A.shape[0] if turned[0] else A.shape[1],
        turned_A=turned[0],
        turned_B=turned[1],
        alpha=alpha,
        beta=beta,
        A=A,
        B=B,
        out=out,
        touches=(*to.undivided(A, B), written),
    )
