"""A column of numbers."""

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
    check_range,
    floats_of,
    is_number,
    is_text,
    refuse_first,
    texts_of,
    type_of,
)
from mlpx.untrusted import brief


@dataclass(frozen=True)
class Number(Column, name="number"):
    """The number, or the training rows' median where it is missing.

    Where it was missing in training rows too, a flag says so. `tolerant`: some of its texts were
    no numbers and counted as missing.
    """

    median: float = 0.0
    missing: int = 0
    tolerant: bool = False

    def __post_init__(self) -> None:
        require("median", self.median, least=-LARGEST, most=LARGEST)
        require_count("missing", self.missing, least=0)
        require_flag("tolerant", self.tolerant)

    @classmethod
    def fit(cls, column: Any, *, name: str, tolerant: bool = False) -> Number:
        """What is in the training rows, of which one at least has a number."""
        z = read_numbers(column, name=name, tolerant=tolerant)
        there = z[~np.isnan(z)]
        return cls(float(np.median(there)), len(z) - len(there), tolerant)

    @property
    def continuous(self) -> tuple[str, ...]:
        return ("",)

    @property
    def flags(self) -> tuple[str, ...]:
        return (" is missing",) if self.missing else ()

    def encode(self, column: Any, *, name: str, start: int = 0) -> Encoded:
        z = read_numbers(column, name=name, tolerant=self.tolerant, start=start)
        lacking = np.isnan(z)
        z[lacking] = self.median
        return Encoded([z], [lacking.astype(np.float64)] if self.missing else [])

    def says(self) -> str:
        return f"median {self.median:g}{missing_said(self.missing)}"


def read_numbers(column: Any, *, name: str, tolerant: bool, start: int = 0) -> np.ndarray:
    """The numbers of a column of numbers, booleans or texts, float64 (n,), NaN where it has none.

    Raises InputError for a text that is no number unless `tolerant`, and for what is too large.
    """
    kind = type_of(column)
    if is_text(kind):
        texts = texts_of(column)
        values, unread = texts.numbers
        if not tolerant:
            refuse_first(unread, texts, name, wanted="numbers", start=start)
        z: np.ndarray = np.append(values, np.nan)[texts.rows]
    elif is_number(kind) or pa.types.is_boolean(kind) or pa.types.is_time(kind):
        z = floats_of(column)
    else:
        raise InputError(f"column {brief(repr(name))} is of type {kind}; wanted numbers")
    check_range(z, name, start)
    return z
