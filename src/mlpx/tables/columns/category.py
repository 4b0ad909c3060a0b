"""A column of categories."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpx.errors import InputError
from mlpx.records import require_count, require_flag
from mlpx.tables.columns.base import Column, Encoded, missing_said
from mlpx.tables.columns.values import Texts, check_type, is_text, texts_of, type_of

ONE_HOT = 9
"""Up to so many categories have a number each; more are coded."""
MOST = 9_999
"""Categories that are kept, the most frequent ones."""


@dataclass(frozen=True)
class Category(Column, name="category"):
    """Which of `values`, in order: with two of them 1 or -1, up to nine of them a flag for each,
    else a code, 1 for the first. 0, or no flag, where it is missing or none of them.

    `left_out`: how many more categories there are in the training rows. `of_text`: whether they
    were texts there, so that "01" is not 1. `one_hot`: how many have a flag each, if not nine.
    """

    values: tuple[str, ...]
    missing: int = 0
    left_out: int = 0
    of_text: bool = True
    one_hot: int = ONE_HOT

    def __post_init__(self) -> None:
        given = self.values
        if not isinstance(given, tuple) or not all(isinstance(value, str) for value in given):
            raise InputError("values must be a list of texts")
        if not 1 <= len(given) <= MOST:
            raise InputError(f"{len(given)} values; there must be 1 to {MOST}")
        if any(b <= a for a, b in pairwise(given)):
            raise InputError("values must differ and be in order")
        require_count("missing", self.missing, least=0)
        require_count("left_out", self.left_out, least=0)
        require_count("one_hot", self.one_hot)
        require_flag("of_text", self.of_text)

    @classmethod
    def fit(cls, column: Any, *, name: str, one_hot: int = ONE_HOT) -> Category:
        """What is in the training rows; of more than 9,999 categories the most frequent ones."""
        texts = texts_of(column)
        values, left_out = frequent(texts)
        missing, of_text = int((texts.rows < 0).sum()), is_text(type_of(column))
        return cls(values, missing, left_out, of_text, one_hot)

    @property
    def flags(self) -> tuple[str, ...]:
        if self.size:
            return ()
        return ("",) if len(self.values) == 2 else tuple(f" = {value}" for value in self.values)

    @property
    def size(self) -> int:
        return len(self.values) + 1 if len(self.values) > self.one_hot else 0

    def encode(self, column: Any, *, name: str, start: int = 0) -> Encoded:
        check_type(column, name)
        codes = self.codes(texts_of(column))
        if self.size:
            return Encoded([], [], codes)
        if len(self.values) == 2:
            return Encoded([], [np.array([0.0, -1.0, 1.0])[codes]])
        return Encoded([], [(codes == j + 1).astype(np.float64) for j in range(len(self.values))])

    def codes(self, texts: Texts) -> np.ndarray:
        """1, 2, ... for each value, 0 for others, int64 (n,)."""
        known = pa.array(self.values, pa.large_string())
        at = pc.fill_null(pc.index_in(texts.different, value_set=known), -1)
        codes: np.ndarray = np.append(at.to_numpy(zero_copy_only=False) + 1, 0)[texts.rows]
        return codes.astype(np.int64, copy=False)

    def says(self) -> str:
        rest = f"; {self.left_out:,} rare ones count as unknown" if self.left_out else ""
        s = "" if len(self.values) == 1 else "s"
        return f"{len(self.values):,} value{s}{rest}{missing_said(self.missing)}"


def frequent(texts: Texts) -> tuple[tuple[str, ...], int]:
    """The most frequent texts in order, of equally frequent ones the first; how many are left out.

    Only texts of the least frequency that is kept need to be compared.
    """
    counts, different = texts.counts, texts.different
    if len(counts) > MOST:
        least = np.partition(counts, -MOST)[-MOST]
        sure, equal = np.flatnonzero(counts > least), np.flatnonzero(counts == least)
        order = pc.sort_indices(different.take(pa.array(equal))).to_numpy()
        kept = np.concatenate([sure, equal[order[: MOST - len(sure)]]])
        different = different.take(pa.array(kept))
    return tuple(sorted(different.to_pylist())), len(counts) - len(different)
