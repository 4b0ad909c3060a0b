"""What one pass over all rows tells of a column exactly, beside what a sample of them does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from mlpx.errors import InputError
from mlpx.tables.columns import Boolean, Category, Column, Date, Number
from mlpx.tables.columns.category import MOST, frequent
from mlpx.tables.columns.values import (
    LARGEST,
    Texts,
    floats_of,
    is_number,
    is_text,
    texts_of,
    type_of,
)
from mlpx.untrusted import brief

MOST_TEXTS = 10 * MOST
"""Of more different texts than that, the rarest are forgotten from time to time."""
HOPELESS = 0.5
"""A column of which more texts are no numbers is none of numbers."""


class Facts:
    """What was found in a column; `look` is called with its rows, some at a time."""

    def __init__(self, name: str, *, wanted: str | None = None) -> None:
        self.name, self.is_category = name, wanted == "category"
        self.rows = self.missing = 0
        self.low, self.high = np.inf, -np.inf
        self.counts = Counts()
        self.unread: dict[str, int | None] = {"number": 0, "date": 0}
        """Of how many rows the text is no number, or no date; None where most are not."""

    def look(self, column: Any, says: Callable[[int], str]) -> list[int]:
        """See some rows; returns those that a sample should have: the first without a value, and
        the least and the largest number so far.

        says: what to call a row. Raises InputError for an infinite number.
        """
        kind, first = type_of(column), self.missing == 0
        if is_text(kind) or pa.types.is_dictionary(column.type) or self.is_category:
            lacking, found = self._look_at_texts(texts_of(column)), list[int]()
        elif is_number(kind):
            z = floats_of(column)
            refuse_infinite(z, self.name, says)
            lacking, found = np.isnan(z), self._extremes(z)
        else:
            lacking, found = column.is_null().to_numpy(), list[int]()
        self.rows += len(column)
        self.missing += int(lacking.sum())
        return [*found, *([int(lacking.argmax())] if first and self.missing else [])]

    def _extremes(self, z: np.ndarray) -> list[int]:
        found = []
        if not np.isnan(z).all():
            low, high = int(np.nanargmin(z)), int(np.nanargmax(z))
            if z[low] < self.low:
                self.low = float(z[low])
                found.append(low)
            if z[high] > self.high:
                self.high = float(z[high])
                found.append(high)
        return found

    def _look_at_texts(self, texts: Texts) -> np.ndarray:
        self.counts.add(texts.different, texts.counts)
        total = max(1, int(texts.counts.sum()))
        for kind, before in self.unread.items():
            if before is not None:
                read = texts.numbers if kind == "number" else texts.times
                unread = int(texts.counts[read.unread].sum())
                self.unread[kind] = None if unread > HOPELESS * total else before + unread
        lacking: np.ndarray = texts.rows < 0
        return lacking

    def correct(self, column: Column) -> Column:
        """What a sample said of the column, with what all rows say instead where that is known."""
        if isinstance(column, Category):
            values, left_out = self.counts.frequent()
            return replace(column, values=values, missing=self.missing, left_out=left_out)
        kind = "number" if isinstance(column, Number) else "date"
        unread = self.unread[kind] or 0
        if isinstance(column, Number | Date):
            tolerant = column.tolerant or unread > 0
            return replace(column, missing=self.missing + unread, tolerant=tolerant)
        return replace(column, missing=self.missing) if isinstance(column, Boolean) else column

    def notes(self, column: Column) -> tuple[str, ...]:
        """What there is to say of texts, if a sample did not say it."""
        corrected, told = self.correct(column), brief(repr(self.name))
        if isinstance(corrected, Number | Date) and corrected != column and corrected.tolerant:
            kind = "number" if isinstance(column, Number) else "date"
            return (
                f"column {told} is taken for {kind}s; {self.unread[kind]:,} of its texts are none "
                "and count as missing",
            )
        if self.counts.forgot:
            return (
                f"column {told} has more than {MOST_TEXTS:,} categories; which are the most "
                "frequent ones was not counted exactly",
            )
        return ()


class Top(NamedTuple):
    """Different texts and how many rows have each."""

    different: Any
    counts: np.ndarray


class Counts:
    """How often each text of a column occurs, in bounded memory."""

    def __init__(self) -> None:
        self.top = Top(pa.array([], pa.large_string()), np.zeros(0, np.int64))
        self.waiting = list[Top]()
        self.forgot = False
        """Whether rare texts were forgotten: what occurs again is then counted from 0."""

    def add(self, different: Any, counts: np.ndarray) -> None:
        """Count so many more rows with these texts."""
        self.waiting.append(Top(different, counts))
        if sum(len(each.counts) for each in self.waiting) > max(MOST_TEXTS, len(self.top.counts)):
            self._merge()

    def _merge(self) -> None:
        every = [self.top, *self.waiting]
        packed = pa.concat_arrays([each.different for each in every]).dictionary_encode()
        rows = np.concatenate([each.counts for each in every])
        which, different = packed.indices.to_numpy(), packed.dictionary
        counts = np.bincount(which, rows, len(different)).astype(np.int64)  # exact below 2**53
        self.waiting = []
        if len(counts) > 2 * MOST_TEXTS:
            self.forgot = True
            kept = np.sort(np.argsort(-counts, kind="stable")[:MOST_TEXTS])
            different, counts = different.take(pa.array(kept)), counts[kept]
        self.top = Top(different, counts)

    def frequent(self) -> tuple[tuple[str, ...], int]:
        """The most frequent texts in order, and how many are left out, as `Category.fit` finds."""
        self._merge()
        top: Any = self.top
        return frequent(top)


def refuse_infinite(z: np.ndarray, name: str, says: Callable[[int], str]) -> None:
    """Raise InputError for the first number that no column can have, saying which row it is."""
    with np.errstate(invalid="ignore"):
        bad = np.flatnonzero(np.abs(z) > LARGEST)
    if len(bad):
        given = "an infinite number" if np.isinf(z[bad[0]]) else f"{z[bad[0]]:g}"
        raise InputError(
            f"column {brief(repr(name))} has {given} in {says(int(bad[0]))}; wanted numbers up to "
            f"{LARGEST:g} in size, or nothing where there is none"
        )
