"""Tables of named columns, such as data frames, as arrays of numbers.

They are recognised by their methods, so that no data-frame library is imported.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.errors import InputError, InputTypeError

Columns = list[tuple[Any, Any]]
NUMBERS = "fiub"
NAMED = 3


def columns_of(table: Any) -> Columns | None:
    """The name and the values of each column, or None if `table` is not a table."""
    if hasattr(table, "itercolumns"):  # pyarrow
        return list(zip(table.column_names, table.itercolumns(), strict=True))
    if hasattr(table, "iter_columns"):  # polars
        return [(column.name, column) for column in table.iter_columns()]
    if hasattr(table, "columns") and hasattr(table, "items"):  # pandas
        return list(table.items())
    return None


def array_of(name: str, table: Any, columns: Columns) -> np.ndarray:
    """The table as an array (n, columns) of a dtype that holds all of its columns.

    Raises InputTypeError naming the columns that are not numeric, InputError for missing values.
    """
    if len({_dtype(column) for _, column in columns}) == 1:
        array = np.asarray(table)  # often without a copy
        if array.dtype.kind in NUMBERS:
            return array
    parts = [(key, column, _numbers(column)) for key, column in columns]
    refused = [(key, column) for key, column, values in parts if values is None]
    if refused:
        _refuse(name, refused)
    whole = [values for _, _, values in parts if values is not None]
    return np.column_stack(whole) if whole else np.asarray(table)


def _dtype(column: Any) -> str:
    return str(column.dtype if hasattr(column, "dtype") else column.type)


def _numbers(column: Any) -> np.ndarray | None:
    """The values of a column if all are numbers, whatever its dtype; else None."""
    values = np.asarray(column)
    if values.dtype.kind == "O":
        values = np.array(values.tolist())
    return values if values.ndim == 1 and values.dtype.kind in NUMBERS else None


def _refuse(name: str, columns: Columns) -> None:
    for key, column in columns:
        lacking = _lacking(column)
        if lacking.any() and _numbers(np.asarray(column)[~lacking]) is not None:
            raise InputError(
                f"{name} has no value in column {key!r} ({_dtype(column)}) at row "
                f"{lacking.argmax()}; fill in missing values, or leave such rows out"
            )
    listed = ", ".join(f"{key!r} ({_dtype(column)})" for key, column in columns[:NAMED])
    more = f" and {len(columns) - NAMED} more" if len(columns) > NAMED else ""
    s, them = ("s", "them") if len(columns) > 1 else ("", "it")
    raise InputTypeError(
        f"{name} has column{s} {listed}{more} without numbers; turn categories into columns "
        f"of 0 and 1, as pandas.get_dummies does, or leave {them} out"
    )


def _lacking(column: Any) -> np.ndarray:
    """Where values of a column are missing, bool (n,)."""
    tell = getattr(column, "isna", None) or getattr(column, "is_null", None)
    return np.asarray(tell(), bool) if tell else np.zeros(len(column), bool)
