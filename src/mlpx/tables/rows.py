"""Rows of a table, as estimators learn from them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from mlpx.tables.given import counted
from mlpx.tables.presets import FEW_ROWS

MOST_COUNTED = 1_000_000


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows with encoded targets y (n,), and their weights, None if all count the same."""

    table: pa.Table
    y: np.ndarray
    w: np.ndarray | None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: np.ndarray) -> Rows:
        """Some of the rows."""
        return Rows(self.table.take(rows), self.y[rows], None if self.w is None else self.w[rows])

    def counted(self) -> Rows:
        """Few rows as often as whole-number weights say, to look at rather than to train on."""
        rows = counted(self.w, most=MOST_COUNTED) if len(self) < FEW_ROWS else None
        return self if rows is None else self.take(rows)

    def that_count(self) -> Rows:
        """Without the rows of weight zero: they say nothing about the columns either."""
        if self.w is None or (self.w > 0).all():
            return self
        return self.take(np.flatnonzero(self.w > 0))
