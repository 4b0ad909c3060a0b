"""Rows to predict for: NPY, or numbers as text, in a file or on standard input."""

from __future__ import annotations

import csv
import io
import math
import sys
from pathlib import Path
from typing import IO

import numpy as np
import typer

from mlpx.data.npz import SINGLE, check_array
from mlpx.errors import DataFormatError, DataNotFoundError
from mlpx.types import Array

STDIN = "-"
ZIP = b"PK\x03\x04"  # "PK" alone may begin a header of text
AS_TEXT = (".csv", ".tsv", ".txt")
DELIMITERS = (",", "\t", None)
"""What may separate numbers; None is any blanks."""


def read_rows(path: Path, *, columns: int) -> Array:
    """The rows in the file `path`, or on standard input for "-"; images become rows.

    An .npy file is memory-mapped. A pipe, or a name without an ending, is recognised by its first
    bytes. Raises DataNotFoundError, DataFormatError.
    """
    if str(path) == STDIN:
        if sys.stdin is None:
            raise DataNotFoundError("standard input is closed; wanted rows of numbers")
        return as_rows(_read(typer.get_binary_stream("stdin"), "standard input", columns), columns)
    try:
        if _is_stream(path):
            with open(path, "rb") as stream:
                return as_rows(_read(stream, str(path), columns), columns)
        if path.suffix.lower() in AS_TEXT:
            return parse(path.read_bytes(), str(path), columns=columns)
        return as_rows(_load(path, str(path)), columns)
    except FileNotFoundError:
        raise DataNotFoundError(
            f"{path} does not exist; wanted a .npy or .csv file, or - for standard input"
        ) from None


def _is_stream(path: Path) -> bool:
    """Whether the name of `path` does not say what it holds: a pipe, /dev/stdin, no ending."""
    return path.exists() and not path.is_dir() and not (path.suffix and path.is_file())


def as_rows(x: Array, columns: int) -> Array:
    """x with each image as a row, if an image has `columns` numbers."""
    if x.ndim > 1 and math.prod(x.shape[1:]) == columns:
        return x.reshape(len(x), columns)
    return x


def _read(stream: IO[bytes], source: str, columns: int) -> Array:
    content = stream.read()
    if content.startswith((SINGLE, ZIP)):
        return _load(io.BytesIO(content), source)
    return parse(content, source, columns=columns)


def _load(file: Path | io.BytesIO, source: str) -> Array:
    try:
        with file if isinstance(file, io.BytesIO) else open(file, "rb") as stream:
            check_array(stream, source, _size_bytes(stream))
            if isinstance(file, io.BytesIO):
                return np.load(file, allow_pickle=False)
        x: Array = np.load(file, mmap_mode="r", allow_pickle=False)
    except (DataFormatError, FileNotFoundError):
        raise
    except (OSError, ValueError, EOFError) as error:
        raise DataFormatError(
            f"{source} is not usable: {str(error).rstrip('.')}; wanted an array of numbers written "
            "by numpy.save"
        ) from None
    return x


def _size_bytes(stream: IO[bytes]) -> int:
    size_bytes = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    return size_bytes


def parse(content: bytes, source: str, *, columns: int) -> Array:
    """The numbers (n, d) in lines of text, separated by commas, tabs or blanks, quoted or not.

    A first line of `columns` names and no number is a header; no lines are (0, columns). Raises
    DataFormatError naming the line.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataFormatError(
            f"{source} is neither an array written by numpy.save nor lines of numbers"
        ) from None
    numbered = [(i, line) for i, line in enumerate(lines, 1) if line.strip()]
    delimiter = _delimiter(numbered[0][1], columns) if numbered else None
    first = _fields(numbered[0][1], delimiter) if numbered else []
    if len(first) == columns and not any(map(_is_number, first)):
        numbered = numbered[1:]
    if not numbered:
        return np.zeros((0, columns))
    try:
        return np.loadtxt(
            [line for _, line in numbered], delimiter=delimiter, ndmin=2, comments=None,
            quotechar='"',
        )  # fmt: skip
    except ValueError:
        raise DataFormatError(f"{source}, {_trouble(numbered, delimiter)}") from None


def _delimiter(line: str, columns: int) -> str | None:
    """The one that splits the line into `columns` fields, else the first that splits it."""
    counts = {delimiter: len(_fields(line, delimiter)) for delimiter in DELIMITERS}
    several = [delimiter for delimiter, count in counts.items() if count > 1]
    fitting = [delimiter for delimiter in several if counts[delimiter] == columns]
    return next(iter(fitting or several), None)


def _fields(line: str, delimiter: str | None) -> list[str]:
    if '"' not in line:
        return [field.strip() for field in line.split(delimiter)]
    if delimiter is None:
        line, delimiter = " ".join(line.split()), " "
    try:
        (fields,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    except csv.Error:  # a field longer than that module takes
        return [line]
    return [field.strip() for field in fields]


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_plain(text: str) -> bool:
    """Whether NumPy reads a number there: not 1_000, nor digits of other scripts."""
    return _is_number(text) and text.isascii() and "_" not in text


def _trouble(numbered: list[tuple[int, str]], delimiter: str | None) -> str:
    """What is wrong with lines that do not all hold numbers."""
    width = len(_fields(numbered[0][1], delimiter))
    for i, line in numbered:
        fields = _fields(line, delimiter)
        odd = [field for field in fields if not _is_plain(field)]
        if odd:
            return f"line {i}: {odd[0]!r} is no number"
        if len(fields) != width:
            return f"line {i} has {len(fields)} numbers; the lines before have {width}"
    return "which holds something else than numbers"
