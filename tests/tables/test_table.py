"""Whatever holds a table becomes one of pyarrow's, or is refused by name."""

from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from mlpx.errors import InputError, InputTypeError
from mlpx.tables.table import as_table, require_columns

COLUMNS = {"a": [1.5, 2.5], "b": ["x", None], "c": [True, False]}


@pytest.mark.parametrize(
    "given",
    [
        COLUMNS,
        pd.DataFrame(COLUMNS),
        pl.DataFrame(COLUMNS),
        pa.table(COLUMNS),
        pa.table(COLUMNS).to_batches()[0],
        {name: pl.Series(values) for name, values in COLUMNS.items()},
        {name: pd.Series(values) for name, values in COLUMNS.items()},
        {name: np.array(values, object) for name, values in COLUMNS.items()},
    ],
    ids=["dict", "pandas", "polars", "pyarrow", "batch", "polars-series", "pandas-series", "numpy"],
)
def test_every_kind_of_table_has_the_same_values(given):
    table = as_table(given)
    assert isinstance(table, pa.Table)
    assert table.to_pydict() == COLUMNS


@pytest.mark.parametrize(
    "given",
    [
        np.array([[1, 2], [3, 4]]),
        np.asfortranarray([[1, 2], [3, 4]]),
        [[1, 2], [3, 4]],
        [(1, 2), [3, 4]],
        np.array([[1, 2], [3, 4]], ">i4"),
        np.array([[1, 2], [3, 4]], np.float16),
    ],
)
def test_rows_without_names_get_those_of_scikit_learn(given):
    assert as_table(given).to_pydict() == {"x0": [1, 3], "x1": [2, 4]}


def test_whole_numbers_are_names_too():
    assert as_table(pd.DataFrame([[1, 2]])).column_names == ["0", "1"]


def test_rows_of_texts_and_numbers_keep_each_column_of_its_kind():
    table = as_table([["a", 1], ["b", None]])
    assert table.to_pydict() == {"x0": ["a", "b"], "x1": [1, None]}


@pytest.mark.parametrize("least", [2**63, 2**70, -(2**70)])
def test_whole_numbers_beyond_int64_become_floats(least):
    table = as_table({"a": [1, least, None]})
    assert table["a"].to_pylist() == [1.0, float(least), None]


def test_types_that_pyarrow_can_do_little_with_become_others():
    views = pa.array(["x", None], pa.string_view())
    halves = pa.array(np.array([1.5, 2.0], np.float16))
    for given in (pa.table({"a": views, "b": halves}), {"a": views, "b": halves}):
        table = as_table(given)
        assert table.schema.types == [pa.large_string(), pa.float32()]
        assert table.filter(pa.array([True, False])).to_pydict() == {"a": ["x"], "b": [1.5]}


def test_a_column_of_texts_and_numbers_becomes_text():
    given = pd.DataFrame({"a": [1, "x", None, np.nan, pd.NA, 2.5, np.int8(3), True]})
    texts = ["1", "x", None, None, None, "2.5", "3", "true"]
    assert as_table(given)["a"].to_pylist() == texts


def test_categories_dates_and_decimals_keep_their_type():
    day = datetime.date(2024, 2, 29)
    given = {
        "c": pd.Series(["x", "y"], dtype="category"),
        "d": [day, None],
        "e": [Decimal(1), None],
    }
    table = as_table(given)
    assert pa.types.is_dictionary(table["c"].type)
    assert pa.types.is_date(table["d"].type)
    assert pa.types.is_decimal(table["e"].type)


def twice() -> pd.DataFrame:
    return pd.DataFrame([[1, 2]], columns=["age", "age"])


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (twice(), InputError, "x has 2 columns called 'age'"),
        (pa.table([[1], [2]], names=["age", "age"]), InputError, "2 columns called 'age'"),
        (pd.DataFrame([[1, 2]], columns=[1, "1"]), InputError, "2 columns called '1'"),
        (pd.DataFrame([[1]], columns=[1.5]), InputTypeError, "called 1.5, a float"),
        ({True: [1]}, InputTypeError, "called True, a bool"),
        ({"a": [1], "b": [1, 2]}, InputError, "'a' has 1, 'b' has 2 values"),
        ({"a": 1}, InputTypeError, "column 'a' is a int"),
        ({"a": "text"}, InputTypeError, "column 'a' is a str"),
        ({"a": np.ones((2, 2))}, InputError, r"column 'a' has shape \(2, 2\)"),
        ({"a": [1 + 2j]}, InputTypeError, "'a' holds values of kind complex"),
        (np.ones((2, 2), complex), InputTypeError, "'x0' holds values of kind complex"),
        ({"a": [object(), 1]}, InputTypeError, "'a' holds values of kind int, object"),
        (np.ones(3), InputError, r"x.shape = \(3,\); wanted \(n, columns\): use reshape"),
        (np.ones((1, 2, 3)), InputError, r"x.shape = \(1, 2, 3\)"),
        ([[1, 2], [3]], InputError, "1 values in row 1 and 2 in row 0"),
        ([1, 2], InputTypeError, "a list, not of rows"),
        ("file.csv", InputTypeError, "x is a str; wanted a table"),
        (b"1,2", InputTypeError, "x is a bytes"),
        (None, InputTypeError, "x is a NoneType"),
        (7, InputTypeError, "x is a int"),
        (pl.DataFrame(COLUMNS).lazy(), InputTypeError, "call its collect"),
        ({"a": np.ma.masked_array([1, 2], [False, True])}, InputError, "column 'a'"),
    ],
)
def test_what_is_no_table_is_refused_by_name(given, error, said):
    with pytest.raises(error, match=said):
        as_table(given)


def test_a_column_that_is_not_there_is_named_with_those_that_are_like_it():
    table = pa.table({"age": [1], "wage": [2], "sex": ["m"]})
    require_columns(table, ["sex", "age"])
    with pytest.raises(InputError, match=r"no column 'agee'; did you mean 'age'.* it has 3: 'age'"):
        require_columns(table, ["age", "agee"])
    with pytest.raises(InputError, match=r"no column 'q' \(and 1 more that are wanted\); it has 3"):
        require_columns(table, ["q", "r"])
