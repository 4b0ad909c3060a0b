"""Tables from files: CSV and its like, Parquet, Feather, and folders of them."""

from __future__ import annotations

import bz2
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa

from mlpx.data.gunzip import FREE_BYTES, SENSIBLE_RATIO
from mlpx.data.idx import open_content, open_file
from mlpx.errors import DataError, DataFormatError, DataNotFoundError, InputError
from mlpx.tables.columns.values import is_number, is_time
from mlpx.tables.delimited import Form, read_delimited
from mlpx.tables.table import require_names, text_names
from mlpx.untrusted import brief

TEXTS = (".csv", ".tsv", ".txt", ".data", ".test")
PACKINGS = (".gz", ".bz2", ".zst")
WANTED = (
    ".csv, .tsv, .txt (each also .gz, .bz2 or .zst), .parquet, .feather, .arrow or a folder of them"
)


def read_table(
    path: str | os.PathLike[str],
    *,
    columns: Sequence[str] | None = None,
    encoding: str = "utf-8",
    delimiter: str | None = None,
    header: bool | None = None,
    skip: int = 0,
    texts: Collection[str] = (),
) -> Any:
    """The table in a file, or in the files of a folder, whose columns must be the same; a
    pyarrow.Table.

    What a file is, its name says: .csv, .tsv, .txt, each also .gz, .bz2 or .zst; .parquet,
    .feather, .arrow. `columns`: only these, in this order.

    Of text files: `delimiter` is found among comma, semicolon, tab and bar if it is not given.
    The first row is a `header` if no field of it is a number and all differ and are not empty;
    True and False say whether it is. Without one the columns are called "column 1", "column 2", ...
    `skip`: lines to leave out at the beginning. `texts`: columns that stay text whatever they look
    like, such as codes with a zero in front; names that the file does not have are ignored.
    Blanks around fields do not count, and an empty field, NA, N/A, NaN, nan, null, NULL, None and ?
    are missing values. Whole numbers beyond 2**63 become floats.

    Raises: DataNotFoundError: no such file, or a folder without tables. DataFormatError: not of
    the format, naming the file and, of text files, the line. InputError: a column or an encoding
    that is not known. DataError: not readable.
    """
    path = Path(path)
    wanted = None if columns is None else _names(columns)
    if wanted is not None and (not wanted or len(set(wanted)) < len(wanted)):
        raise InputError(f"columns = {wanted!r}; wanted some, each once")
    form = Form(encoding, delimiter, header, skip, frozenset(_names(texts)))
    if path.is_dir():
        return _folder(path, wanted, form)
    return _file(path, wanted, form)


def _names(given: Collection[str]) -> list[str]:
    """Names of columns; a text is one of them, not its letters."""
    return [given] if isinstance(given, str) else list(given)


def _file(path: Path, columns: list[str] | None, form: Form) -> Any:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    packing = suffixes.pop() if suffixes and suffixes[-1] in PACKINGS else None
    suffix = suffixes[-1] if suffixes else ""
    if suffix in TEXTS:
        form = replace(form, delimiter=form.delimiter or ("\t" if suffix == ".tsv" else None))
        return read_delimited(_content(path, packing), str(path), columns=columns, form=form)
    if suffix not in BINARY or packing:
        if not path.exists():
            raise DataNotFoundError(f"{path}: no such file")
        raise DataFormatError(f"{path} is of no known format; wanted {WANTED}")
    return _binary(path, columns, BINARY[suffix])


@dataclass(frozen=True)
class Format:
    """A format of pyarrow's: what it is called, and how a file is opened: its columns' names and
    what reads those that are named, or all.
    """

    name: str
    open: Callable[[Any], tuple[list[str], Callable[[list[str] | None], Any]]]


def _binary(path: Path, columns: list[str] | None, format: Format) -> Any:
    with _readable(path, format.name), open_file(path) as file:
        names, read = format.open(file)
        _check_names(names, columns, str(path))
        table = read(columns)
    if not len(table):
        raise DataFormatError(f"{path} has no rows")
    return table


def _check_names(names: list[str], columns: list[str] | None, path: str) -> None:
    try:
        text_names(names, path)
    except InputError as error:
        raise DataFormatError(str(error)) from None
    require_names(names, columns or [], path)


@contextmanager
def _readable(path: Path, format: str) -> Iterator[None]:
    try:
        yield
    except (DataError, InputError):
        raise
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: no such file") from error
    except (pa.ArrowException, OSError, EOFError, ValueError) as error:
        if isinstance(error, OSError) and error.errno:
            raise DataError(f"{path} cannot be read: {error.strerror}") from error
        raise DataFormatError(f"{path} is not a readable {format} file: {brief(error)}") from error


def _parquet(file: Any) -> tuple[list[str], Callable[[list[str] | None], Any]]:
    import pyarrow.parquet

    opened = pyarrow.parquet.ParquetFile(file)
    names: list[str] = opened.schema_arrow.names
    return names, lambda columns: _chosen(opened.read(columns), columns)


def _feather(file: Any) -> tuple[list[str], Callable[[list[str] | None], Any]]:
    import pyarrow.feather

    table = pyarrow.feather.read_table(file)
    return table.column_names, partial(_chosen, table)


def _arrow(file: Any) -> tuple[list[str], Callable[[list[str] | None], Any]]:
    """The file form of Arrow, or its stream."""
    try:
        table = pa.ipc.open_file(file).read_all()
    except pa.ArrowInvalid:
        file.seek(0)
        table = pa.ipc.open_stream(file).read_all()
    return table.column_names, partial(_chosen, table)


def _chosen(table: Any, columns: list[str] | None) -> Any:
    return table if columns is None else table.select(columns)


BINARY = {
    ".parquet": Format("Parquet", _parquet),
    ".feather": Format("Feather", _feather),
    ".arrow": Format("Arrow", _arrow),
}


def _content(path: Path, packing: str | None) -> bytes:
    """The bytes of a file, unpacked; no more than a file of its size sensibly holds."""
    with _readable(path, (packing or "").lstrip(".") or "text"):
        if packing not in (".bz2", ".zst"):
            with open_content(path) as (file, bound_bytes):
                return _bounded(file, path, bound_bytes)
        with open_file(path) as raw:
            bound_bytes = max(FREE_BYTES, os.fstat(raw.fileno()).st_size * SENSIBLE_RATIO)
            if packing == ".bz2":
                return _bounded(bz2.BZ2File(raw), path, bound_bytes)
            return _bounded(pa.CompressedInputStream(pa.PythonFile(raw), "zstd"), path, bound_bytes)


def _bounded(file: Any, path: Path, bound_bytes: int) -> bytes:
    data: bytes = file.read(bound_bytes)
    if file.read(1):
        raise DataFormatError(
            f"{path} holds more than {bound_bytes:,} bytes, as only a bomb and very regular files "
            "do; if it is none, unpack it first"
        )
    return data


def _folder(folder: Path, columns: list[str] | None, form: Form) -> Any:
    """The rows of all tables in a folder, file after file by name; other files are ignored."""
    paths = [path for path in sorted(folder.iterdir()) if _is_table(path)]
    if not paths:
        raise DataNotFoundError(f"{folder} has no tables; wanted files ending in {WANTED}")
    tables = [_file(path, columns, form) for path in paths]
    names = tables[0].column_names
    for path, table in zip(paths, tables, strict=True):
        _check_same(paths[0], names, path, table.column_names)
    tables = [table.select(names) for table in tables]
    try:
        tables = _alike(tables, names)
        return pa.concat_tables(tables, promote_options="permissive")
    except pa.ArrowException as error:
        raise DataFormatError(f"the tables of {folder} cannot be joined: {brief(error)}") from error


def _is_table(path: Path) -> bool:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in PACKINGS:
        suffixes.pop()
    known = bool(suffixes) and suffixes[-1] in (*TEXTS, *BINARY)
    return known and not path.name.startswith((".", "_")) and path.is_file()


def _check_same(first: Path, names: list[str], path: Path, others: list[str]) -> None:
    lacking = [name for name in names if name not in others]
    more = [name for name in others if name not in names]
    if lacking or more:
        told = [f"lacks {', '.join(map(repr, lacking))}"] if lacking else []
        told += [f"has {', '.join(map(repr, more))}"] if more else []
        raise DataFormatError(
            f"{path} {brief(' and '.join(told))}, unlike {first.name}; the tables of a folder must "
            "have the same columns"
        )


def _alike(tables: list[Any], names: list[str]) -> list[Any]:
    """Tables with these names in which each column can be joined: if need be it becomes text."""
    for at, name in enumerate(names):
        joined = _joined({table.schema.field(name).type for table in tables})
        if joined is not None:
            tables = [
                table.set_column(at, name, table[name].cast(joined, safe=False)) for table in tables
            ]
    return tables


def _joined(kinds: set[Any]) -> Any:
    """The type for values of these types, None if pyarrow finds one."""
    integers = all(pa.types.is_integer(kind) or pa.types.is_null(kind) for kind in kinds)
    if integers or len(kinds) == 1:
        return None
    if all(map(is_number, kinds)):
        return pa.float64()
    return pa.timestamp("us") if all(map(is_time, kinds)) else pa.large_string()
