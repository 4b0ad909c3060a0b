"""How a kernel's case is run and judged, by the simulator's tests and on a device alike."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from cudasim.cases.given import FLAT, POSITION, STEP, Case
from mlpx.engines.cuda.launches import COLUMNS, MOST_SUMMING, ROOM_BYTES, WIDEST

SHAPES = [(1, 1), (1, 257), (31, 3), (32, 32), (33, 10), (257, 1), (257, 33), (31, 65), (600, 11)]
FEW = {"softmax_head": [(1, 1), (33, 10), (5, 257), (70, 31)]}
"""Fewer shapes for what takes long in the simulator: an exchange of a warp for each output."""
SIZES = [1, 31, 32, 33, 257, 2049, 9001]
ORDERED = [(33, 10), (257, 33), (600, 11)]
"""The shapes of which every order of threads and blocks is tried, and of one row:"""
ORDERED_SIZES = [33, 2049, 9001]
TOLERANCE = 40
"""How wrong a number may be, in units of eps x (the array's largest + what it should be)."""
FILL, GUARD = 0x5A, 24
"""What stands around the arrays, and at least so many bytes of it."""
STATE = ROOM_BYTES
IN_PLACE = {
    "scale": (0, 1), "activation": (0, 1), "activation_back": (0, 2), "prelu_back": (0, 3),
    "softmax_back": (0, 2), "sum": (0, 2), "product": (1, 2), "standardise_rows_back": (0, 3),
    "standardise_columns_back": (0, 3), "scale_shift": (0, 3), "parametric_back": (0, 4),
}  # fmt: skip
"""What may be written to where it is read from."""
MANY = {
    "column_sum": (40_000, 3), "scale_shift_sums": (40_000, 3), "parametric_back": (40_000, 3),
    "sum_squares": (1, 400_000), "weighted_mean": (1, 400_000), "softmax_head": (2100, 3),
}  # fmt: skip
"""Shapes whose sums take many blocks."""


def shapes(name: str) -> list[tuple[int, int]]:
    """What a kernel is tried with."""
    return [(1, size) for size in SIZES] if name in FLAT else FEW.get(name, SHAPES)


def ordered(name: str) -> list[tuple[int, int]]:
    """Those of them that are run in every order of threads and blocks."""
    return [(1, size) for size in ORDERED_SIZES] if name in FLAT else FEW.get(name, ORDERED)[-3:]


def in_place(name: str, case: Case) -> Case:
    """The case with its result over what it is made of."""
    source, out = IN_PLACE[name]
    p = [case.p[source] if i == out else a for i, a in enumerate(case.p)]
    left = {i: wanted for i, wanted in case.wanted.items() if i != source}
    return case._replace(p=p, wanted=left)


class Wrong(NamedTuple):
    """The number of a result that is furthest off, `units` of eps x scale."""

    array: int
    at: int
    got: str
    wanted: str
    units: float


def errors(case: Case, found: list[Any], dtype: str) -> Iterator[Wrong]:
    """How far each result is off; not finite where a NaN or an integer is wrong."""
    for i, wanted in case.wanted.items():
        got = found[i].astype(np.float64).reshape(wanted.shape)
        units = np.ravel(distance(got, wanted, found[i].dtype, float(np.finfo(dtype).eps)))
        if units.size:
            at = int(units.argmax())
            yield Wrong(i, at, repr(got.flat[at]), repr(wanted.flat[at]), float(units[at]))


def distance(got: np.ndarray, wanted: np.ndarray, dtype: np.dtype, eps: float) -> np.ndarray:
    """|got - wanted| in units of eps x (scale + |wanted|), infinite where that says nothing."""
    same = (got == wanted) | (np.isnan(got) & np.isnan(wanted))
    if dtype.kind in "iu":
        return np.where(same, 0.0, np.inf)
    scale = float(np.abs(wanted[np.isfinite(wanted)]).max(initial=0))
    with np.errstate(all="ignore"):
        units = np.abs(got - wanted) / (eps * (min(scale, 1e30) + np.abs(wanted)))
    return np.where(same, 0.0, np.where(np.isfinite(units), units, np.inf))


class Packed:
    """A case in one piece of memory: room for sums, the state, and each array at an odd place with
    guards around it. `bytes` is what it is before the launch; it is to lie at a multiple of 16.
    """

    def __init__(self, case: Case) -> None:
        self.case = case
        self.places: list[int | None] = []
        held: dict[int, int] = {}
        end = STATE + 16
        for a in case.p:
            if a is not None and id(a) not in held:
                held[id(a)] = (end + GUARD) // 16 * 16 + 8  # no array is aligned to 16
                end = held[id(a)] + a.nbytes + GUARD
            self.places.append(None if a is None else held[id(a)])
        self.bytes = np.full(end, FILL, np.uint8)
        self.bytes[:STATE] = 0
        self.bytes[STATE : STATE + 16].view(np.int64)[:] = POSITION, STEP
        for a, into in zip(case.p, self.arrays(self.bytes), strict=True):
            if a is not None:
                into[...] = a

    def addresses(self, start: int) -> list[int]:
        """Where the arrays are in memory that starts there; 0 for none."""
        return [0 if place is None else start + place for place in self.places]

    def arrays(self, memory: np.ndarray) -> list[Any]:
        """The case's arrays in such memory."""
        return [
            None if place is None else memory[place:][: a.nbytes].view(a.dtype).reshape(a.shape)
            for a, place in zip(self.case.p, self.places, strict=True)
        ]

    def spoilt(self, after: np.ndarray) -> str | None:
        """What the launch changed and must not: tickets, state, what is only read, or guards."""
        changed = after != self.bytes
        changed[ROOM_BYTES - 2 * MOST_SUMMING * COLUMNS * WIDEST : ROOM_BYTES] = False
        for i in self.case.wanted:
            place = self.places[i]
            assert place is not None
            changed[place : place + self.case.p[i].nbytes] = False
        return self.name(int(changed.argmax())) if changed.any() else None

    def name(self, at: int) -> str:
        """What a byte belongs to."""
        if at < STATE:
            return "a ticket that the next launch would find"
        if at < STATE + 16:
            return "the state"
        for i, (a, place) in enumerate(zip(self.case.p, self.places, strict=True)):
            if place is not None and place <= at < place + a.nbytes:
                return f"p[{i}] is only read"
        return "written outside the arrays"
