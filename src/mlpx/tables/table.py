"""Whatever holds a table in memory, as one `pyarrow.Table`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa

from mlpx.backend.base import check_unmasked
from mlpx.errors import InputError, InputTypeError
from mlpx.records import is_whole
from mlpx.tables.columns.values import USABLE, as_texts
from mlpx.untrusted import brief

SHOWN, MOST_SHOWN, LONGEST_NAME = 3, 30, 100
SIMPLE = (str, int, float, np.integer, np.floating, np.bool_)
WANTED = (
    "a table: a pandas or polars DataFrame, a pyarrow.Table, a dict of columns, a 2-D NumPy array "
    "or a list of rows"
)


def as_table(data: Any, *, name: str = "x") -> pa.Table:
    """`data` as a `pyarrow.Table`, often without a copy.

    From a pandas or polars DataFrame, a pyarrow.Table, a dict of columns; from a 2-D array or a
    list of rows, whose columns are called "x0", "x1", ... as scikit-learn calls them. `name` is
    what messages call it.

    Raises: InputTypeError for anything else, for names that are neither text nor whole numbers and
    for values of a kind that no column can have; InputError for names that are there twice, for
    columns or rows of different lengths.
    """
    if isinstance(data, pa.Table):
        text_names(data.column_names, name)
        return _usable(data)
    names, columns = _parts(data, name)
    names = text_names(names, name)
    arrays = [_array(column, name, key) for key, column in zip(names, columns, strict=True)]
    lengths = {len(array) for array in arrays}
    if len(lengths) > 1:
        told = ", ".join(f"{key!r} has {len(a)}" for key, a in zip(names, arrays, strict=True))
        raise InputError(f"{name} has columns of different lengths: {brief(told)} values")
    return _usable(pa.table(arrays, names=names))


def _usable(table: pa.Table) -> pa.Table:
    """A table without the types of which pyarrow cannot even take rows."""
    for at, field in enumerate(table.schema):
        if field.type in USABLE:
            table = table.set_column(at, field.name, table[at].cast(USABLE[field.type]))
    return table


def _parts(data: Any, name: str) -> tuple[Sequence[Any], Iterable[Any]]:
    """The names and the columns of whatever is no pyarrow.Table."""
    if isinstance(data, Mapping):
        return list(data), list(data.values())
    if hasattr(data, "iter_columns"):  # polars
        table = data.to_arrow()
        return table.column_names, table.columns
    if hasattr(data, "collect_schema"):  # polars
        raise InputTypeError(f"{name} is a lazy frame; call its collect() first")
    if hasattr(data, "columns") and hasattr(data, "items"):  # pandas, whose names may be twice
        return list(data.columns), [column for _, column in data.items()]
    if hasattr(data, "__arrow_c_stream__") or isinstance(data, pa.RecordBatch):
        table = pa.table(data)
        return table.column_names, table.columns
    array = _matrix(data, name)
    return [f"x{j}" for j in range(array.shape[1])], list(array.T)


def _matrix(data: Any, name: str) -> np.ndarray:
    """An array (n, columns) of anything that NumPy takes for one."""
    if isinstance(data, str | bytes) or not (
        hasattr(data, "__array__") or isinstance(data, Sequence)
    ):
        raise InputTypeError(f"{name} is a {type(data).__name__}; wanted {WANTED}")
    check_unmasked(data, name)
    array = np.asarray(data) if hasattr(data, "__array__") else _rows(data, name)
    if array.ndim != 2:
        advice = ""
        if array.ndim == 1:
            advice = ": use reshape(-1, 1) for one column or reshape(1, -1) for one row"
        raise InputError(f"{name}.shape = {array.shape}; wanted (n, columns){advice}")
    return array


def _rows(data: Sequence[Any], name: str) -> np.ndarray:
    """A list of rows as objects, so that no number beside a text becomes one."""
    if not all(isinstance(row, list | tuple | np.ndarray) for row in data):
        raise InputTypeError(f"{name} is a {type(data).__name__}, not of rows; wanted {WANTED}")
    width = len(data[0]) if data else 0
    for row, values in enumerate(data):
        if len(values) != width:
            raise InputError(
                f"{name} has {len(values)} values in row {row} and {width} in row 0; "
                "wanted as many in each"
            )
    array = np.empty((len(data), width), object)
    for row, values in enumerate(data):
        array[row] = values
    return array


def text_names(names: Iterable[Any], name: str) -> list[str]:
    """Names as text; whole numbers too, as pandas numbers columns without names."""
    texts = []
    for given in names:
        if not isinstance(given, str) and not is_whole(given):
            raise InputTypeError(
                f"{name} has a column called {brief(repr(given))}, a {type(given).__name__}; "
                "names must be text"
            )
        texts.append(str(given))
    twice = [text for text, count in Counter(texts).items() if count > 1]
    if twice:
        raise InputError(
            f"{name} has {Counter(texts)[twice[0]]} columns called {twice[0]!r}; "
            "names must differ: rename them, or leave one out"
        )
    return texts


def _array(column: Any, name: str, key: str) -> Any:
    """One column as a pyarrow array."""
    if isinstance(column, pa.Array | pa.ChunkedArray):
        return column
    check_unmasked(column, f"{name}'s column {key!r}")
    if isinstance(column, str | bytes) or not hasattr(column, "__len__"):
        raise InputTypeError(
            f"{name}'s column {key!r} is a {type(column).__name__}; wanted a list or an array"
        )
    if hasattr(column, "to_arrow"):  # a polars Series
        return column.to_arrow()
    if getattr(column, "ndim", 1) != 1:
        raise InputError(f"{name}'s column {key!r} has shape {column.shape}; wanted (n,)")
    try:
        return pa.array(column, from_pandas=True)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):
        return _mixed(column, name, key)


def _mixed(column: Any, name: str, key: str) -> Any:
    """A column that pyarrow refuses: whole numbers that int64 cannot hold, or texts beside numbers.

    The former become floats, the latter text, as they would in a CSV file.
    """
    values = [None if _lacks(value) else value for value in column]
    kinds = {type(value) for value in values if value is not None}
    if kinds and all(issubclass(kind, int | float | np.integer | np.floating) for kind in kinds):
        try:
            return pa.array([None if v is None else float(v) for v in values], pa.float64())
        except (OverflowError, TypeError) as error:
            raise InputTypeError(f"{name}'s column {key!r} is not usable: {error}") from None
    if not all(issubclass(kind, SIMPLE) for kind in kinds):
        told = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputTypeError(
            f"{name}'s column {key!r} holds values of kind {brief(told)}; wanted numbers, text, "
            "booleans or dates"
        )
    return pa.array([None if value is None else _text(value) for value in values], pa.string())


def _text(value: Any) -> str:
    """A value as it would be written if all of its column were of its kind."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        value = float(value)
    text: str = as_texts(pa.array([value]))[0].as_py()
    return text


def _lacks(value: Any) -> bool:
    """None, NaN, and what pandas has for them: nothing that is there differs from itself."""
    if value is None:
        return True
    try:
        return not value == value  # noqa: SIM201
    except TypeError:  # of pandas' NA
        return True


def require_columns(table: Any, wanted: Iterable[str]) -> None:
    """Raise InputError naming the columns among those `wanted` that a pyarrow.Table lacks."""
    require_names(table.column_names, wanted, "the table")


def require_names(known: Sequence[str], wanted: Iterable[str], table: str) -> None:
    """Raise InputError naming those `wanted` that are not `known` as columns of `table`."""
    present = set(known)
    lacking = [name for name in wanted if name not in present]
    if not lacking:
        return
    near = get_close_matches(str(lacking[0])[:LONGEST_NAME], known, n=SHOWN)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    has = ", ".join(map(repr, known[:MOST_SHOWN])) + (", ..." if len(known) > MOST_SHOWN else "")
    more = f" (and {len(lacking) - 1} more that are wanted)" if len(lacking) > 1 else ""
    raise InputError(
        f"{table} has no column {brief(repr(lacking[0]))}{more}{brief(hint)}; it has "
        f"{len(known)}: {brief(has)}"
    )
