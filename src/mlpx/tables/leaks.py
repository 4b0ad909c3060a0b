"""Columns that give the target away: they tell it in another form, and are not known beforehand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpx.tables.columns.values import (
    check_type,
    floats_of,
    is_number,
    is_text,
    is_time,
    texts_of,
    type_of,
    whole,
)
from mlpx.tables.table import require_columns
from mlpx.untrusted import brief

CORRELATION = 0.9999
LEAST_ROWS = 10
"""With fewer, chance does it."""
FEW_ROWS = 1000
"""Looked at before the others: most columns are told apart by them."""
QUESTION = "is it known when a prediction is wanted?"


def leaks(table: Any, target: str) -> list[str]:
    """A sentence for each column of a pyarrow.Table whose values tell those of the column `target`:
    by a correlation beyond 0.9999, or by as many values, one for each of the target's.

    Only rows in which both have a value count. Raises InputError for an unknown target and for one
    of a type that none can have.
    """
    require_columns(table, [target])
    y = whole(table[target])
    check_type(y, target)
    values, codes = _values(y), _codes(y)
    few = 2 * (int(codes.max(initial=-1)) + 1) <= len(codes)
    said = []
    for name in table.column_names:
        column = whole(table[name])
        if name == target or not _comparable(column):
            continue
        found = _correlated(values, _values(column)) or (few and _paired(codes, column))
        if found:
            told = brief(repr(name))
            said.append(f"column {told} gives the target {target!r} away: {found}; {QUESTION}")
    return said


def _comparable(column: Any) -> bool:
    kind = type_of(column)
    simple = is_text(kind) or is_number(kind) or is_time(kind)
    return bool(simple or pa.types.is_boolean(kind) or pa.types.is_time(kind))


def _values(column: Any) -> np.ndarray | None:
    """The numbers of a column of numbers, NaN where there is none; None for other columns."""
    return floats_of(column) if is_number(type_of(column)) else None


def _codes(column: Any) -> np.ndarray:
    """Which of its different values a row has, -1 where there is none, int64 (n,)."""
    if is_text(type_of(column)) or pa.types.is_dictionary(column.type):
        return texts_of(column).rows
    if pa.types.is_floating(column.type):
        column = pa.array(floats_of(column), from_pandas=True)
    indices = column.dictionary_encode().indices.cast(pa.int64())
    codes: np.ndarray = pc.fill_null(indices, -1).to_numpy(zero_copy_only=False)
    return codes


def _correlated(y: np.ndarray | None, z: np.ndarray | None) -> str:
    if y is None or z is None:
        return ""
    both = np.isfinite(y) & np.isfinite(z)
    if both.sum() < LEAST_ROWS:
        return ""
    y, z = y[both], z[both]
    y, z = y / max(np.abs(y).max(), 1e-300), z / max(np.abs(z).max(), 1e-300)
    y, z = y - y.mean(), z - z.mean()
    size = float(np.sqrt((y @ y) * (z @ z)))
    r = float(y @ z) / size if size else 0.0
    return f"their correlation is {r:.5f}" if abs(r) > CORRELATION else ""


def _paired(y: np.ndarray, column: Any) -> str:
    """Whether there is one value for each of the target's, y as codes."""
    if not _one_to_one(y[:FEW_ROWS], _codes(column.slice(0, FEW_ROWS))):
        return ""
    z = _codes(column)
    both = (y >= 0) & (z >= 0)
    count, n = len(np.unique(y[both])), int(both.sum())
    if n < LEAST_ROWS or not 2 <= count <= n // 2 or not _one_to_one(y, z):
        return ""
    return f"each of its {count} values goes with one of the target's"


def _one_to_one(y: np.ndarray, z: np.ndarray) -> bool:
    """Whether equal codes always go with equal codes, where both have one."""
    both = (y >= 0) & (z >= 0)
    y, z = y[both], z[both]
    of_y = np.zeros(y.max(initial=-1) + 1, np.int64)
    of_z = np.zeros(z.max(initial=-1) + 1, np.int64)
    of_y[y], of_z[z] = z, y
    return bool((of_y[y] == z).all() and (of_z[z] == y).all())
