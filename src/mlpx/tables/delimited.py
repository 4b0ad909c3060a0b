"""Tables in text files: fields between commas, semicolons, tabs or bars."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mlpx.errors import DataFormatError, InputError
from mlpx.records import require_count
from mlpx.tables.columns.values import MISSING, NUMBER, Texts, is_text, texts_of
from mlpx.tables.decoding import check_encoding, utf8
from mlpx.tables.table import require_names
from mlpx.untrusted import brief

DELIMITERS = "\t;|,"
"""Of those that fit equally well the first: a comma may also be a decimal one."""
NAMES = {"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma"}
SAMPLE_BYTES, SAMPLE_ROWS, LEAST_LINES = 1 << 18, 100, 3
BLOCK_BYTES = 1 << 23
IS_NUMBER = re.compile(NUMBER)
COMMA_NUMBER, POINT_NUMBER = re.compile(r"^[+-]?\d*,\d+$"), re.compile(r"^[+-]?\d*\.\d+$")
INTEGER = r"^[+-]?\d{1,18}$"


@dataclass(frozen=True)
class Form:
    """What the caller says of a text file; None is found out."""

    encoding: str = "utf-8"
    delimiter: str | None = None
    header: bool | None = None
    skip: int = 0
    texts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        require_count("skip", self.skip, least=0)
        check_encoding(self.encoding)
        if self.delimiter is not None and (len(self.delimiter) != 1 or self.delimiter in '"\r\n'):
            raise InputError(f"delimiter = {self.delimiter!r}; it must be one character")


@dataclass(frozen=True)
class Layout:
    """How a text file is laid out: `lines` are in front of its data."""

    delimiter: str
    names: list[str]
    header: bool
    lines: int
    decimal: str


def read_delimited(data: bytes, path: str, *, columns: list[str] | None, form: Form) -> Any:
    """The table in the bytes of a text file, a pyarrow.Table; `path` is what messages call it.

    Raises DataFormatError naming the file and the line, InputError for columns it does not have.
    """
    text = utf8(data, path, form.encoding)
    sample = _sample(text, form.skip)
    if not any(sample):
        what = f" after the {form.skip} lines to skip" if form.skip else ""
        raise DataFormatError(f"{path} is empty{what}; wanted rows of fields")
    layout = _layout(sample, path, form)
    if columns is not None:
        require_names(layout.names, columns, path)
    table = _parsed(text, path, layout, columns, form.texts)
    if not len(table):
        raise DataFormatError(f"{path} has a header and no rows")
    names = table.column_names
    settled = [_settled(table[name], stays=name in form.texts) for name in names]
    return pa.table(settled, names=names)


def _sample(text: bytes, skip: int) -> list[str]:
    """The first lines, each with its end; the last one only if it is whole."""
    start = 0
    for _ in range(skip):
        start = text.find(b"\n", start) + 1
        if not start:
            return []
    line = start
    for _ in range(LEAST_LINES):  # of a table with very many columns too
        line = text.find(b"\n", line) + 1 or len(text)
    end = max(line, start + SAMPLE_BYTES)
    head = text[start:end]
    if end < len(text) and b"\n" in head:
        head = head[: head.rindex(b"\n") + 1]
    lines = list(io.StringIO(head.decode(errors="ignore"), newline=""))
    return lines if any(line.strip() for line in lines) else []


def _rows(lines: list[str], delimiter: str) -> list[list[str]]:
    """The fields of the first rows, without blanks around them; [] for an empty line."""
    reader = csv.reader(lines, delimiter=delimiter)
    rows = ([field.strip() for field in row] for row in _quiet(reader))
    return list(islice(rows, SAMPLE_ROWS))


def _quiet(reader: Any) -> Iterator[list[str]]:
    """The rows up to the first that the csv module refuses."""
    try:
        yield from reader
    except csv.Error:
        return


def _layout(lines: list[str], path: str, form: Form) -> Layout:
    delimiter = form.delimiter or _delimiter(lines)
    rows = [row for row in _rows(lines, delimiter) if row]
    if not rows:
        raise DataFormatError(
            f"{path}: its first row has a field of more than {csv.field_size_limit():,} characters"
        )
    first = rows[0]
    header = _is_header(rows) if form.header is None else form.header
    names = [field or f"column {j + 1}" for j, field in enumerate(first)]
    before = form.skip
    if header:
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise DataFormatError(
                f"{path}: the header names {brief(repr(twice[0]))} {names.count(twice[0])} times; "
                "names must differ"
            )
        before += _lines_of_first(lines, delimiter)
    else:
        names = [f"column {j + 1}" for j in range(len(first))]
    return Layout(delimiter, names, header, before, _decimal(rows, delimiter))


def _delimiter(lines: list[str]) -> str:
    """The delimiter by which most rows have as many fields, more than one."""
    best, most = ",", 0
    for delimiter in DELIMITERS:
        widths = Counter(len(row) for row in _rows(lines, delimiter) if len(row) > 1)
        count = max(widths.values(), default=0)
        if count > most:
            best, most = delimiter, count
    return best


def _is_header(rows: list[list[str]]) -> bool:
    """Whether the first row names the columns: no number in it, all different and none empty; or,
    if some are not, numbers below a name.
    """
    first, others = rows[0], rows[1:]
    if any(IS_NUMBER.match(field) or COMMA_NUMBER.match(field) for field in first):
        return False
    if "" not in first and len(set(first)) == len(first):
        return True
    columns = zip(first, *(row for row in others if len(row) == len(first)), strict=True)
    return any(
        name and below and all(field in MISSING or IS_NUMBER.match(field) for field in below)
        for name, *below in columns
    )


def _lines_of_first(lines: list[str], delimiter: str) -> int:
    """How many lines there are up to the end of the first row."""
    reader = csv.reader(lines, delimiter=delimiter)
    for row in reader:
        if row:
            break
    return reader.line_num


def _decimal(rows: list[list[str]], delimiter: str) -> str:
    """Whether numbers have a comma where others have a point."""
    fields = [field for row in rows for field in row]
    comma = delimiter != "," and any(COMMA_NUMBER.match(field) for field in fields)
    return "," if comma and not any(POINT_NUMBER.match(field) for field in fields) else "."


def _parsed(
    text: bytes, path: str, layout: Layout, columns: list[str] | None, texts: frozenset[str]
) -> Any:
    padded = [f"{before}{token}" for token in MISSING for before in ("", " ")]
    try:
        return pyarrow.csv.read_csv(
            pa.BufferReader(text),
            pyarrow.csv.ReadOptions(
                column_names=layout.names, skip_rows=layout.lines, block_size=BLOCK_BYTES
            ),
            pyarrow.csv.ParseOptions(
                delimiter=layout.delimiter,
                newlines_in_values=b'"' in text,
                ignore_empty_lines=len(layout.names) > 1,
            ),
            pyarrow.csv.ConvertOptions(
                null_values=padded,
                strings_can_be_null=True,
                include_columns=columns,
                column_types={name: pa.large_string() for name in layout.names if name in texts},
                decimal_point=layout.decimal,
                check_utf8=False,
            ),
        )
    except pa.ArrowInvalid as error:
        _refuse_ragged(text, path, layout)
        if "Empty CSV file" in str(error):
            raise DataFormatError(f"{path} has a header and no rows") from None
        raise DataFormatError(f"{path} is not a readable table: {brief(error)}") from error


def _refuse_ragged(text: bytes, path: str, layout: Layout) -> None:
    """Raise DataFormatError naming the first line with more or fewer fields, if there is one."""
    file = io.TextIOWrapper(io.BytesIO(text), "utf-8", newline="")
    for _ in range(layout.lines):
        file.readline()
    reader, width = csv.reader(file, delimiter=layout.delimiter), len(layout.names)
    line = layout.lines
    for row in _quiet(reader):
        if row and len(row) != width:
            break
        line = layout.lines + reader.line_num
    else:
        return
    what = "the header" if layout.header else "the first row"
    s = "" if len(row) == 1 else "s"
    raise DataFormatError(
        f"{path}: line {line + 1} has {len(row)} field{s}; {what} has {width} (fields are taken to "
        f"end in a {NAMES.get(layout.delimiter, repr(layout.delimiter))}; a title above the table "
        "is left out by skip=1)"
    )


def _settled(column: Any, *, stays: bool) -> Any:
    """A column of texts without the blanks around them, and without those that stand for missing
    values; if all the others are numbers, as numbers, unless it `stays`.
    """
    if not is_text(column.type):
        return column
    texts = texts_of(column)
    if not stays and len(texts.different) and not texts.numbers.unread.any():
        return _numbers(texts, texts.numbers.values)
    rows = pa.array(texts.rows, mask=texts.rows < 0)
    return texts.different.take(rows)


def _numbers(texts: Texts, values: np.ndarray) -> Any:
    rows = pa.array(texts.rows, mask=texts.rows < 0)
    exact = pa.compute.match_substring_regex(texts.different, INTEGER)
    whole = pa.compute.all(exact).as_py()
    found = pa.array(values.astype(np.int64) if whole else values)
    return found.take(rows)
