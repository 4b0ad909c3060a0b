"""Parquet files of one schema: what their footers say, and their rows, some at a time."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Iterable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mlpx.errors import DataError, DataFormatError, DataNotFoundError, InputError, InputTypeError
from mlpx.tables.columns.values import is_text
from mlpx.tables.table import require_columns
from mlpx.untrusted import brief

SUFFIX = ".parquet"
READ_BYTES = 1 << 16
"""How much of a column of an open row group is read at a time."""
FOOTERS = 8
CHUNK_BYTES = 1 << 10
"""What a footer takes in memory for each column of each row group."""
PAGE_BYTES = 1 << 20
TAIL = 8
"""A Parquet file ends with its footer's length, in four bytes, and four letters."""


class Group(NamedTuple):
    """A row group: which of a file's it is, and the number of its first row among all rows."""

    file: int
    number: int
    first: int
    rows: int
    page_bytes: int
    """About what the pages take that are open while it is read."""


@dataclass(frozen=True)
class File:
    """A file as it was when it was opened first."""

    path: Path
    size: int
    changed_ns: int
    digest: str
    """Of its footer, in which is where everything lies."""
    footer_bytes: int
    """About what the footer takes in memory."""


class ParquetFiles:
    """Files whose rows are numbered from 0 on, in the order of the files."""

    def __init__(self, paths: Any, *, columns: Iterable[str] | None = None) -> None:
        self.files, self.groups = list[File](), list[Group]()
        self.schema: Any = None
        self.packed = list[str]()
        """Columns of texts that are decoded as dictionaries, which takes less time and memory."""
        self.rows = 0
        self._footers = dict[Path, Any]()
        """Of the files that were opened last: of a large file one takes more than its rows do."""
        for path in listed(paths):
            self._add(path, None if columns is None else list(columns))
        if not self.rows:
            raise DataFormatError(f"{self.files[0].path} has no rows{self._and_more()}")

    def _and_more(self) -> str:
        more = len(self.files) - 1
        return f", nor have the {more} other files" if more else ""

    def _add(self, path: Path, columns: list[str] | None) -> None:
        size, changed_ns = stamp(path)
        with opened(path) as file:
            schema, footer = file.schema_arrow.remove_metadata(), file.metadata
            if columns is not None:
                require_columns(schema.empty_table(), columns)
                schema = pa.schema([schema.field(name) for name in columns])
            self._same(schema, path)
            groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        for number, group in enumerate(groups):
            bytes_open = sum(_page_bytes(group.column(j)) for j in range(group.num_columns))
            found = Group(len(self.files), number, self.rows, group.num_rows, bytes_open)
            self.groups.append(found)
            self.rows += group.num_rows
        footer_bytes = CHUNK_BYTES * footer.num_columns * footer.num_row_groups
        self.files.append(File(path, size, changed_ns, digest(path), footer_bytes))

    def _same(self, schema: Any, path: Path) -> None:
        """Raise DataFormatError unless a file has the columns of the first."""
        if self.schema is None:
            self.schema = schema
        ours, theirs = _types(self.schema), _types(schema)
        first = self.files[0].path if self.files else path
        told = [f"has no column {name!r}, {first} has" for name in ours if name not in theirs]
        told += [f"has a column {name!r}, {first} has none" for name in theirs if name not in ours]
        told += [
            f"has {name!r} of type {theirs[name]}, {first} of type {kind}"
            for name, kind in ours.items()
            if theirs.get(name, kind) != kind
        ]
        if told:
            raise DataFormatError(f"{path} {brief('; '.join(told))}; the files must agree")

    def select(self, columns: Iterable[str]) -> Self:
        """The same rows with only some of the columns."""
        wanted = list(columns)
        require_columns(self.schema.empty_table(), wanted)
        made = copy(self)
        made.schema = pa.schema([self.schema.field(name) for name in wanted])
        return made

    def pack(self) -> Self:
        """The same with texts as dictionaries."""
        made, kinds = copy(self), _types(self.schema)
        made.packed = [name for name, kind in kinds.items() if is_text(kind)]
        for name in made.packed:
            # whatever type of text was written, this is how the reader packs it
            field = pa.field(name, pa.dictionary(pa.int32(), pa.string()))
            made.schema = made.schema.set(made.schema.get_field_index(name), field)
        return made

    @property
    def names(self) -> list[str]:
        """The columns that are read."""
        return list(self.schema.names)

    def check(self, file: File) -> None:
        """Raise DataError if a file is not what it was."""
        try:
            size, changed_ns = stamp(file.path)
        except DataNotFoundError:
            raise DataError(f"{file.path} is gone; it is read anew in every epoch") from None
        if (size, changed_ns) != (file.size, file.changed_ns):
            raise DataError(
                f"{file.path} changed while it was in use: it had {file.size:,} bytes and has "
                f"{size:,}. Write tables under another name and rename them"
            )

    def read(self, group: Group, *, rows: int) -> Generator[Any, None, None]:
        """The record batches of a row group, of at most so many rows each.

        Raises DataError if the file changed, DataFormatError if it cannot be read.
        """
        file = self.files[group.file]
        self.check(file)
        try:
            with self._opened(file.path) as source:
                yield from source.iter_batches(
                    rows, row_groups=[group.number], columns=self.names, use_threads=False
                )
        except MemoryError:  # of which pyarrow's is one of its own errors too
            raise
        except (pa.ArrowException, OSError) as error:
            self.check(file)
            raise DataFormatError(
                f"{file.path}: row group {group.number} cannot be read: {brief(str(error))}"
            ) from error

    def _opened(self, path: Path) -> Any:
        """The file, by the footer that was read before if it is among the last."""
        found = opened(path, packed=self.packed, footer=self._footers.pop(path, None))
        self._footers[path] = found.metadata
        if len(self._footers) > FOOTERS:
            del self._footers[next(iter(self._footers))]
        return found

    @property
    def footer_bytes(self) -> int:
        """What footers take in memory at most."""
        return sum(sorted(file.footer_bytes for file in self.files)[-FOOTERS:])

    def says(self, row: int) -> str:
        """Where a row is: which of which file."""
        at = np.searchsorted([group.first for group in self.groups], row, side="right") - 1
        file = self.groups[at].file
        first = next(group.first for group in self.groups if group.file == file)
        return f"row {row - first:,} of {self.files[file].path}"

    def identity(self) -> str:
        """What tells these rows from others: a hash of the columns and of the files' footers."""
        parts = [*(f"{name} {kind}" for name, kind in _types(self.schema).items())]
        parts += [file.digest for file in self.files]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _page_bytes(chunk: Any) -> int:
    """A page and a dictionary, as they are stored and decompressed, of 1 MiB each as is usual."""
    return READ_BYTES + min(2 * PAGE_BYTES, int(chunk.total_uncompressed_size))


def _types(schema: Any) -> dict[str, Any]:
    return dict(zip(schema.names, schema.types, strict=True))


def listed(paths: Any) -> list[Path]:
    """The files that are meant by the path of a file or of a folder, or by several of them.

    Raises DataNotFoundError for what is not there, and for a folder without Parquet files.
    """
    given = paths if isinstance(paths, Sequence) and not isinstance(paths, str | bytes) else [paths]
    if not given:
        raise InputError("paths is empty; wanted the path of a Parquet file, or of a folder")
    found = list[Path]()
    for each in given:
        if not isinstance(each, str | os.PathLike):
            raise InputTypeError(f"paths holds {brief(repr(each))}; wanted paths of Parquet files")
        found += _inside(Path(each))
    return found


def _inside(path: Path) -> list[Path]:
    if not path.is_dir():
        stamp(path)
        return [path]
    inside = sorted(p for p in path.iterdir() if p.suffix == SUFFIX and p.name[0] not in "._")
    if not inside:
        raise DataNotFoundError(f"{path} has no files *{SUFFIX}")
    return inside


def stamp(path: Path) -> tuple[int, int]:
    """A file's size, and when it changed last."""
    try:
        found = path.stat()
    except OSError as error:
        raise DataNotFoundError(f"{path} cannot be read: {error.strerror}") from None
    return found.st_size, found.st_mtime_ns


def opened(path: Path, *, packed: Sequence[str] = (), footer: Any = None) -> Any:
    """The file as pyarrow has it, reading little at a time. Raises DataFormatError, DataError."""
    try:
        return pq.ParquetFile(
            path, metadata=footer, buffer_size=READ_BYTES, pre_buffer=False,
            read_dictionary=list(packed),
        )  # fmt: skip
    except MemoryError:
        raise
    except pa.ArrowException as error:
        raise DataFormatError(f"{path} is not a Parquet file: {brief(str(error))}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from None


def digest(path: Path) -> str:
    """A hash of the footer of a Parquet file."""
    with path.open("rb") as file:
        file.seek(-TAIL, os.SEEK_END)
        length = int.from_bytes(file.read(4), "little")
        file.seek(-TAIL - length, os.SEEK_END)
        return hashlib.sha256(file.read(length)).hexdigest()
