"""Rows that are held out of the training, by chance, by group or by time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from mlpx.errors import InputError
from mlpx.random import Purpose, check_seed, permutation, words
from mlpx.records import require
from mlpx.tables.columns.date import read_times
from mlpx.tables.columns.number import read_numbers
from mlpx.tables.columns.values import check_type, is_number, row_named, texts_of, type_of
from mlpx.tables.table import require_columns

Rows = tuple[np.ndarray, np.ndarray]


def hold_out(
    table: Any,
    *,
    share: float,
    seed: int | None,
    group: str | None = None,
    time: str | None = None,
    stratify: Any = None,
) -> Rows:
    """The rows of a pyarrow.Table to train on and those to hold out, about `share` of them; int64,
    each in increasing order.

    By chance, or, with `stratify`, by chance within each class: the name of a column, or an array
    (n,) of classes. By `group`, the name of a column: all rows of a group on one side. By `time`,
    the name of a column of dates or numbers: the last rows in time; rows of the same time stay
    together. Groups and times are not stratified.

    Raises InputError if a side would be empty, for a group or a time that is missing.
    """
    require("share", share, above=0.0, below=1.0)
    seed, n = check_seed(seed), len(table)
    if group is not None and time is not None:
        raise InputError(f"group = {group!r} and time = {time!r}; only one of them can be given")
    require_columns(table, [name for name in (group, time) if name is not None])
    if n < 2:
        raise InputError(f"the table has {n} rows; at least 2 are needed to hold some out")
    if group is not None:
        held = _by_group(table[group], group, share, seed)
    elif time is not None:
        held = _by_time(table[time], time, share)
    elif stratify is not None:
        held = _stratified(_classes(table, stratify), share, seed)
    else:
        held = np.zeros(n, bool)
        held[_order(n, seed)[: _count(n, share)]] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _order(n: int, seed: int, item: int = 0) -> np.ndarray:
    order: np.ndarray = permutation(words(seed, Purpose.SPLIT, count=n, item=item))
    return order


def _count(n: int, share: float) -> int:
    """How many of n rows are held out: one at least, and not all."""
    return min(max(round(n * share), 1), n - 1)


def _by_group(column: Any, name: str, share: float, seed: int) -> np.ndarray:
    """Whole groups in a random order, so many that their rows are about the share."""
    check_type(column, name)
    rows = texts_of(column).rows
    if (rows < 0).any():
        row = int((rows < 0).argmax())
        raise InputError(
            f"column {name!r} has no group in {row_named(row)}; give it one, or leave such rows out"
        )
    counts = np.bincount(rows)
    if len(counts) < 2:
        raise InputError(f"column {name!r} has one group only; no group can be held out")
    order = _order(len(counts), seed)
    ahead = np.cumsum(counts[order])
    taken = int(np.abs(ahead[:-1] - _count(len(rows), share)).argmin()) + 1
    chosen = np.zeros(len(counts), bool)
    chosen[order[:taken]] = True
    held: np.ndarray = chosen[rows]
    return held


def _by_time(column: Any, name: str, share: float) -> np.ndarray:
    """The rows from the time on that the last share of rows begins with."""
    kind = type_of(column)
    if is_number(kind) or pa.types.is_time(kind):
        moments = read_numbers(column, name=name, tolerant=False)
        lacking = np.isnan(moments)
    else:
        times = read_times(column, name=name, tolerant=False)
        moments, lacking = times.astype(np.int64), np.isnat(times)
    if lacking.any():
        raise InputError(
            f"column {name!r} has no time in {row_named(int(lacking.argmax()))}; fill it in, or "
            "leave such rows out"
        )
    n = len(moments)
    first = np.sort(moments)[n - _count(n, share)]
    held: np.ndarray = moments >= first
    if held.all():
        held = moments > first
    if not held.any():
        raise InputError(f"column {name!r} has the same time in every row; none is later")
    return held


def _classes(table: Any, stratify: Any) -> np.ndarray:
    if isinstance(stratify, str):
        require_columns(table, [stratify])
        check_type(table[stratify], stratify)
        rows: np.ndarray = texts_of(table[stratify]).rows
        return rows
    classes = np.asarray(stratify)
    if classes.shape != (len(table),):
        raise InputError(f"stratify.shape = {classes.shape}; wanted ({len(table)},) or a column")
    return np.unique(classes, return_inverse=True)[1]


def _stratified(classes: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Of each class its share; the rows that rounding leaves over go to the largest remainders."""
    _, classes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    wanted = counts * (_count(len(classes), share) / len(classes))
    quota = np.minimum(np.floor(wanted).astype(np.int64), counts - 1)
    room = counts - 1 - quota
    remainders = np.where(room > 0, wanted - quota, -1.0)
    left = min(_count(len(classes), share) - int(quota.sum()), int((room > 0).sum()))
    if left > 0:
        quota[np.argsort(-remainders, kind="stable")[:left]] += 1
    if not quota.any():
        raise InputError("each class has one row only; none can be held out of any")
    order = _order(len(classes), seed)
    order = order[np.argsort(classes[order], kind="stable")]  # by class, each in random order
    starts = np.cumsum(counts) - counts
    place = np.arange(len(classes)) - np.repeat(starts, counts)
    held = np.zeros(len(classes), bool)
    held[order[place < np.repeat(quota, counts)]] = True
    return held
