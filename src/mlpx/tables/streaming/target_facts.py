"""What one pass over all rows tells of the target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpx.tables.columns.values import floats_of, is_number, whole
from mlpx.tables.streaming.facts import refuse_infinite
from mlpx.tables.target import MOST_CLASSES, Target


class TargetFacts:
    """The target's different values, as far as they may be classes, and its moments."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: Any = None
        """The different values, a pyarrow array; more than there can be classes are not kept."""
        self.rows, self.mean, self.squares = 0, 0.0, 0.0
        """How many values there are, their mean, and the sum of squares around it."""
        self.low, self.high = np.inf, -np.inf

    def look(self, column: Any, says: Callable[[int], str]) -> None:
        """See some rows that have a value. Raises InputError for an infinite number."""
        column = whole(column)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if self.values is None or len(self.values) <= MOST_CLASSES:
            found = pc.unique(column)
            joined = found if self.values is None else pa.concat_arrays([self.values, found])
            self.values = pc.unique(joined)[: MOST_CLASSES + 1]
        if is_number(column.type):
            y = floats_of(column)
            refuse_infinite(y, self.name, says)
            self._join(y)

    def _join(self, y: np.ndarray) -> None:
        """Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing
        sample variances, 1979.
        """
        if not len(y):
            return
        mean, count = float(y.mean()), self.rows + len(y)
        apart, share = mean - self.mean, len(y) / count
        self.squares += float(((y - mean) ** 2).sum()) + apart**2 * self.rows * share
        self.mean += apart * share
        self.rows = count
        self.low, self.high = min(self.low, float(y.min())), max(self.high, float(y.max()))

    def sample(self, column: Any) -> Any:
        """The target of a sample, and behind it the different values."""
        column = whole(column)
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        return pa.concat_arrays([column, self.values])

    def correct(self, target: Target) -> Target:
        """What a sample said of the target, with the moments of all rows."""
        if target.task == "classification" or not self.rows:
            return target
        std = float(np.sqrt(self.squares / self.rows))
        return replace(target, mean=self.mean, std=std, low=self.low, high=self.high)
