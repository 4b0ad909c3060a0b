"""The translations of optimizer rules, penalties and what surrounds them."""

from __future__ import annotations

from typing import Any

from mlpx.engines.lowering.operations import access, address
from mlpx.engines.lowering.translator import Translator, UntranslatableError, translates
from mlpx.kernels import penalties, updates
from mlpx.kernels.penalties import L1, L2, ElasticNet
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
"""For each optimizer the rule in formulas.h, its moments m0, m1, m2, and its fields c[0], c[1], ...
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
    """Where a per-step number lies in the table: its address in the first row, and the table.

    Raises UntranslatableError for a number that is in no table.
    """
    found = to.row_source(scalar)
    if found is None or found[1].dtype != to.dtype:
        raise UntranslatableError("a per-step number in no table")
    return found


@translates((Optimizer, "update"))
def _update(to: Translator, call: Call) -> None:
    p, g = call.arguments
    rule: Any = call.kernel.__self__  # type: ignore[attr-defined]
    name, slots, c = formula(to, rule)
    given = dict(zip(rule.moments, call.keywords["moments"], strict=True))
    start, table = scalar_source(to, call.keywords["scalars"][0])
    touches = (
        *to.flat(p, *given.values(), writes=True),
        *to.flat(g),
    )
    moments = [given.get(slot) for slot in slots] + [None] * (4 - len(slots))
    n = (p.size, table.shape[1])
    to.emit(f"rule_{name}", n=n, c=c, p=(p, g, *moments, start), touches=touches)


@translates(updates.clip_values)
def _clip_values(to: Translator, call: Call) -> None:
    (g,) = call.arguments
    c = (call.keywords["limit"],)
    to.emit("clip_values", n=(g.size,), c=c, p=(g,), touches=to.flat(g, writes=True))


@translates(updates.sum_squares)
def _sum_squares(to: Translator, call: Call) -> None:
    (g,), out = call.arguments, call.keywords["out"]
    touches = (*to.whole(g), *to.whole(out, writes=True))
    to.emit("sum_squares", n=(g.size,), p=(g, out), touches=touches, alone=True)


@translates(updates.norm_factor)
def _norm_factor(to: Translator, call: Call) -> None:
    (squares,), out = call.arguments, call.keywords["out"]
    touches = (*to.whole(squares), *to.whole(out, writes=True))
    c = (call.keywords["limit"],)
    to.emit("norm_factor", n=(len(squares),), c=c, p=(squares, out), touches=touches, alone=True)


@translates(updates.scale)
def _scale(to: Translator, call: Call) -> None:
    a, factor = call.arguments
    try:
        start, table = scalar_source(to, factor)
        n, touches = (a.size, table.shape[1]), to.flat(a, writes=True)
    except UntranslatableError:
        start, n = address(factor), (a.size, 0)
        touches = (*to.flat(a, writes=True), *to.whole(factor))
    to.emit("scale_by", n=n, p=(a, start), touches=touches)


@translates(updates.add_decay)
def _add_decay(to: Translator, call: Call) -> None:
    p, g = call.arguments
    touches = (*to.flat(p), *to.flat(g, writes=True))
    to.emit("add_decay", n=(p.size,), c=(call.keywords["weight_decay"],), p=(p, g), touches=touches)


@translates(updates.add)
def _add(to: Translator, call: Call) -> None:
    (a,), out = call.arguments, call.keywords["out"]
    to.emit("add", n=(a.size, 0), p=(a, out), touches=(*to.flat(a), *to.flat(out, writes=True)))


@translates(updates.blend)
def _blend(to: Translator, call: Call) -> None:
    (p,), out = call.arguments, call.keywords["out"]
    keep, table = scalar_source(to, call.keywords["keep"])
    weight, _ = scalar_source(to, call.keywords["weight"])
    touches = (*to.flat(p), *to.flat(out, writes=True))
    to.emit("blend", n=(p.size, table.shape[1]), p=(p, keep, weight, out), touches=touches)


@translates((LAMB, "update"))
def _lamb(to: Translator, call: Call) -> None:
    (p, g), given = call.arguments, call.keywords
    rule: Any = call.kernel.__self__  # type: ignore[attr-defined]
    (m, v), (u, ratio, *_) = given["moments"], given["work"]
    start, table = scalar_source(to, given["scalars"][0])
    touches = (*to.flat(p, g), *to.flat(m, v, u, writes=True))
    n, c = (p.size, table.shape[1]), (rule.beta1, rule.beta2, rule.weight_decay)
    to.emit("lamb_direction", n=n, c=c, p=(p, g, m, v, u, start), touches=touches)
    if rule.adapt:
        touches = (*to.whole(p, u), *to.whole(ratio, writes=True))
        to.emit("trust_ratio", n=(p.size,), p=(p, u, ratio), touches=touches, alone=True)
    descend(to, p, u, given["scalars"][0], ratio=ratio if rule.adapt else None)


def descend(
    to: Translator, p: Array, u: Array, rate: Array, *, ratio: Array | None = None, by: float = 1.0
) -> None:
    """Append p -= rate by ratio u."""
    start, table = scalar_source(to, rate)
    touches = (*to.flat(u), *to.whole(ratio), *to.flat(p, writes=True))
    to.emit("descend", n=(p.size, table.shape[1]), c=(by,), p=(p, u, ratio, start), touches=touches)


@translates((Muon, "update"))
def _muon(to: Translator, call: Call) -> None:
    (W, g), given = call.arguments, call.keywords
    rule: Any = call.kernel.__self__  # type: ignore[attr-defined]
    m, (X, Y, *squares) = given["moments"][0], given["work"]
    touches = (*to.flat(g), *to.flat(m, X, writes=True))
    n, c = (W.size, rule.nesterov), (rule.momentum,)
    to.emit("muon_direction", n=n, c=c, p=(g, m, X), touches=touches)
    X = orthogonalise(to, X, Y, squares, iterations=rule.iterations)
    d_in, d_out = W.shape
    descend(to, W, X, given["scalars"][0], by=max(1.0, d_out / d_in) ** 0.5)


def orthogonalise(
    to: Translator, X: Array, Y: Array, squares: list[Array], *, iterations: int
) -> Array:
    """Append X = nearly U V^T, as `optimizers.muon.orthogonalise`; X or Y, whichever it is in."""
    a, b, c = COEFFICIENTS
    wide, r = X.shape[0] <= X.shape[1], min(X.shape)
    A, B = (square.reshape(-1)[: r * r].reshape(r, r) for square in squares[:2])
    norm = A[:1, :1]
    touches = (*to.whole(X), *to.whole(norm, writes=True))
    to.emit("norm", n=(X.size,), p=(X, norm), touches=touches, alone=True)
    touches = (*to.whole(norm), *to.flat(X, writes=True))
    to.emit("shrink", n=(X.size,), c=(1e-7,), p=(X, norm), touches=touches)
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
    touches = (*to.flat(source), *to.flat(out, writes=True))
    to.emit("add", n=(source.size, 1), p=(source, out), touches=touches)


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
    inner = A.shape[0] if turned[0] else A.shape[1]
    written = access(out, writes=True, division=("rows of a product", *out.shape))
    n, touches = (*out.shape, inner, *turned), (*to.whole(A, B), written)
    to.emit("matrix_product", n=n, c=(alpha, beta), p=(A, B, out), touches=touches)


@translates((L1, "value"), (L2, "value"), (ElasticNet, "value"), (L2, "value_by_weight"))
def _penalty(to: Translator, call: Call) -> None:
    (W, *by), loss = call.arguments, call.keywords["loss"]
    c, weight = strengths(call.kernel.__self__), by[0] if by else None  # type: ignore[attr-defined]
    p, touches = (W, loss, weight), (*to.whole(W, weight), *to.whole(loss, writes=True))
    to.emit("penalty", n=(W.size,), c=c, p=p, touches=touches, alone=True, late=True)


@translates(
    (L1, "gradient"), (L2, "gradient"), (ElasticNet, "gradient"), (L2, "gradient_by_weight")
)
def _penalty_gradient(to: Translator, call: Call) -> None:
    (W, *by), dW = call.arguments, call.keywords["dW"]
    weight = by[0] if by else None
    l1, l2 = strengths(call.kernel.__self__)  # type: ignore[attr-defined]
    # Divided as the operation divides dW that wrote it.
    touches = (*to.whole(W, weight), access(dW, writes=True, division=("d", dW.shape)))
    n, c = (len(W), W.size // len(W)), (l1, 2 * l2)
    to.emit("penalty_gradient", n=n, c=c, p=(W, dW, weight), touches=touches, late=True)


def strengths(penalty: Any) -> tuple[float, float]:
    """What |W| and W**2 are multiplied by."""
    if isinstance(penalty, ElasticNet):
        return penalty.l1, penalty.l2
    return (penalty.strength, 0.0) if isinstance(penalty, L1) else (0.0, penalty.strength)


@translates(penalties.limit_norms)
def _limit_norms(to: Translator, call: Call) -> None:
    (W,), most = call.arguments, call.keywords["most"]
    touches = (access(W, writes=True, division=("columns", *W.shape)),)
    to.emit("limit_norms", n=W.shape, c=(most,), p=(W,), touches=touches)
