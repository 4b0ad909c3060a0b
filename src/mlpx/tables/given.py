"""What the estimators are given: rows of any kind as a table, targets and weights as arrays."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.utils import check_array
from sklearn.utils.validation import check_random_state

from mlpx.errors import InputError, InputTypeError
from mlpx.estimators.rows import is_sparse
from mlpx.inputs.frames import columns_of
from mlpx.random import check_seed
from mlpx.records import is_whole
from mlpx.tables.table import as_table

PLAIN = (str, bool, int, float, Decimal, np.generic)


def table_of(X: Any, *, of: str) -> tuple[pa.Table, bool]:
    """X as a `pyarrow.Table`, and whether its columns have names, which are text.

    `of`: the estimator's name, for messages. Raises ValueError or TypeError as scikit-learn does.
    """
    columns = _named(X)
    if columns is None and not _is_list_of_rows(X):
        X = check_array(X, dtype=None, ensure_all_finite=False, estimator=of, input_name="X")
        if X.dtype.kind == "O":
            _refuse_objects(X)
    table = as_table(X, name="X")
    if not len(table) or not table.num_columns:
        n, d = len(table), table.num_columns
        what = "sample(s)" if not n else "feature(s)"
        raise InputError(
            f"Found array with 0 {what} (shape=({n}, {d})) while a minimum of 1 is required."
        )
    return table, columns is not None and all(isinstance(name, str) for name in columns)


def _named(X: Any) -> Sequence[Any] | None:
    """The names of the columns of X, None if it is an array or a list of rows."""
    if is_sparse(X):
        return None
    if isinstance(X, Mapping):
        return list(X)
    if isinstance(X, pa.RecordBatch):
        names: list[str] = X.schema.names
        return names
    columns = columns_of(X)
    return None if columns is None else [name for name, _ in columns]


def _is_list_of_rows(X: Any) -> bool:
    """Whether X is a list whose rows may hold numbers beside texts: NumPy makes texts of all."""
    return isinstance(X, list) and all(isinstance(row, list | tuple) for row in X) and len(X) > 0


def _refuse_objects(X: np.ndarray) -> None:
    """Raise InputTypeError for an object that is neither text nor a number, a date or missing."""
    for j, column in enumerate(X.T):
        odd = {kind for kind in set(map(type, column)) if not _is_plain(kind)}
        if odd:
            row = next(i for i, value in enumerate(column) if type(value) in odd)
            raise InputTypeError(
                f"X has a {type(column[row]).__name__} in column 'x{j}' at row {row}; the argument "
                "must be text, as a string, a date or a number"
            )


def _is_plain(kind: type) -> bool:
    missing = kind is type(None) or kind.__name__ in ("NAType", "NaTType")  # pandas' two
    return missing or issubclass(kind, PLAIN) or hasattr(kind, "isoformat")


def as_in_fit(table: pa.Table, named: bool, *, estimator: Any) -> pa.Table:
    """A table of rows to predict, with the names of the columns that the estimator was fitted on.

    Columns are told apart by name, in any order, if they had names in `fit` and have some now;
    otherwise by place, with scikit-learn's warning if names are on one side only. Columns that are
    new are ignored, with a warning. Raises InputError for another number of columns.
    """
    known, of = estimator._columns, type(estimator).__name__
    had = hasattr(estimator, "feature_names_in_")
    if had and named:
        extra = estimator.encoder_.extra(table)
        if extra:
            told = ", ".join(map(repr, extra[:5])) + (", ..." if len(extra) > 5 else "")
            warnings.warn(
                f"X has columns that were not there in fit and are ignored: {told}", stacklevel=4
            )
        return table
    if not _by_place(known) and set(known) <= set(table.column_names):
        return table  # names that are whole numbers are names too
    if table.num_columns != len(known):
        raise InputError(
            f"X has {table.num_columns} features, but {of} is expecting {len(known)} features as "
            "input"
        )
    if had != named:
        told = (
            f"X does not have valid feature names, but {of} was fitted with feature names"
            if had
            else f"X has feature names, but {of} was fitted without feature names"
        )
        warnings.warn(told, UserWarning, stacklevel=4)
    return table.rename_columns(list(known))


def _by_place(names: Sequence[str]) -> bool:
    """Whether these are the names of columns that had none."""
    return list(names) == [f"x{j}" for j in range(len(names))]


def seed_of(random_state: Any) -> int:
    """The seed that `random_state` means: a whole number itself, or one drawn from a generator."""
    if is_whole(random_state):
        return check_seed(int(random_state))
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def as_host(y: Any) -> Any:
    """y, a column of pyarrow as an array of NumPy."""
    return y.to_numpy(zero_copy_only=False) if isinstance(y, pa.Array | pa.ChunkedArray) else y


def name_of(y: Any) -> str:
    """What a target is called: a Series has a name."""
    name = getattr(y, "name", None)
    return name if isinstance(name, str) and name else "y"


def counted(weights: np.ndarray | None, *, most: int) -> np.ndarray | None:
    """Each row as often as its weight says, if weights are whole numbers and there are not more
    than `most` in all: what is found out of these rows is then what repeated rows would show. None
    if each row is to be looked at once.
    """
    if weights is None or (weights != np.floor(weights)).any() or weights.sum() > most:
        return None
    rows: np.ndarray = np.repeat(np.arange(len(weights)), weights.astype(np.int64))
    return rows
