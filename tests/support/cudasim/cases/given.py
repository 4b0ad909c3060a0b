"""What a case is: one launch, what it is given, and what it must leave."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

POSITION, STEP = 2, 7
"""Where the launches are: in the epoch's tables, and in all."""
TABLE = 5
"""Rows of such a table."""


class Case(NamedTuple):
    """One launch: n, c and p, and what the arrays are afterwards, by their places in p."""

    n: tuple[int, ...]
    c: tuple[float, ...]
    p: list[Any]
    wanted: dict[int, np.ndarray]


Maker = Callable[["Given"], Case]
CASES: dict[str, list[Maker]] = {}
FLAT: set[str] = set()
"""Kernels of flat arrays: they are given one row."""
SINGLE = {"to_bf16", "to_fp16"}
"""Kernels that are tried with float32 alone: rounding twice is another number."""


class Given:
    """Numbers by chance, of one dtype, for arrays of (n, d)."""

    def __init__(self, dtype: str, n: int, d: int) -> None:
        self.dtype, self.n, self.d = np.dtype(dtype), n, d
        self.rng = np.random.default_rng([n, d])

    def normal(self, *shape: int) -> np.ndarray:
        return self.rng.normal(size=shape).astype(self.dtype)

    def between(self, low: float, high: float, *shape: int) -> np.ndarray:
        return self.rng.uniform(low, high, size=shape).astype(self.dtype)

    def labels(self, low: int = 0) -> np.ndarray:
        return self.rng.integers(low, self.d, size=self.n)

    def empty(self, *shape: int) -> np.ndarray:
        return np.full(shape, np.nan, self.dtype)

    def rounded(self, value: float) -> float:
        """As the kernel has it."""
        return float(self.dtype.type(value))


def case(*names: str, flat: bool = False) -> Callable[[Maker], Maker]:
    """Enters a function in CASES."""

    def enter(make: Maker) -> Maker:
        for name in names:
            CASES.setdefault(name, []).append(make)
            FLAT.update({name} if flat else set())
        return make

    return enter


def wide(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float64)
