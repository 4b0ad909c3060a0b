"""A row group that is open: its rows are decoded in order, as many at a time as are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mlpx.tables.streaming.files import Group, ParquetFiles


class Lane:
    """The rows of a row group that are `kept`, (rows,) booleans or None for all of them.

    `skip`: how many of these are decoded and thrown away first.
    """

    def __init__(
        self, files: ParquetFiles, group: Group, *, block: int, kept: np.ndarray | None, skip: int
    ) -> None:
        self.files, self.group = files, group
        self._batches = files.read(group, rows=block)
        self._kept, self._row = kept, 0
        """`_row`: how many rows of the group were decoded."""
        self._left: Any = None
        """What is left of the last batch."""
        while skip:
            batch = self._next(skip)
            skip -= len(batch)

    def read(self, count: int) -> list[Any]:
        """The next `count` rows, as record batches."""
        found = []
        while count:
            found.append(self._next(count))
            count -= len(found[-1])
        return found

    def _next(self, most: int) -> Any:
        """Some of the next rows, at most so many and perhaps none."""
        batch = self._left if self._left is not None else self._decoded()
        self._left = batch.slice(most) if len(batch) > most else None
        return batch.slice(0, most)

    def _decoded(self) -> Any:
        batch = next(self._batches)
        first, self._row = self._row, self._row + len(batch)
        if self._kept is None:
            return batch
        mask = self._kept[first : self._row]
        return batch if mask.all() else batch.filter(pa.array(mask))

    def finish(self) -> None:
        """Close the file after the last row. Raises DataError if it changed meanwhile."""
        self.close()
        self.files.check(self.files.files[self.group.file])

    def close(self) -> None:
        """Close the file."""
        self._left = None
        self._batches.close()
