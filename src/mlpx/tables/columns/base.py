"""What all kinds of columns have in common."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mlpx.records import Record


class Encoded(NamedTuple):
    """A column as numbers: each array has one number a row, and none is NaN."""

    continuous: list[np.ndarray]
    """Measures, float64: a network may embed them."""
    flags: list[np.ndarray]
    """Of a few values each, float64."""
    codes: np.ndarray | None = None
    """Which category, int64; 0 for none and for an unknown one."""


class Column(Record, kind="column"):
    """Base of the kinds of columns: what was found in the training rows, and what follows of it."""

    @property
    def continuous(self) -> tuple[str, ...]:
        """The measures it becomes, each by what is added to the column's name."""
        return ()

    @property
    def flags(self) -> tuple[str, ...]:
        """The numbers of a few values that it becomes, likewise."""
        return ()

    @property
    def size(self) -> int:
        """How many codes it has, 0 among them; 0 if it becomes no code."""
        return 0

    def encode(self, column: Any, *, name: str, start: int = 0) -> Encoded:
        """The rows of a pyarrow array as numbers; messages count from row `start`.

        Raises InputError naming the column, the first value that it cannot have and its row.
        """
        raise NotImplementedError

    def says(self) -> str:
        """What was found, in a few words."""
        raise NotImplementedError


def missing_said(missing: int) -> str:
    """How many values are missing, at the end of a sentence."""
    return f"; {missing:,} missing" if missing else ""
