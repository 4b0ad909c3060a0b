"""Embeddings of codes, and of numbers by waves and by pieces."""

from __future__ import annotations

from typing import Any

import numpy as np

from cudasim.cases.given import Case, Given, case, wide

ODD = [np.nan, -3.0, 1e9, 0.9]
"""What is no code, and is taken for one: NaN and what is below for the first, what is above for the
last, and between two the one below.
"""


def coded(given: Given, width: int) -> tuple[Any, ...]:
    """x whose last columns hold codes, dy, E, starts, and the entry of each code."""
    codes = min(given.d, 3)
    sizes = np.array([3, 40, 1][:codes])
    x = given.normal(given.n, given.d)
    numbers = given.d - codes
    x[:, numbers:] = given.rng.integers(0, sizes, size=(given.n, codes))
    x[: len(ODD), -1 if codes < 2 else -2] = ODD[: given.n]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    entries = np.clip(np.nan_to_num(wide(x[:, numbers:])), 0, sizes - 1).astype(int) + starts[:-1]
    dy = given.normal(given.n, numbers + codes * width)
    return x, dy, given.normal(int(starts[-1]), width), starts, entries


def look_up(given: Given, width: int) -> Case:
    x, dy, E, starts, entries = coded(given, width)
    codes = entries.shape[1]
    wanted = np.hstack([x[:, : given.d - codes], E[entries].reshape(given.n, -1)])
    n = (given.n, dy.shape[1], given.d, codes, width)
    return Case(n, (), [x, E, starts, given.empty(*dy.shape)], {3: wide(wanted)})


def look_up_sums(given: Given, width: int) -> Case:
    x, dy, E, starts, entries = coded(given, width)
    codes = entries.shape[1]
    wanted = np.zeros(E.shape)
    lines = wide(dy[:, given.d - codes :]).reshape(-1, width)
    np.add.at(wanted, entries.reshape(-1), lines)
    n = (len(E), given.n, given.d, codes, width)
    return Case(n, (), [x, dy, starts, given.empty(*E.shape)], {3: wanted})


for wide_as in (1, 5, 8):
    case("look_up")(lambda given, width=wide_as: look_up(given, width))
    case("look_up_sums")(lambda given, width=wide_as: look_up_sums(given, width))


@case("look_up_dx")
def look_up_dx(given: Given) -> Case:
    codes = min(given.d, 3)
    numbers = given.d - codes
    dy = given.normal(given.n, numbers + codes * 2)
    wanted = np.zeros((given.n, given.d))
    wanted[:, :numbers] = dy[:, :numbers]
    n = (given.n, given.d, dy.shape[1], codes)
    return Case(n, (), [dy, given.empty(given.n, given.d)], {1: wanted})


class Waves:
    """x, dy and what a layer of waves learns, and its sizes from the number of embedded columns."""

    def __init__(self, given: Given, width: int, h: int) -> None:
        k, more = min(given.d, 2), width - 1
        self.k, self.width, self.h = k, width, h
        self.x, self.columns = given.normal(given.n, given.d), given.d + k * more
        self.dy = given.normal(given.n, self.columns)
        self.w, self.b = given.normal(k, 1, h), given.between(-3, 3, k, h)
        self.V, self.c = given.normal(k, h, more), given.normal(k, more)
        self.angle = 2 * np.pi * wide(self.x[:, :k, None]) * wide(self.w[:, 0]) + wide(self.b)
        self.ends = k * width
        self.parts = wide(self.dy[:, : self.ends]).reshape(given.n, k, width)
        dwave = np.einsum("nkq,khq->nkh", self.parts[:, :, 1:], wide(self.V))
        self.dangle = -np.sin(self.angle) * dwave

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.k, self.width, self.h


def waves(given: Given, width: int, h: int) -> Case:
    of = Waves(given, width, h)
    z = np.einsum("nkh,khq->nkq", np.cos(of.angle), wide(of.V)) + of.c
    made = np.concatenate([of.x[:, : of.k, None], z], axis=2).reshape(given.n, -1)
    wanted = np.hstack([made, of.x[:, of.k :]])
    p = [of.x, of.w, of.b, of.V, of.c, given.empty(*of.dy.shape)]
    return Case((given.n, of.columns, given.d, *of.sizes), (), p, {5: wanted})


def waves_dx(given: Given, width: int, h: int) -> Case:
    of = Waves(given, width, h)
    through = 2 * np.pi * (of.dangle * wide(of.w[:, 0])).sum(axis=2)
    wanted = np.hstack([of.parts[:, :, 0] + through, of.dy[:, of.ends :]])
    p = [of.x, of.dy, of.w, of.b, of.V, given.empty(*of.x.shape)]
    return Case((given.n, given.d, of.columns, *of.sizes), (), p, {5: wanted})


def waves_sums(given: Given, width: int, h: int) -> Case:
    of = Waves(given, width, h)
    dw = 2 * np.pi * (of.dangle * wide(of.x[:, : of.k, None])).sum(axis=0)
    dV = np.einsum("nkh,nkq->khq", np.cos(of.angle), of.parts[:, :, 1:])
    wanted = {
        5: dw.reshape(of.w.shape),
        6: of.dangle.sum(axis=0),
        7: dV,
        8: of.parts[:, :, 1:].sum(axis=0),
    }
    blank = [given.empty(*a.shape) for a in (of.w, of.b, of.V, of.c)]
    n = (given.n, of.k * h, given.d, *of.sizes)
    return Case(n, (), [of.x, of.dy, of.w, of.b, of.V, *blank], wanted)


for made in (waves, waves_dx, waves_sums):
    for sizes in ((2, 1), (4, 9), (7, 3)):
        case(made.__name__)(lambda given, made=made, sizes=sizes: made(given, *sizes))

EDGES = ([-0.5, 0.25], [-1.0, -0.75, 0.0, 0.125, 1.5], [0.0, 0.5, 1.0])


class Pieces:
    """x, dy and what a layer of pieces has, and the encoding and its slope as matrices."""

    def __init__(self, given: Given, width: int) -> None:
        self.edges = EDGES[: min(given.d, 3)]
        self.k, self.width, dtype = len(self.edges), width, given.dtype
        self.left = np.concatenate([each[:-1] for each in self.edges]).astype(dtype)
        self.size = np.concatenate([np.diff(each) for each in self.edges]).astype(dtype)
        bins = [len(each) - 1 for each in self.edges]
        self.starts = np.concatenate([[0], np.cumsum(bins)])
        self.x, self.columns = given.normal(given.n, given.d), given.d + self.k * (width - 1)
        self.x[0, : self.k] = [each[1] for each in self.edges]  # at an edge
        self.dy = given.normal(given.n, self.columns)
        self.V, self.c = given.normal(int(self.starts[-1]), width), given.normal(self.k, width)
        self.e, self.slope = (np.zeros((given.n, len(self.V))) for _ in range(2))
        for f, each in enumerate(self.edges):
            inside = np.digitize(wide(self.x[:, f]), each[1:-1])
            for t in range(bins[f]):
                part = (wide(self.x[:, f]) - each[t]) / (each[t + 1] - each[t])
                at = self.starts[f] + t
                self.e[:, at] = np.where(inside > t, 1, np.where(inside < t, 0, part))
                self.slope[:, at] = (inside == t) / (each[t + 1] - each[t])
        self.ends = self.k * width
        self.parts = wide(self.dy[:, : self.ends]).reshape(given.n, self.k, width)

    def of(self, f: int) -> slice:
        """The bins of a column."""
        return slice(self.starts[f], self.starts[f + 1])


def pieces(given: Given, width: int) -> Case:
    made = Pieces(given, width)
    z = [made.e[:, made.of(f)] @ wide(made.V[made.of(f)]) + made.c[f] for f in range(made.k)]
    wanted = np.hstack([*z, made.x[:, made.k :]])
    p = [made.x, made.left, made.size, made.starts, made.V, made.c, given.empty(*made.dy.shape)]
    return Case((given.n, made.columns, given.d, made.k, width), (), p, {6: wanted})


def pieces_dx(given: Given, width: int) -> Case:
    made = Pieces(given, width)
    through = [
        (made.parts[:, f] @ wide(made.V[made.of(f)]).T * made.slope[:, made.of(f)]).sum(axis=1)
        for f in range(made.k)
    ]
    wanted = np.column_stack([*through, made.dy[:, made.ends :]])
    p = [made.x, made.dy, made.left, made.size, made.starts, made.V, given.empty(*made.x.shape)]
    return Case((given.n, given.d, made.columns, made.k, width), (), p, {6: wanted})


def pieces_sums(given: Given, width: int) -> Case:
    made = Pieces(given, width)
    dV = [made.e[:, made.of(f)].T @ made.parts[:, f] for f in range(made.k)]
    wanted = {5: np.vstack(dV), 6: made.parts.sum(axis=0)}
    blank = [given.empty(*a.shape) for a in (made.V, made.c)]
    p = [made.x, made.dy, made.left, made.size, made.starts, *blank]
    return Case((len(made.V), given.n, given.d, made.k, width), (), p, wanted)


for form in (pieces, pieces_dx, pieces_sums):
    for wide_as in (1, 6):
        case(form.__name__)(lambda given, form=form, width=wide_as: form(given, width))
