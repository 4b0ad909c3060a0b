"""Encoded rows on the disk: from the second epoch on they are read instead of decoded again."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlpx.errors import InputError
from mlpx.tables.streaming.order import Span


class Rows(NamedTuple):
    """Numbers and targets of some rows, in host memory."""

    x: np.ndarray
    y: np.ndarray


class Cache:
    """A file without a name, which is gone when it is closed, however the process ends.

    parts: the rows that there are, by row group; `one` is like one of them, `most` how many are
    read at a time.
    """

    def __init__(
        self, folder: str | os.PathLike[str], parts: list[Span], one: Rows, *, most: int
    ) -> None:
        self._parts = {part.group: part for part in parts}
        counts = [part.stop - part.start for part in parts]
        firsts = np.cumsum([0, *counts])[:-1].tolist()
        self._first = {part.group: first for part, first in zip(parts, firsts, strict=True)}
        self._y_at = sum(counts) * one.x.nbytes
        self._room = Rows(*(np.empty((most, *each.shape[1:]), each.dtype) for each in one))
        self._reached = dict[int, int]()
        """Up to which row each row group is there, from its first on."""
        self.complete = set[int]()
        """The row groups of which all rows are there."""
        _require_room(Path(folder), self._y_at + sum(counts) * one.y.nbytes)
        self._folder = folder
        self._file: Any = None
        try:
            self._open().close()
        except OSError as error:
            raise _unusable(folder, error) from None

    def _open(self) -> Any:
        return tempfile.TemporaryFile(dir=self._folder, buffering=0)

    def write(self, span: Span, rows: Rows) -> None:
        """Keep the rows of a span. Raises OSError where the disk is full."""
        part = self._parts[span.group]
        if span.start != self._reached.get(span.group, part.start):
            return
        if self._file is None:
            self._file = self._open()
        for array, at in self._places(span, rows):
            _write(self._file.fileno(), array, at)
        self._reached[span.group] = span.stop
        if span.stop == part.stop:
            self.complete.add(span.group)

    def read(self, span: Span) -> Rows:
        """The rows of a span of a complete row group, until the next call."""
        count = span.stop - span.start
        rows = Rows(*(array[:count] for array in self._room))
        assert self._file is not None
        for array, at in self._places(span, rows):
            _read(self._file.fileno(), array, at)
        return rows

    def _places(self, span: Span, rows: Rows) -> list[tuple[np.ndarray, int]]:
        first = self._first[span.group] + span.start - self._parts[span.group].start
        x, y = (np.ascontiguousarray(array) for array in rows)
        return [(x, first * x[:1].nbytes), (y, self._y_at + first * y[:1].nbytes)]

    def close(self) -> None:
        """Give the disk's room back."""
        if self._file is not None:
            self._file.close()


def _require_room(folder: Path, needed: int) -> None:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise _unusable(folder, error) from None
    if free < needed:
        raise InputError(
            f"cache = {str(folder)!r} has {free:,} bytes free and the encoded rows take "
            f"{needed:,}: name a folder with more room, or leave it out"
        )


def _unusable(folder: str | os.PathLike[str], error: OSError) -> InputError:
    return InputError(f"cache = {str(folder)!r} is no folder to write to: {error.strerror}")


def _write(file: int, array: np.ndarray, at: int) -> None:
    left = memoryview(array).cast("B")
    while left:
        done = os.pwrite(file, left, at)
        left, at = left[done:], at + done


def _read(file: int, array: np.ndarray, at: int) -> None:
    left = memoryview(array).cast("B")
    while left:
        done = os.preadv(file, [left], at)
        if not done:
            raise OSError("the cache of encoded rows has become shorter")
        left, at = left[done:], at + done
