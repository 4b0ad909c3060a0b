"""A column of truth values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpx.errors import InputError
from mlpx.records import require_count
from mlpx.tables.columns.base import Column, Encoded, missing_said
from mlpx.tables.columns.values import (
    floats_of,
    is_text,
    refuse_first,
    row_named,
    texts_of,
    type_of,
)
from mlpx.untrusted import brief

TRUE, FALSE = ("true", "yes", "1"), ("false", "no", "0")


@dataclass(frozen=True)
class Boolean(Column, name="boolean"):
    """1 for true, -1 for false, 0 where it is missing."""

    missing: int = 0

    def __post_init__(self) -> None:
        require_count("missing", self.missing, least=0)

    @classmethod
    def fit(cls, column: Any, *, name: str) -> Boolean:
        """What is in the training rows."""
        return cls(int((read_booleans(column, name=name) == 0).sum()))

    @property
    def flags(self) -> tuple[str, ...]:
        return ("",)

    def encode(self, column: Any, *, name: str, start: int = 0) -> Encoded:
        return Encoded([], [read_booleans(column, name=name, start=start)])

    def says(self) -> str:
        return f"true 1, false -1{missing_said(self.missing)}"


def read_booleans(column: Any, *, name: str, start: int = 0) -> np.ndarray:
    """1, -1 and 0 of a column of booleans, of 0 and 1 or of such words, float64 (n,).

    Raises InputError naming the first other value.
    """
    kind = type_of(column)
    if is_text(kind):
        texts = texts_of(column)
        words = pc.utf8_lower(texts.different)
        true = _among(words, TRUE)
        known = true | _among(words, FALSE)
        refuse_first(~known, texts, name, wanted="true or false", start=start)
        signs: np.ndarray = np.append(np.where(true, 1.0, -1.0), 0.0)[texts.rows]
        return signs
    if not (pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_integer(kind)
            or pa.types.is_floating(kind)):  # fmt: skip
        raise InputError(f"column {brief(repr(name))} is of type {kind}; wanted true or false")
    z = floats_of(column)
    bad = ~((z == 0) | (z == 1) | np.isnan(z))
    if bad.any():
        row = int(bad.argmax())
        raise InputError(
            f"column {brief(repr(name))} has {z[row]:g} in {row_named(row + start)}; wanted true "
            "or false, as in the rows that the model learnt from"
        )
    return np.where(np.isnan(z), 0.0, 2.0 * z - 1.0)


def _among(words: Any, known: tuple[str, ...]) -> np.ndarray:
    told: np.ndarray = pc.is_in(words, value_set=pa.array(known, words.type)).to_numpy(
        zero_copy_only=False
    )
    return told
