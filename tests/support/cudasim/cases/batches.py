"""Batches: gathered, weighed, and what is kept of each step."""

from __future__ import annotations

import numpy as np

from cudasim.cases.given import POSITION, TABLE, Case, Given, Maker, case, wide


def gathering(given: Given, x: np.ndarray, code: int, **how: bool) -> Case:
    table = given.rng.integers(0, len(x), size=(TABLE, given.n))
    rows = table[POSITION] if how.get("by_table", True) else np.arange(given.n)
    labels = code == 10
    out = np.full((given.n, given.d), -7) if labels else given.empty(given.n, given.d)
    n = (given.n, given.d, code, given.n if how.get("by_table", True) else 0, 0)
    p = [x, table if how.get("by_table", True) else None, out]
    return Case(n, (), p, {2: x[rows].astype(np.int64 if labels else np.float64)})


GATHERED = [
    "float32",
    "float64",
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint32",
    "int32",
    "uint64",
    "int64",
]


def gathered(dtype: str, code: int) -> Maker:
    def make(given: Given) -> Case:
        numbers = given.rng.normal(size=(given.n + 3, given.d)) * 100
        x = np.abs(numbers).astype(dtype) if dtype.startswith("u") else numbers.astype(dtype)
        return gathering(given, x, code)

    return make


for number, kind in enumerate(GATHERED):
    case("gather")(gathered(kind, number))
case("gather")(gathered("float16", 11))


@case("gather")
def labels(given: Given) -> Case:
    given.d = 1
    return gathering(given, given.rng.integers(0, 9, size=(given.n + 3, 1)), 10)


@case("gather")
def scaled_rows(given: Given) -> Case:
    x = given.rng.integers(0, 256, size=(given.n + 3, given.d)).astype(np.uint8)
    found, a, b = gathering(given, x, 2), given.rounded(1 / 255), given.rounded(-0.3)
    wanted = {2: found.wanted[2] * a + b}
    return found._replace(n=(*found.n, 0, 0, 1), c=(1 / 255, -0.3), wanted=wanted)


@case("gather")
def with_labels(given: Given) -> Case:
    """Of the next step, as the rows are."""
    found = gathering(given, given.normal(given.n + 3, given.d).astype(np.float32), 0)
    x, table, out = found.p
    labels, rows = given.rng.integers(0, 9, size=len(x)), table[POSITION + 1]
    p = [x, table, out, labels, np.full(given.n, -7)]
    wanted = {2: wide(x[rows]), 4: labels[rows].astype(np.float64)}
    return found._replace(n=(*found.n, 1, TABLE), p=p, wanted=wanted)


@case("gather")
def own_order(given: Given) -> Case:
    return gathering(given, given.normal(given.n, given.d).astype(np.float32), 0, by_table=False)


def of_a_later_step(positions: int) -> Maker:
    """The next step's rows, or the first's where this is the last."""

    def make(given: Given) -> Case:
        found = gathering(given, given.normal(given.n + 3, given.d).astype(np.float32), 0)
        x, table, _ = found.p
        rows = table[(POSITION + 1) % positions]
        return found._replace(n=(*found.n, 1, positions), wanted={2: wide(x[rows])})

    return make


def in_turn(lines: int) -> Maker:
    """This step's rows, of a table that begins anew after so many."""

    def make(given: Given) -> Case:
        found = gathering(given, given.normal(given.n + 3, given.d).astype(np.float32), 0)
        x, table, _ = found.p
        return found._replace(n=(*found.n, 0, lines), wanted={2: wide(x[table[POSITION % lines]])})

    return make


case("gather")(in_turn(POSITION))
case("gather")(in_turn(POSITION + 1))
case("gather")(of_a_later_step(TABLE))
case("gather")(of_a_later_step(POSITION + 1))


@case("gather")
def half_extremes(given: Given) -> Case:
    """Denormals, infinities, both zeros."""
    odd = np.array([0, -0.0, 6e-8, -6e-8, 6.1e-5, 65504, np.inf, -np.inf, 1 / 3], np.float16)
    return gathering(given, given.rng.choice(odd, size=(given.n + 3, given.d)), 11)


@case("copy")
def copy(given: Given) -> Case:
    x = given.normal(given.n, given.d)
    return Case(x.shape, (), [x, given.empty(*x.shape)], {1: wide(x)})


@case("scale")
def scale(given: Given) -> Case:
    x = given.normal(given.n, given.d)
    wanted = wide(x) * given.rounded(0.3) + given.rounded(-1.1)
    return Case(x.shape, (0.3, -1.1), [x, given.empty(*x.shape)], {1: wanted})


@case("to_bf16")
def to_bf16(given: Given) -> Case:
    """To the nearest, ties to even; between the rows nothing changes."""
    x, stride = given.normal(given.n, given.d), given.d + 3
    x.flat[::3] = np.float32(1 + 2**-8)  # a tie
    x.flat[1::5], x.flat[2::7] = np.inf, np.float32(1 + 3 * 2**-8)
    out = np.full((given.n, stride), 0x1234, np.uint16)
    bits = x.astype(np.float32).view(np.uint32)
    wanted = out.astype(np.float64)
    wanted[:, : given.d] = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return Case((given.n, given.d, stride), (), [x, out], {1: wanted})


@case("to_fp16")
def to_fp16(given: Given) -> Case:
    """To the nearest, ties to even: normal halves, smaller ones, and what is none of them."""
    x, stride = 2 * given.normal(given.n, given.d), given.d + 3
    x.flat[::5] *= np.float32(2**-15)  # times 8, subnormal
    x.flat[1::7] *= np.float32(2**-29)  # about the smallest
    special = [1 + 2**-11, 1 + 3 * 2**-11, 2**-28, 3 * 2**-28, 2**-17 - 2**-29, 8190, 8189.9, -0.0]
    for i, value in enumerate([*special, 1e6, np.inf, -np.inf, np.nan]):
        x.flat[2 + i :: 31] = np.float32(value)
    out = np.full((given.n, stride), 0x1234, np.uint16)
    wanted = out.astype(np.float64)
    with np.errstate(over="ignore"):
        wanted[:, : given.d] = (8 * x).astype(np.float16).view(np.uint16)
    scale = np.full(1, 8, np.float32)
    return Case((given.n, given.d, stride), (), [x, out, scale], {1: wanted})


def scaled(x: np.ndarray, wanted: int, *others: int) -> Case:
    """The scale is 2**wanted; back is given for each other."""
    p, found = [x, np.full(1, np.nan, np.float32)], {1: np.full(1, 2.0**wanted)}
    for other in others:
        p += [np.full(1, 2.0**other, np.float32), np.full(1, np.nan, np.float32)]
        found[len(p) - 1] = np.full(1, 2.0 ** -(wanted + other))
    return Case((x.size, len(others)), (), p, found)


@case("scale_of", flat=True)
def scale_of(given: Given) -> Case:
    """By the largest, wherever it is; what is not finite does not count."""
    x = given.between(-1, 1, given.d)
    x[1::3], x[2::7] = np.nan, -np.inf
    largest = given.d // 2 // 21 * 21  # neither of those
    x[largest] = -3.5
    return scaled(x, 13, -7, 5, 0, 60)


@case("scale_of", flat=True)
def scale_of_powers(given: Given) -> Case:
    """A power of two comes to 2**14 itself."""
    return scaled(np.full(given.d, 2.0**-9, given.dtype), 23)


@case("scale_of", flat=True)
def scale_of_nothing(given: Given) -> Case:
    return scaled(np.zeros(given.d, given.dtype), 0, 3)


@case("scale_of", flat=True)
def scale_of_extremes(given: Given) -> Case:
    """It stays within bounds, so that the product of two and its inverse are normal numbers."""
    x = np.full(given.d, 1e-30, given.dtype)
    return scaled(x, 60, 60)


@case("scale_of", flat=True)
def scale_of_large(given: Given) -> Case:
    return scaled(np.full(given.d, -1e38, given.dtype), -60, -60)


@case("weigh")
def weigh(given: Given) -> Case:
    w = given.between(0, 2, given.n)
    total = wide(w).sum()
    p = [w, given.empty(1), given.empty(given.n)]
    return Case((given.n,), (), p, {1: total[None], 2: wide(w) / total})


@case("weighted_mean", flat=True)
def weighted_mean(given: Given) -> Case:
    r, rows = given.between(0, 1, given.d), given.normal(given.d)
    return Case((given.d,), (), [r, rows, given.empty(1)], {2: (wide(r) * wide(rows)).sum()[None]})


@case("sum_lines")
def sum_lines(given: Given) -> Case:
    lines = given.normal(given.n, given.d + 2)
    wanted = wide(lines)[:, : given.d].sum(axis=0)
    n = (given.n, given.d, given.d + 2)
    return Case(n, (), [lines, given.empty(given.d)], {1: wanted})


@case("record", flat=True)
def record(given: Given) -> Case:
    log, values = given.normal(TABLE, given.d), given.normal(given.d)
    wanted = wide(log)
    wanted[POSITION] = values
    return Case((given.d,), (), [log, values], {0: wanted})


@case("advance", flat=True)
def advance(given: Given) -> Case:
    """The state, and where the next steps of a graph are from there."""
    rows = given.d
    p = [np.array([3, 9]), np.full((rows, 2), -7)]
    table = np.array([8.0, 14.0]) + np.arange(rows)[:, None]
    return Case((5, rows), (), p, {0: np.array([8.0, 14.0]), 1: table})
