"""What each column of a table is, judged by the training rows: a number, a category, and so on.

A column that says nothing is left out, with a reason: one without values (empty), with the same one
in every row (constant), with another text in nearly every row (id-like). Free text is an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpx.errors import InputError
from mlpx.records import require_one_of
from mlpx.tables.columns import Boolean, Category, Column, Date, Number
from mlpx.tables.columns.category import ONE_HOT
from mlpx.tables.columns.number import read_numbers
from mlpx.tables.columns.values import (
    Texts,
    check_type,
    floats_of,
    is_text,
    is_time,
    shown,
    texts_of,
    type_of,
    whole,
)
from mlpx.untrusted import brief

KINDS = ("number", "boolean", "category", "date")
READ_SHARE = 0.95
"""The least share of the texts that must be numbers, or dates, for the column to be of these."""
TEXT_ROWS, TEXT_DISTINCT, TEXT_WORDS = 50, 0.5, 3.0
ID_ROWS, ID_DISTINCT = 100, 0.9
EXACT = 2.0**53
"""From it on a float64 does not hold every whole number."""
SHOWN = 3


@dataclass(frozen=True)
class Finding:
    """What a column is and why; `column` is None if it is left out, `values` are its values."""

    kind: str
    why: str
    column: Column | None = None
    values: Any = None
    notes: tuple[str, ...] = ()


def find(column: Any, *, name: str, wanted: str | None = None, one_hot: int = ONE_HOT) -> Finding:
    """What a pyarrow column of training rows is, fitted; of the kind `wanted`, if one is.

    Raises InputError for free text, for a type that no kind has, and for what is not of the kind
    `wanted`.
    """
    if wanted is not None:
        require_one_of(f"the kind of column {brief(repr(name))}", wanted, KINDS)
    check_type(column, name)
    plain_text = is_text(type_of(column)) and not pa.types.is_dictionary(column.type)
    column = texts_of(column) if plain_text else whole(column)
    missing = _missing(column)
    if missing == len(column):
        return Finding("empty", "it has no values")
    kind, tolerant = (wanted, wanted != "category") if wanted else _kind(column, name)
    if kind == "id-like":
        return Finding(kind, "nearly every row has a text of its own; it looks like an id")
    if not missing and _is_constant(column):
        first = column.different[0] if isinstance(column, Texts) else column[0]
        return Finding("constant", f"it is {shown(first)} in every row")
    return _fitted(column, name, kind, tolerant and is_text(type_of(column)), one_hot)


def _missing(column: Any) -> int:
    """How many values are missing."""
    kind = type_of(column)
    if is_text(kind):
        return int((texts_of(column).rows < 0).sum())
    if pa.types.is_floating(kind):
        return int(np.isnan(floats_of(column)).sum())
    return int(column.null_count)


def _is_constant(column: Any) -> bool:
    if is_text(type_of(column)):
        return len(texts_of(column).different) == 1
    return len(pc.unique(column.slice(0, 1000))) == 1 and len(pc.unique(column)) == 1


def _kind(column: Any, name: str) -> tuple[str, bool]:
    """The kind, and whether some of its texts are not of it."""
    kind = type_of(column)
    if pa.types.is_dictionary(column.type):
        return "category", False
    if is_text(kind):
        return _kind_of_texts(texts_of(column), name)
    if pa.types.is_boolean(kind):
        return "boolean", False
    return "date" if is_time(kind) else "number", False


def _kind_of_texts(texts: Texts, name: str) -> tuple[str, bool]:
    counts = texts.counts
    n = int(counts.sum())
    for kind in ("number", "date"):
        read = texts.numbers if kind == "number" else texts.times
        unread = counts[read.unread].sum()
        if n - unread >= READ_SHARE * n:
            return kind, bool(unread)
    distinct = len(counts)
    words = _words(texts, counts)
    if n >= TEXT_ROWS and distinct > TEXT_DISTINCT * n and words >= TEXT_WORDS:
        raise InputError(
            f"column {brief(repr(name))} is free text: {distinct:,} different texts in {n:,} rows, "
            f"of {words:.1f} words on average; leave it out (drop = [{name!r}], --drop on the "
            f"command line), turn it into numbers, or say that it is a category "
            f"(kinds = {{{name!r}: 'category'}})"
        )
    is_id = n >= ID_ROWS and distinct > ID_DISTINCT * n
    return "id-like" if is_id else "category", False


def _words(texts: Texts, counts: np.ndarray) -> float:
    """How many words a text has, on average over the rows."""
    gaps = pc.count_substring_regex(texts.different, r"\s+").to_numpy(zero_copy_only=False)
    return float(((gaps + 1) * counts).sum() / counts.sum())


def _fitted(column: Any, name: str, kind: str, tolerant: bool, one_hot: int) -> Finding:
    if kind == "category":
        category = Category.fit(column, name=name, one_hot=one_hot)
        return Finding(kind, category.says(), category, column, _left_out(category, name))
    if kind == "boolean":
        boolean = Boolean.fit(column, name=name)
        return Finding(kind, boolean.says(), boolean, column)
    notes = _unread(column, name, kind) if tolerant else ()
    if kind == "date":
        date = Date.fit(column, name=name, tolerant=bool(notes))
        return Finding(kind, date.says(), date, column, notes)
    tolerant = bool(notes)
    number = Number.fit(column, name=name, tolerant=tolerant)
    notes += _inexact(column, name, tolerant)
    return Finding(kind, number.says(), number, column, notes)


def _left_out(category: Category, name: str) -> tuple[str, ...]:
    if not category.left_out:
        return ()
    kept = len(category.values)
    return (
        f"column {name!r} has {kept + category.left_out:,} categories; the {kept:,} most frequent "
        "ones are kept, the others count as unknown",
    )


def _unread(column: Any, name: str, kind: str) -> tuple[str, ...]:
    """A note of the texts that are no numbers, or no dates, and count as missing."""
    texts = texts_of(column)
    unread = (texts.numbers if kind == "number" else texts.times).unread
    if not unread.any():
        return ()
    if unread.all():
        value = texts.different[0].as_py()
        raise InputError(
            f"column {brief(repr(name))} was said to be a {kind}, and none of its values is one; "
            f"the first is {brief(repr(value))}"
        )
    rows = int(texts.counts[unread].sum())
    listed = texts.different.take(pa.array(np.flatnonzero(unread)[:SHOWN])).to_pylist()
    more = ", ..." if unread.sum() > SHOWN else ""
    told = brief(", ".join(map(repr, listed)))
    return (
        f"column {name!r} is taken for {kind}s; {rows:,} of its texts are none and count as "
        f"missing: {told}{more}",
    )


def _inexact(column: Any, name: str, tolerant: bool) -> tuple[str, ...]:
    """A note if whole numbers are too large to be told apart as floats."""
    z = read_numbers(column, name=name, tolerant=tolerant)
    z = z[~np.isnan(z)]
    if np.abs(z).max() < EXACT or (z != np.floor(z)).any():
        return ()
    return (
        f"column {name!r} has whole numbers of 2**53 and more, of which a float does not hold "
        "the last digits; "
        f"if they are ids, leave it out (drop = [{name!r}])",
    )
