"""The translations of optimizer rules and what surrounds them."""

from __future__ import annotations

from typing import Any

from mlpx.engines.lowering.operations import address
from mlpx.engines.lowering.translator import Translator, UntranslatableError, translates
from mlpx.kernels import updates
from mlpx.optimizers import SGD, Optimizer, RMSProp
from mlpx.program import Call
from mlpx.types import Array

RULES: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "adagrad": ("adagrad", ("G",), ("epsilon",)),
    "adadelta": ("adadelta", ("v", "D"), ("rho", "epsilon")),
    "adam": ("adam", ("m", "v"), ("beta1", "beta2")),
    "adamw": ("adam", ("m", "v"), ("beta1", "beta2")),
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
    for row, table in to.rows_of.items():
        offset = (address(scalar) or 0) - row
        if 0 <= offset < table.strides[0] and table.dtype == to.dtype:
            return (address(table) or 0) + offset, table
    raise UntranslatableError("a per-step number in no table")


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
        start, n = address(factor) or 0, (a.size, 0)
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
