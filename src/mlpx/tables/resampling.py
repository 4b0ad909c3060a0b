"""The bootstrap: rows of held-out data drawn again and again, to see how far a score is chance."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from mlpx.errors import InputError
from mlpx.random import Purpose, integers, words
from mlpx.records import require_count

RESAMPLES = 1000
BLOCKS = 10_000
"""How many parts are drawn from: rows, or parts of them if there are more rows."""
ELEMENTS = 1 << 22
"""How many weights of rows are in memory at a time."""


@dataclass(frozen=True, eq=False)
class Resamples:
    """`count` draws of n rows with replacement, the same for all scores that are to be compared.

    blocks (n,): the part each row belongs to, 0, 1, ...; parts are drawn whole. They are the
    `groups` (n,) of rows that depend on each other, or single rows; of more than 10,000 rows they
    are random parts, whose sums scatter as those of single rows do.
    """

    blocks: np.ndarray
    count: int = RESAMPLES
    seed: int = 0

    @classmethod
    def of(
        cls, n: int, *, groups: np.ndarray | None = None, count: int = RESAMPLES, seed: int = 0
    ) -> Resamples:
        """Draws of n rows. Raises InputError if there are no rows, or not one group for each."""
        require_count("count", count)
        if n == 0:
            raise InputError("there are no held-out rows to score; hold out at least one")
        if groups is not None:
            if len(groups) != n:
                raise InputError(
                    f"groups has {len(groups)} rows; wanted {n}, as there are held out"
                )
            return cls(np.unique(groups, return_inverse=True)[1].reshape(n), count, seed)
        if n <= BLOCKS:
            return cls(np.arange(n), count, seed)
        raw = words(seed, Purpose.RESAMPLE, count=n, item=1)
        return cls(integers(raw, BLOCKS), count, seed)

    @cached_property
    def times(self) -> np.ndarray:
        """How often each draw has each part: float32 (count, parts)."""
        parts = int(self.blocks.max()) + 1
        times = np.empty((self.count, parts), np.float32)
        for i in range(self.count):
            raw = words(self.seed, Purpose.RESAMPLE, count=parts, step=i)
            times[i] = np.bincount(integers(raw, parts), minlength=parts)
        return times

    def sums(self, columns: np.ndarray) -> np.ndarray:
        """The sum over each draw's rows of `columns` (n, s): (count, s)."""
        parts = self.times.shape[1]
        whole = np.empty((parts, columns.shape[1]))
        for column, into in zip(columns.T, whole.T, strict=True):
            into[...] = np.bincount(self.blocks, column, minlength=parts)
        found = [times.astype(np.float64) @ whole for times in self._chunks(self.times, parts)]
        return np.concatenate(found)

    def weights(self) -> Iterator[np.ndarray]:
        """How often each row is drawn, some draws at a time: (draws, n)."""
        for times in self._chunks(self.times, len(self.blocks)):
            yield times[:, self.blocks]

    @staticmethod
    def _chunks(times: np.ndarray, width: int) -> Iterator[np.ndarray]:
        rows = max(1, ELEMENTS // width)
        return (times[start : start + rows] for start in range(0, len(times), rows))
