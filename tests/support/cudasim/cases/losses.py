"""Losses with their gradients, and which rows are right."""

from __future__ import annotations

from typing import Any

import numpy as np

from cudasim.cases.activations import softmax_of
from cudasim.cases.given import Case, Given, Maker, case, wide
from mlpx.engines.lowering.formulas import codes


@case("targets")
def targets_of_labels(given: Given) -> Case:
    y = given.labels(low=-1)
    wanted = given.rounded(0.9) * (np.arange(given.d) == y[:, None]) + given.rounded(0.02)
    n = (given.n, given.d, 1)
    return Case(n, (0.9, 0.02), [y, given.empty(given.n, given.d)], {1: wanted})


@case("targets")
def targets_of_numbers(given: Given) -> Case:
    t = given.between(0, 1, given.n, given.d)
    wanted = given.rounded(0.9) * wide(t) + given.rounded(0.02)
    return Case((*t.shape, 0), (0.9, 0.02), [t, given.empty(*t.shape)], {1: wanted})


@case("repeat")
def repeat(given: Given) -> Case:
    y = given.normal(given.n, given.d)
    wanted = np.repeat(wide(y), 3, axis=1)
    return Case((*y.shape, 3), (), [y, given.empty(given.n, 3 * given.d)], {1: wanted})


def scores(given: Given) -> np.ndarray:
    """With ties, and with NaN in some rows."""
    z = given.rng.integers(-4, 5, size=(given.n, given.d)).astype(given.dtype)
    z[given.rng.random(z.shape) < 0.02] = np.nan
    return z


@case("correct")
def correct(given: Given) -> Case:
    z = scores(given)
    y = np.where(given.rng.random(given.n) < 0.5, z.argmax(axis=1), given.labels(low=-1))
    return Case(z.shape, (), [z, y, given.empty(given.n)], {2: (z.argmax(axis=1) == y) * 1.0})


@case("likeliest")
def likeliest(given: Given) -> Case:
    z = scores(given)
    return Case(z.shape, (), [z, np.full(given.n, -9)], {1: z.argmax(axis=1) * 1.0})


@case("all_correct")
def all_correct(given: Given) -> Case:
    """Neither a number of 0 nor a target of 1/2 is a yes."""
    z, t = given.normal(given.n, given.d), given.rng.integers(0, 3, size=(given.n, given.d)) / 2
    z[::2] = np.where(t[::2] > 0.5, 1, 0)
    wanted = ((z > 0) == (t > 0.5)).all(axis=1) * 1.0
    return Case(z.shape, (), [z, t.astype(given.dtype), given.empty(given.n)], {2: wanted})


def log_softmax(z: np.ndarray) -> np.ndarray:
    shifted = wide(z) - wide(z).max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def row_loss(given: Given, z: np.ndarray, y: np.ndarray, n: tuple[int, ...] = ()) -> Case:
    """A case without what is wanted: r, and arrays for the loss of each row and dz."""
    r = given.between(0.1, 1, given.n)
    p = [z, y, r, given.empty(given.n), given.empty(given.n, given.d)]
    return Case((*z.shape, *n), (), p, {})


@case("softmax_loss")
def softmax_loss(given: Given) -> Case:
    z, y = 4 * given.normal(given.n, given.d), given.labels(low=-1)
    y[::3][y[::3] < 0] = given.d  # what is ignored may be any other number
    found, known = row_loss(given, z, y, (1,)), (y >= 0) & (y < given.d)
    t = np.where(known[:, None], np.arange(given.d) == y[:, None], 0.0)
    dz = (np.exp(log_softmax(z)) * known[:, None] - t) * wide(found.p[2])[:, None]
    return found._replace(wanted={3: -(t * log_softmax(z)).sum(axis=1), 4: dz})


@case("softmax_loss")
def softmax_loss_of_distributions(given: Given) -> Case:
    z, t = 4 * given.normal(given.n, given.d), given.between(0, 1, given.n, given.d)
    found, mass = row_loss(given, z, t, (0,)), wide(t).sum(axis=1, keepdims=True)
    dz = (np.exp(log_softmax(z)) * mass - t) * wide(found.p[2])[:, None]
    return found._replace(wanted={3: -(wide(t) * log_softmax(z)).sum(axis=1), 4: dz})


@case("softmax_loss")
def softmax_loss_of_extremes(given: Given) -> Case:
    """Logits up to what the dtype holds: the loss is finite, and the gradient right."""
    z, y = given.normal(given.n, given.d), given.labels()
    z[:, ::2] = np.finfo(given.dtype).max * 0.4
    z[:, 1::2] = -np.finfo(given.dtype).max
    found = row_loss(given, z, y, (1,))
    e = (np.arange(given.d) % 2 == 0) / -(-given.d // 2)
    dz = (e - (np.arange(given.d) == y[:, None])) * wide(found.p[2])[:, None]
    span = np.float64(np.finfo(given.dtype).max)
    lost = np.where(y % 2 == 0, np.log(-(-given.d // 2)), span)
    return found._replace(wanted={3: lost, 4: dz})


def slope_and_value(
    name: str, z: np.ndarray, t: np.ndarray, q: list[np.ndarray]
) -> tuple[Any, Any]:
    """A few of the losses of each output; the tables' tests hold all of them."""
    e = wide(z) - t
    if name == "half_squared_error":
        return e, e * e / 2
    if name == "quantile":
        return np.sign(e) / 2 + q[2], -e * np.where(-e > 0, q[0], q[1])
    softplus = np.logaddexp(0, wide(z))
    p = np.exp(wide(z) - softplus)
    slope = (1 - t) * p - q[0] * t * (1 - p)
    return slope, (1 - t) * softplus + q[0] * t * (softplus - z)


def column_loss(name: str, constants: int) -> Maker:
    def make(given: Given) -> Case:
        z, t = given.normal(given.n, given.d), given.between(0, 1, given.n, given.d)
        found = row_loss(given, z, t, (codes("loss")[name],))
        q = [given.between(0.2, 1, given.d) for _ in range(constants)]
        slope, value = slope_and_value(name, z, wide(t), [wide(a) for a in q])
        share = given.rounded(1 / given.d)
        wanted = {3: share * value.sum(axis=1), 4: share * slope * wide(found.p[2])[:, None]}
        p = [*found.p, *q, *[None] * (3 - constants)]
        return found._replace(c=(*[0.0] * 7, 1 / given.d), p=p, wanted=wanted)

    return make


for loss, columns in (("half_squared_error", 0), ("quantile", 3), ("binary_cross_entropy", 1)):
    case("column_loss")(column_loss(loss, columns))


def distribution(given: Given) -> np.ndarray:
    t = softmax_of(given.normal(given.n, given.d)).astype(given.dtype)
    t[:, ::4] = 0
    return t


@case("kl_loss")
def kl_loss(given: Given) -> Case:
    z, t = given.normal(given.n, given.d), distribution(given)
    found, L = row_loss(given, z, t), log_softmax(z)
    logs = np.log(np.where(t > 0, wide(t), 1))
    dz = (np.exp(L) * wide(t).sum(axis=1, keepdims=True) - t) * wide(found.p[2])[:, None]
    return found._replace(wanted={3: ((logs - L) * t).sum(axis=1), 4: dz})


@case("focal_loss")
def focal_loss(given: Given) -> Case:
    if given.d == 1:
        given.d = 2  # of one class, 1 - p is nothing but rounding
    z, t, alpha = (
        given.normal(given.n, given.d),
        distribution(given),
        given.between(0.2, 1, given.d),
    )
    found, L = row_loss(given, z, t), log_softmax(z)
    p, gamma = np.exp(L), given.rounded(1.7)
    power = (1 - p) ** gamma * wide(t) * wide(alpha)
    g = (L * p / (1 - p) * gamma - 1) * power
    dz = (g - p * g.sum(axis=1, keepdims=True)) * wide(found.p[2])[:, None]
    wanted = {3: -(power * L).sum(axis=1), 4: dz}
    return found._replace(c=(1.7,), p=[*found.p, alpha], wanted=wanted)
