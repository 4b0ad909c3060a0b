"""Losses of one row by their definitions, in 400 digits; gradients by differences in the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import mpmath

mpmath.mp.dps = 400
H = mpmath.mpf(10) ** -60
Row = Sequence[Any]


def exp(x: Any) -> Any:
    return mpmath.exp(x) if x > -5000 else mpmath.mpf(0)  # no float is that small


def softmax(z: Row) -> list[Any]:
    top = max(z)
    e = [exp(x - top) for x in z]
    return [x / sum(e) for x in e]


def log_softmax(z: Row) -> list[Any]:
    top = max(z)
    total = mpmath.log(sum(exp(x - top) for x in z))
    return [x - top - total for x in z]


def softmax_cross_entropy(z: Row, t: Row) -> Any:
    return -sum(a * b for a, b in zip(t, log_softmax(z), strict=True))


def kl_divergence(z: Row, t: Row) -> Any:
    pairs = zip(t, log_softmax(z), strict=True)
    return sum(a * (mpmath.log(a) - b) for a, b in pairs if a > 0)


def focal(z: Row, t: Row, *, gamma: float = 2.0, alpha: Any = 1.0) -> Any:
    alpha = alpha if isinstance(alpha, tuple) else (alpha,) * len(z)
    rows = zip(t, softmax(z), log_softmax(z), alpha, strict=True)
    return -sum(w * a * (1 - p) ** mpmath.mpf(gamma) * L for a, p, L, w in rows)


def _mean(f: Callable[..., Any], *columns: Row) -> Any:
    values = [f(*row) for row in zip(*columns, strict=True)]
    return sum(values) / len(values)


def _softplus(x: Any) -> Any:
    return mpmath.log(1 + exp(-abs(x))) + max(x, 0)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + exp(-x)) if x >= 0 else exp(x) / (1 + exp(x))


def binary_cross_entropy(
    z: Row, t: Row, *, positive_weight: Any = 1.0, reduction: str = "mean"
) -> Any:
    c = positive_weight if isinstance(positive_weight, tuple) else (positive_weight,) * len(z)
    mean = _mean(lambda x, y, w: w * y * _softplus(-x) + (1 - y) * _softplus(x), z, t, c)
    return mean * (len(z) if reduction == "sum" else 1)


def binary_focal(z: Row, t: Row, *, gamma: float = 2.0, alpha: float | None = None) -> Any:
    a, b = (1, 1) if alpha is None else (mpmath.mpf(alpha), 1 - mpmath.mpf(alpha))
    g = mpmath.mpf(gamma)
    return _mean(
        lambda x, y: (
            a * y * _sigmoid(-x) ** g * _softplus(-x)
            + b * (1 - y) * _sigmoid(x) ** g * _softplus(x)
        ),
        z,
        t,
    )


def mean_squared_error(z: Row, t: Row) -> Any:
    return _mean(lambda x, y: (x - y) ** 2, z, t)


def half_squared_error(z: Row, t: Row, *, reduction: str = "mean") -> Any:
    mean = _mean(lambda x, y: (x - y) ** 2 / 2, z, t)
    return mean * (len(z) if reduction == "sum" else 1)


def mean_absolute_error(z: Row, t: Row) -> Any:
    return _mean(lambda x, y: abs(x - y), z, t)


def huber(z: Row, t: Row, *, delta: float = 1.0) -> Any:
    d = mpmath.mpf(delta)
    return _mean(
        lambda x, y: (x - y) ** 2 / 2 if abs(x - y) <= d else d * (abs(x - y) - d / 2), z, t
    )


def log_cosh(z: Row, t: Row) -> Any:
    def one(x: Any, y: Any) -> Any:
        e = abs(x - y)
        return e + mpmath.log((1 + exp(-2 * e)) / 2)

    return _mean(one, z, t)


def poisson(z: Row, t: Row, *, reduction: str = "mean") -> Any:
    mean = _mean(lambda x, y: exp(x) - y * x, z, t)
    return mean * (len(z) if reduction == "sum" else 1)


def quantile(z: Row, t: Row, *, quantiles: Any = 0.5) -> Any:
    q = quantiles if isinstance(quantiles, tuple) else (quantiles,)
    qs = [mpmath.mpf(x) for x in q] * (len(z) // len(q))
    return _mean(lambda x, y, p: max(p * (y - x), (p - 1) * (y - x)), z, t, qs)


def hinge(z: Row, t: Row) -> Any:
    return _mean(lambda x, y: max(0, 1 - (2 * y - 1) * x), z, t)


def squared_hinge(z: Row, t: Row) -> Any:
    return _mean(lambda x, y: max(0, 1 - (2 * y - 1) * x) ** 2, z, t)


def row_loss(name: str, z: Row, t: Row, **options: Any) -> Any:
    """The loss called `name` of one row."""
    exact = [mpmath.mpf(float(x)) for x in z], [mpmath.mpf(float(x)) for x in t]
    return globals()[name](*exact, **options)


def row_gradient(name: str, z: Row, t: Row, **options: Any) -> list[Any]:
    """Its derivatives by z; z must not lie on a kink."""
    exact, targets = [mpmath.mpf(float(x)) for x in z], [mpmath.mpf(float(x)) for x in t]
    found = []
    for j in range(len(exact)):
        up, down = list(exact), list(exact)
        up[j], down[j] = up[j] + H, down[j] - H
        f = globals()[name]
        found.append((f(up, targets, **options) - f(down, targets, **options)) / (2 * H))
    return found
