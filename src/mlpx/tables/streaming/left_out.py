"""Rows that are left out of a stream: a bit for each."""

from __future__ import annotations

from typing import Any, Self

import numpy as np

from mlpx.errors import InputError, InputTypeError


class LeftOut:
    """Which of n rows are left out; none at first."""

    def __init__(self, n: int) -> None:
        self.n, self.count = n, 0
        self._bits: np.ndarray | None = None
        """Packed; 1 for those that are left out."""

    def kept(self, first: int, rows: int) -> np.ndarray | None:
        """Which of so many rows, from `first` on, are not left out; None for all of them."""
        if self._bits is None:
            return None
        bits = np.unpackbits(self._bits[first // 8 : -(-(first + rows) // 8)])
        kept = ~bits[first % 8 : first % 8 + rows].view(bool)
        return None if kept.all() else kept

    def and_also(self, rows: Any) -> Self:
        """These and more, by their numbers. Raises InputTypeError, InputError."""
        rows = np.asarray(rows)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise InputTypeError(f"rows is of {rows.dtype} {rows.shape}; wanted numbers of rows")
        if len(rows) and (rows.min() < 0 or rows.max() >= self.n):
            raise InputError(f"rows has numbers beyond the {self.n:,} rows of the files")
        made = type(self)(self.n)
        empty = self._bits is None
        made._bits = np.zeros(-(-self.n // 8), np.uint8) if empty else np.array(self._bits)
        np.bitwise_or.at(made._bits, rows >> 3, (128 >> (rows & 7)).astype(np.uint8))
        made.count = int(np.bitwise_count(made._bits).sum())
        return made
