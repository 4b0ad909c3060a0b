"""A column of dates, with a time of day or without."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from mlpx.errors import InputError
from mlpx.records import require, require_count, require_flag
from mlpx.tables.columns.base import Column, Encoded, missing_said
from mlpx.tables.columns.values import (
    LARGEST,
    is_text,
    is_time,
    refuse_first,
    texts_of,
    times_of,
    type_of,
)
from mlpx.untrusted import brief

PARTS = ("year", "month", "day", "weekday", "days since 1970", "hour")
DAY = np.timedelta64(1, "D")


@dataclass(frozen=True)
class Date(Column, name="date"):
    """Year, month, day, weekday (0: Monday), days since 1970 and, if a training row was not at
    midnight, the hour; each of their medians where it is missing. In UTC, if a zone is named.
    """

    medians: tuple[float, ...]
    missing: int = 0
    tolerant: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.medians, tuple) or len(self.medians) not in (5, 6):
            raise InputError(f"medians = {self.medians!r}; it must be a list of 5 or 6 numbers")
        for median in self.medians:
            require("a median", median, least=-LARGEST, most=LARGEST)
        require_count("missing", self.missing, least=0)
        require_flag("tolerant", self.tolerant)

    @classmethod
    def fit(cls, column: Any, *, name: str, tolerant: bool = False) -> Date:
        """What is in the training rows, of which one at least has a date."""
        times = read_times(column, name=name, tolerant=tolerant)
        there = times[~np.isnat(times)]
        hours = bool((there != there.astype("datetime64[D]")).any())
        medians = tuple(float(np.median(part)) for part in parts(there, hours))
        return cls(medians, len(times) - len(there), tolerant)

    @property
    def continuous(self) -> tuple[str, ...]:
        return tuple(f" {part}" for part in PARTS[: len(self.medians)])

    @property
    def flags(self) -> tuple[str, ...]:
        return (" is missing",) if self.missing else ()

    def encode(self, column: Any, *, name: str, start: int = 0) -> Encoded:
        times = read_times(column, name=name, tolerant=self.tolerant, start=start)
        lacking = np.isnat(times)
        times[lacking] = np.datetime64(0, "us")
        found = parts(times, len(self.medians) == len(PARTS))
        for values, median in zip(found, self.medians, strict=True):
            values[lacking] = median
        return Encoded(found, [lacking.astype(np.float64)] if self.missing else [])

    def says(self) -> str:
        hour = ", hour" if len(self.medians) == len(PARTS) else ""
        told = "year, month, day, weekday, days since 1970"
        return f"{told}{hour}{missing_said(self.missing)}"


def parts(times: np.ndarray, hours: bool) -> list[np.ndarray]:
    """The numbers of times datetime64[us], none of them NaT; days with a fraction if with hours."""
    days, months = times.astype("datetime64[D]"), times.astype("datetime64[M]")
    since = days.astype(np.int64)
    found = [
        times.astype("datetime64[Y]").astype(np.int64) + 1970,
        months.astype(np.int64) % 12 + 1,
        (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
        (since + 3) % 7,  # 1970 began on a Thursday
        (times - np.datetime64(0, "us")) / DAY if hours else since,
    ]
    if hours:
        found.append((times - days) // np.timedelta64(1, "h"))
    return [np.asarray(part, np.float64) for part in found]


def read_times(column: Any, *, name: str, tolerant: bool, start: int = 0) -> np.ndarray:
    """The times of a column of dates or of texts in the form of ISO 8601, datetime64[us] (n,).

    Raises InputError for a text that is none unless `tolerant`, and for a column of another type.
    """
    kind = type_of(column)
    if is_text(kind):
        texts = texts_of(column)
        values, unread = texts.times
        if not tolerant:
            refuse_first(unread, texts, name, wanted="dates such as 2024-02-29", start=start)
        times: np.ndarray = np.append(values, np.datetime64("NaT"))[texts.rows]
        return times
    if pa.types.is_null(kind):
        return np.full(len(column), np.datetime64("NaT"), "datetime64[us]")
    if not is_time(kind):
        raise InputError(f"column {brief(repr(name))} is of type {kind}; wanted dates")
    return times_of(column, name)
