"""Optimizers' rules, and what surrounds them."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from cudasim.cases.given import POSITION, TABLE, Case, Given, Maker, case, wide


def smooth(m: Any, beta: float, x: Any) -> Any:
    return beta * m + (1 - beta) * x


def sgd(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    return [p - s[0] * g, *m]


def momentum(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    v = c[0] * m[0] + s[1] * g
    return [p - s[0] * v, v, *m[1:]]


def nesterov(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    v = c[0] * m[0] + g
    return [p - s[0] * (g + c[0] * v), v, *m[1:]]


def adagrad(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    G = m[0] + g * g
    return [p - s[0] * g / (np.sqrt(G) + c[0]), G, *m[1:]]


def rmsprop(
    p: Any, g: Any, m: list[Any], c: list[float], s: list[float],
    *, centred: bool = False, moving: bool = False,
) -> list[Any]:  # fmt: skip
    v = smooth(m[0], c[0], g * g)
    a = smooth(m[1], c[0], g) if centred else m[1]
    u = step = g / (np.sqrt(np.maximum(v - a * a, 0) if centred else v) + c[1])
    if moving:
        u = step = c[2] * m[2] + step
    return [p - s[0] * step, v, a, u if moving else m[2]]


def adadelta(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    v = smooth(m[0], c[0], g * g)
    change = np.sqrt((m[1] + c[1]) / (v + c[1])) * g
    return [p - s[0] * change, v, smooth(m[1], c[0], change * change), m[2]]


def adam(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    a, v = smooth(m[0], c[0], g), smooth(m[1], c[1], g * g)
    return [p - s[0] * a / (np.sqrt(v) + s[1]), a, v, m[2]]


def amsgrad(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    a, v = smooth(m[0], c[0], g), smooth(m[1], c[1], g * g)
    h = np.maximum(v, m[2])
    return [p - s[0] * a / (np.sqrt(h) + s[1]), a, v, h]


def nadam(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    a, v = smooth(m[0], c[0], g), smooth(m[1], c[1], g * g)
    return [p - (s[0] * a + s[1] * g) / (np.sqrt(v) + s[2]), a, v, m[2]]


def radam(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    a, v = smooth(m[0], c[0], g), smooth(m[1], c[1], g * g)
    return [p - a * (s[1] / (np.sqrt(v) + c[2]) + s[0]), a, v, m[2]]


def adamax(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    a, u = smooth(m[0], c[0], g), np.maximum(c[1] * m[1], np.abs(g))
    return [p - s[0] * a / (u + c[2]), a, u, m[2]]


def lion(p: Any, g: Any, m: list[Any], c: list[float], s: list[float]) -> list[Any]:
    return [p - s[0] * np.sign(smooth(m[0], c[0], g)), smooth(m[0], c[1], g), *m[1:]]


RULES = {
    "sgd": sgd, "momentum": momentum, "nesterov": nesterov, "adagrad": adagrad,
    "rmsprop": rmsprop, "rmsprop_momentum": partial(rmsprop, moving=True),
    "rmsprop_centered": partial(rmsprop, centred=True),
    "rmsprop_centered_momentum": partial(rmsprop, centred=True, moving=True),
    "adadelta": adadelta, "adam": adam, "amsgrad": amsgrad, "nadam": nadam, "radam": radam,
    "adamax": adamax, "lion": lion,
}  # fmt: skip
"""The parameters and moments after one step, by the papers."""


def ruled(name: str) -> Maker:
    def make(given: Given) -> Case:
        p, g = given.normal(given.d), given.normal(given.d)
        moments = [given.between(0, 1, given.d) for _ in range(3)]
        # Centred: the mean square is no less than the square of the mean.
        moments[0] = moments[0] + given.dtype.type(name.startswith("rmsprop"))
        table, c = given.between(0.1, 0.5, TABLE, 4), (0.9, 0.99, 0.8)
        s = [float(value) for value in wide(table)[POSITION]]
        found = RULES[name](wide(p), wide(g), [wide(a) for a in moments], list(c), s)
        wanted = dict(zip((0, 2, 3, 4), found, strict=True))
        return Case((given.d, 4), c, [p, g, *moments, None, table], wanted)

    return make


for name in RULES:
    case(f"rule_{name}", flat=True)(ruled(name))


@case("clip_values", flat=True)
def clip_values(given: Given) -> Case:
    g = given.normal(given.d)
    limit = given.rounded(0.3)
    return Case((given.d,), (0.3,), [g], {0: wide(g).clip(-limit, limit)})


@case("sum_squares", flat=True)
def sum_squares(given: Given) -> Case:
    g = given.normal(given.d)
    return Case((given.d,), (), [g, np.full(1, np.nan)], {1: (wide(g) ** 2).sum()[None]})


@case("norm_factor")
def norm_factor(given: Given) -> Case:
    squares = given.rng.uniform(0, 1, given.n)
    factor = min(1, 2.5 / np.sqrt(squares.sum()))
    return Case((given.n,), (2.5,), [squares, given.empty(1)], {1: np.array([factor])})


@case("scale_by", flat=True)
def scale_by(given: Given) -> Case:
    a, table = given.normal(given.d), given.normal(TABLE, 3)
    return Case((given.d, 3), (), [a, table], {0: wide(a) * wide(table)[POSITION, 0]})


@case("scale_by", flat=True)
def scale_by_number(given: Given) -> Case:
    a, factor = given.normal(given.d), given.normal(1)
    return Case((given.d, 0), (), [a, factor], {0: wide(a) * factor})


@case("add_decay", flat=True)
def add_decay(given: Given) -> Case:
    p, g = given.normal(given.d), given.normal(given.d)
    return Case((given.d,), (0.1,), [p, g], {1: g + given.rounded(0.1) * wide(p)})


@case("add", flat=True)
def add(given: Given) -> Case:
    a, out = given.normal(given.d), given.normal(given.d)
    return Case((given.d, 0), (), [a, out], {1: wide(a) + out})


@case("add", flat=True)
def add_over(given: Given) -> Case:
    a = given.normal(given.d)
    return Case((given.d, 1), (), [a, given.empty(given.d)], {1: wide(a)})


@case("blend", flat=True)
def blend(given: Given) -> Case:
    p, out, keep, weight = (given.normal(given.d), given.normal(given.d), given.normal(TABLE, 3),
                            given.normal(TABLE, 3))  # fmt: skip
    wanted = wide(keep)[POSITION, 0] * out + wide(weight)[POSITION, 0] * wide(p)
    return Case((given.d, 3), (), [p, keep, weight, out], {3: wanted})


@case("penalty", flat=True)
def penalty(given: Given) -> Case:
    W, loss, weight = given.normal(given.d), given.normal(1), given.between(1, 2, 1)
    sums = given.rounded(0.3) * np.abs(wide(W)).sum() + given.rounded(0.7) * (wide(W) ** 2).sum()
    return Case((given.d,), (0.3, 0.7), [W, loss, weight], {1: wide(loss) + sums / weight})


@case("penalty", flat=True)
def penalty_of_squares(given: Given) -> Case:
    W, loss = given.normal(given.d), given.normal(1)
    sums = given.rounded(0.7) * (wide(W) ** 2).sum()
    return Case((given.d,), (0.0, 0.7), [W, loss, None], {1: wide(loss) + sums})


@case("penalty_gradient")
def penalty_gradient(given: Given) -> Case:
    W, dW, weight = (
        given.normal(given.n, given.d),
        given.normal(given.n, given.d),
        given.between(1, 2, 1),
    )
    W[:, ::3] = 0
    slope = given.rounded(0.3) * np.sign(wide(W)) + given.rounded(0.7) * wide(W)
    return Case(W.shape, (0.3, 0.7), [W, dW, weight], {1: dW + slope / weight})


@case("penalty_gradient")
def penalty_gradient_plain(given: Given) -> Case:
    W, dW = given.normal(given.n, given.d), given.normal(given.n, given.d)
    return Case(W.shape, (0.0, 0.7), [W, dW, None], {1: dW + given.rounded(0.7) * wide(W)})


@case("limit_norms")
def limit_norms(given: Given) -> Case:
    W = given.normal(given.n, given.d) * given.between(0, 2, given.d)
    norms = np.sqrt((wide(W) ** 2).sum(axis=0))
    most = given.rounded(np.median(norms))
    factor = np.where(norms > most, most / np.where(norms > 0, norms, 1), 1)
    return Case(W.shape, (most,), [W], {0: W * factor})


@case("norm", flat=True)
def norm(given: Given) -> Case:
    a = given.normal(given.d)
    return Case((given.d,), (), [a, given.empty(1)], {1: np.sqrt((wide(a) ** 2).sum())[None]})


@case("lamb_direction", flat=True)
def lamb_direction(given: Given) -> Case:
    p, g, m, v = (given.normal(given.d), given.normal(given.d), given.normal(given.d),
                  given.between(0, 1, given.d))  # fmt: skip
    table = given.between(0.1, 0.5, TABLE, 3)
    _, unbias, epsilon = wide(table)[POSITION]
    m1, v1 = smooth(wide(m), 0.9, g), smooth(wide(v), 0.99, wide(g) ** 2)
    u = unbias * m1 / (np.sqrt(v1) + epsilon) + given.rounded(0.01) * wide(p)
    given_p = [p, g, m, v, given.empty(given.d), table]
    return Case((given.d, 3), (0.9, 0.99, 0.01), given_p, {2: m1, 3: v1, 4: u})


@case("trust_ratio", flat=True)
def trust_ratio(given: Given) -> Case:
    p, u = given.normal(given.d), given.normal(given.d)
    ratio = np.sqrt((wide(p) ** 2).sum() / (wide(u) ** 2).sum())
    return Case((given.d,), (), [p, u, given.empty(1)], {2: ratio[None]})


@case("trust_ratio", flat=True)
def trust_ratio_of_nothing(given: Given) -> Case:
    p, u = given.normal(given.d), np.zeros(given.d, given.dtype)
    return Case((given.d,), (), [p, u, given.empty(1)], {2: np.ones(1)})


@case("descend", flat=True)
def descend(given: Given) -> Case:
    p, u, ratio, table = (given.normal(given.d), given.normal(given.d), given.normal(1),
                          given.normal(TABLE, 3))  # fmt: skip
    wanted = p - wide(table)[POSITION, 0] * given.rounded(0.7) * wide(ratio) * u
    return Case((given.d, 3), (0.7,), [p, u, ratio, table], {0: wanted})


@case("descend", flat=True)
def descend_plainly(given: Given) -> Case:
    p, u, table = given.normal(given.d), given.normal(given.d), given.normal(TABLE, 3)
    return Case(
        (given.d, 3), (1.0,), [p, u, None, table], {0: p - wide(table)[POSITION, 0] * wide(u)}
    )


def muon(given: Given, *, nesterov: bool) -> Case:
    g, m = given.normal(given.d), given.normal(given.d)
    after = smooth(wide(m), 0.95, g)
    ahead = smooth(after, 0.95, g) if nesterov else after
    return Case(
        (given.d, int(nesterov)), (0.95,), [g, m, given.empty(given.d)], {1: after, 2: ahead}
    )


case("muon_direction", flat=True)(lambda given: muon(given, nesterov=True))
case("muon_direction", flat=True)(lambda given: muon(given, nesterov=False))


@case("shrink", flat=True)
def shrink(given: Given) -> Case:
    X, size = given.normal(given.d), given.between(1, 2, 1)
    return Case((given.d,), (0.5,), [X, size], {0: X / (wide(size) + 0.5)})
