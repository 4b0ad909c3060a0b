"""Random masks and noise, ways around, normalisations."""

from __future__ import annotations

from typing import Any

import numpy as np
from reference.philox import block

from cudasim.cases.given import POSITION, STEP, TABLE, Case, Given, case, wide


@case("sum")
def sum_(given: Given) -> Case:
    a, b = given.normal(given.n, given.d), given.normal(given.n, given.d)
    return Case(a.shape, (), [a, b, given.empty(*a.shape)], {2: wide(a) + b})


@case("product")
def product(given: Given) -> Case:
    a, b = given.normal(given.n, given.d), given.normal(given.n, given.d)
    return Case(a.shape, (), [a, b, given.empty(*a.shape)], {2: wide(a) * b})


@case("alpha_dropout")
def alpha_dropout(given: Given) -> Case:
    x, m = given.normal(given.n, given.d), given.between(0, 1, given.n, given.d)
    wanted = (wide(x) - given.rounded(-1.7)) * m + given.rounded(0.4)
    return Case(x.shape, (-1.7, 0.4), [x, m, given.empty(*x.shape)], {2: wanted})


SEED, PURPOSE, ITEM = 2**63 + 5, 3, 4


def words(given: Given) -> np.ndarray:
    """The host's: four words of 64 bits for every eight elements."""
    blocks = -(-given.n * given.d // 8)
    drawn = [block((i, STEP, 0, ITEM), (SEED, PURPOSE)) for i in range(blocks)]
    return np.array(drawn, np.uint64).reshape(-1)


@case("mask")
def mask(given: Given) -> Case:
    bits = words(given).view(np.uint32)[: given.n * given.d].reshape(given.n, given.d)
    threshold = int(np.sort(bits, axis=None)[bits.size // 2])  # one that is drawn, and stays
    wanted = np.where(bits < threshold, 0, given.rounded(1.25))
    n = (given.n, given.d, SEED - 2**64, PURPOSE, ITEM, threshold)
    return Case(n, (1.25,), [given.empty(given.n, given.d)], {0: wanted})


@case("mask_by")
def mask_by(given: Given) -> Case:
    bits = words(given).view(np.uint32)[: given.n * given.d].reshape(given.n, given.d)
    table = given.between(0, 1, TABLE, 3)
    threshold = int(np.sort(bits, axis=None)[bits.size // 2]) >> 8 << 8  # as a float has it
    table[POSITION, 0] = threshold
    wanted = np.where(bits < threshold, 0, wide(table)[POSITION, 1])
    n = (given.n, given.d, SEED - 2**64, PURPOSE, ITEM, 3)
    return Case(n, (), [table, given.empty(given.n, given.d)], {1: wanted})


@case("normals")
def normals(given: Given) -> Case:
    drawn = words(given)
    uniform = ((drawn & 0xFFFFFFFF).astype(np.float64) + 1) * 2.0**-32
    angle = (drawn >> np.uint64(32)).astype(np.float64) * (2 * np.pi * 2.0**-32)
    radius = np.sqrt(-2 * 0.3**2 * np.log(uniform))
    pairs = np.stack([np.cos(angle) * radius, np.sin(angle) * radius], axis=1).reshape(-1)
    wanted = pairs[: given.n * given.d].reshape(given.n, given.d)
    n = (given.n, given.d, SEED - 2**64, PURPOSE, ITEM)
    return Case(n, (0.3,), [given.empty(given.n, given.d)], {0: wanted})


FAR = 1000
"""So far from 0 that a mean is rounded by much more than what it is taken from is."""


def standardised(x: np.ndarray, axis: int) -> tuple[Any, Any, Any, Any]:
    """xhat, mean, variance and scale."""
    x = x.astype(np.longdouble)
    mean, variance = x.mean(axis=axis, keepdims=True), x.var(axis=axis, keepdims=True)
    scale = 1 / np.sqrt(variance + 0.1)
    return wide((x - mean) * scale), *(wide(a.reshape(-1)) for a in (mean, variance, scale))


@case("standardise_rows")
def standardise_rows(given: Given) -> Case:
    x = given.normal(given.n, given.d) + given.dtype.type(FAR)
    xhat, _, _, scale = standardised(x, 1)
    p = [x, given.empty(*x.shape), given.empty(given.n)]
    return Case(x.shape, (0.1,), p, {1: xhat, 2: scale})


@case("unit_rows")
def unit_rows(given: Given) -> Case:
    x = given.normal(given.n, given.d)
    scale = 1 / np.sqrt((wide(x) ** 2).mean(axis=1) + 0.1)
    p = [x, given.empty(*x.shape), given.empty(given.n)]
    return Case(x.shape, (0.1,), p, {1: x * scale[:, None], 2: scale})


def back(given: Given, axis: int, *, centred: bool) -> Case:
    dy, xhat = given.normal(given.n, given.d), given.normal(given.n, given.d)
    scale = given.between(0.5, 2, given.n if axis == 1 else given.d)
    slope = (wide(dy) * xhat).mean(axis=axis, keepdims=True)
    mean = wide(dy).mean(axis=axis, keepdims=True) * centred
    factor = wide(scale)[:, None] if axis == 1 else wide(scale)
    wanted = (dy - (xhat * slope + mean)) * factor
    n = (given.n, given.d, int(centred))
    return Case(n, (), [dy, xhat, scale, given.empty(*dy.shape)], {3: wanted})


case("standardise_rows_back")(lambda given: back(given, 1, centred=True))
case("standardise_rows_back")(lambda given: back(given, 1, centred=False))
case("standardise_columns_back")(lambda given: back(given, 0, centred=True))
case("standardise_columns_back")(lambda given: back(given, 0, centred=False))


@case("standardise_columns")
def standardise_columns(given: Given) -> Case:
    x = given.normal(given.n, given.d) + given.dtype.type(FAR)
    xhat, mean, variance, scale = standardised(x, 0)
    p = [x, given.empty(*x.shape), *(given.empty(given.d) for _ in range(3))]
    return Case(x.shape, (0.1,), p, {1: xhat, 2: mean, 3: variance, 4: scale})


@case("scale_shift")
def scale_shift(given: Given) -> Case:
    x, gamma, beta = given.normal(given.n, given.d), given.normal(given.d), given.normal(given.d)
    wanted = wide(x) * gamma + beta
    return Case(x.shape, (), [x, gamma, beta, given.empty(*x.shape)], {3: wanted})


@case("scale_shift")
def scale_only(given: Given) -> Case:
    x, gamma = given.normal(given.n, given.d), given.normal(given.d)
    return Case(x.shape, (), [x, gamma, None, given.empty(*x.shape)], {3: wide(x) * gamma})


@case("scale_shift_sums")
def scale_shift_sums(given: Given) -> Case:
    dy, xhat = given.normal(given.n, given.d), given.normal(given.n, given.d)
    wanted = {2: (wide(dy) * xhat).sum(axis=0), 3: wide(dy).sum(axis=0)}
    return Case(dy.shape, (), [dy, xhat, given.empty(given.d), given.empty(given.d)], wanted)


@case("scale_shift_sums")
def scale_sums_only(given: Given) -> Case:
    found = scale_shift_sums(given)
    return found._replace(p=[*found.p[:3], None], wanted={2: found.wanted[2]})


@case("track", flat=True)
def track(given: Given) -> Case:
    value, running = given.normal(given.d), given.normal(given.d)
    momentum, factor = given.rounded(0.1), given.rounded(1.03)
    wanted = running + momentum * (factor * wide(value) - running)
    return Case((given.d,), (0.1, 1.03), [value, running], {1: wanted})


@case("apply_running")
def apply_running(given: Given) -> Case:
    x, mu, gamma, beta = given.normal(given.n, given.d), *(given.normal(given.d) for _ in range(3))
    variance = given.between(0.5, 2, given.d)
    wanted = (wide(x) - mu) * gamma / np.sqrt(wide(variance) + 0.1) + beta
    p = [x, mu, variance, gamma, beta, given.empty(*x.shape)]
    return Case(x.shape, (0.1,), p, {5: wanted})
