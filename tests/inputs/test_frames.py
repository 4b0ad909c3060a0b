"""Data frames as x, y and weights: `MLP` takes what the estimators take; both say why not."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from mlpx import MLP
from mlpx.errors import InputError, MlpxError
from mlpx.estimators import MLPClassifier, MLPRegressor

N = 8
A = np.linspace(-1.0, 1.0, N)
B = np.arange(N) % 2 == 0
Y = np.arange(N) % 2
WHOLE = np.arange(N)
PLAIN = np.column_stack([A, B])


class Column:
    """Like a pyarrow column: it has a type but no dtype."""

    def __init__(self, values: Any) -> None:
        self.values = np.asarray(values, object)
        self.type = type(self.values[0]).__name__

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.array(self.values.tolist(), dtype)

    def is_null(self) -> np.ndarray:
        return np.equal(self.values, None)


class Table:
    """Like a pyarrow table."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.column_names = list(columns)
        self._columns = [Column(values) for values in columns.values()]

    @property
    def shape(self) -> tuple[int, int]:
        return len(self._columns[0].values), len(self._columns)

    def itercolumns(self) -> Iterator[Column]:
        return iter(self._columns)

    def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
        return np.column_stack([np.asarray(column) for column in self._columns])


FRAMES: dict[str, tuple[Any, np.ndarray]] = {
    "float and bool": (pd.DataFrame({"a": A, "b": B}), PLAIN),
    "dummies": (
        pd.get_dummies(pd.DataFrame({"a": A, "c": list("uvuvuvuv")}), columns=["c"]),
        np.column_stack([A, B, ~B]),
    ),
    "nullable": (
        pd.DataFrame({"a": pd.array(WHOLE, "Int64"), "b": pd.array(B, "boolean")}),
        np.column_stack([WHOLE, B]),
    ),
    "nullable, all alike": (
        pd.DataFrame({"a": pd.array(A, "Float64"), "b": pd.array(A, "Float64")}),
        np.column_stack([A, A]),
    ),
    "objects that are numbers": (pd.DataFrame({"a": A, "b": B}).astype(object), PLAIN),
    "categories that are numbers": (
        pd.DataFrame({"a": A, "b": pd.Categorical(WHOLE)}), np.column_stack([A, WHOLE])
    ),
    "polars": (pl.DataFrame({"a": A, "b": B}), PLAIN),
    "pyarrow": (Table({"a": A, "b": B}), PLAIN),
}  # fmt: skip


@pytest.mark.parametrize("case", FRAMES)
def test_a_frame_of_numbers_is_the_array_of_them(case: str) -> None:
    frame, plain = FRAMES[case]
    made = [MLP([plain.shape[1], 3, 2]) for _ in range(2)]
    for model, x in zip(made, (frame, plain), strict=True):
        model.fit(x, Y, epochs=2, verbose=0)
    assert made[0].flat.tobytes() == made[1].flat.tobytes()
    assert made[0].predict_proba(frame).tobytes() == made[1].predict_proba(plain).tobytes()
    assert made[0].evaluate(frame, Y) == made[1].evaluate(plain, Y)
    found = quietly(MLPClassifier((3,), max_iter=2, random_state=0), frame, Y)
    wanted = quietly(MLPClassifier((3,), max_iter=2, random_state=0), plain, Y)
    assert found.coefs_[0].tolist() == wanted.coefs_[0].tolist()


def test_targets_and_weights_in_columns() -> None:
    y, w = pd.Series(Y, dtype="Int64"), pd.Series(A + 2, dtype="Float64")
    made = [MLP([2, 3, 2]) for _ in range(3)]
    made[0].fit(PLAIN, Y, sample_weight=A + 2, epochs=2, verbose=0)
    made[1].fit(PLAIN, y, sample_weight=w, epochs=2, verbose=0)
    made[2].fit(PLAIN, y.to_frame(), sample_weight=pl.Series(A + 2), epochs=2, verbose=0)
    assert made[0].flat.tobytes() == made[1].flat.tobytes() == made[2].flat.tobytes()


def quietly(estimator: Any, *given: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a few epochs do not converge
        return estimator.fit(*given, **options)


DATES = pd.date_range("2020-01-01", periods=N)
REFUSED: dict[str, tuple[Any, str]] = {
    "text": (
        pd.DataFrame({"a": A, "city": list("uvuvuvuv")}),
        r"has column 'city' \((str|object)\) without numbers; .*get_dummies.* leave it out",
    ),
    "several": (
        pd.DataFrame({"a": A, "city": list("uvuvuvuv"), "day": DATES}),
        r"has columns 'city' \(\w+\), 'day' \(datetime64\[\w+\]\) without numbers; .* them out",
    ),
    "categories": (
        pd.DataFrame({"a": A, "b": pd.Categorical(list("uvuvuvuv"))}), r"'b' \(category\)"
    ),
    "only text": (pd.DataFrame({i: list("uvuvuvuv") for i in range(5)}), "0 .* 2 .* and 2 more"),
    "as many as are named": (
        pd.DataFrame({i: list("uvuvuvuv") for i in range(3)}), r"0 .*, 2 \(\w+\) without"
    ),
    "a missing yes or no": (
        pd.DataFrame({"a": A, "b": pd.array([True, None] * 4, "boolean")}),
        r"has no value in column 'b' \(boolean\) at row 1; fill in",
    ),
    "polars": (pl.DataFrame({"a": A, "city": list("uvuvuvuv")}), r"column 'city' \(String\)"),
    "pyarrow": (Table({"a": A, "city": list("uvuvuvuv")}), r"has column 'city' \(str\) without"),
    "missing in pyarrow": (
        Table({"a": A, "b": [True, None] * 4}), r"has no value in column 'b' \(bool\) at row 1"
    ),
    "dates in polars": (
        pl.DataFrame({"a": A, "day": DATES.to_pydatetime().tolist()}), r"column 'day' \(Datetime"
    ),
    "missing in polars": (
        pl.DataFrame({"a": A, "b": [True, None] * 4}), r"column 'b' \(Boolean\) at row 1"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_a_column_without_numbers_is_named(case: str) -> None:
    frame, words = REFUSED[case]
    with pytest.raises(MlpxError, match=f"^x {words}" if words[:3] == "has" else words):
        MLP([frame.shape[1], 2]).fit(frame, Y, verbose=0)
    with pytest.raises(InputError, match=f"^X {words}" if words[:3] == "has" else words):
        MLPClassifier((3,), max_iter=2).fit(frame, Y)


def test_missing_numbers_are_not_numbers() -> None:
    frame = pd.DataFrame({"a": A, "b": pd.array([1, None] * 4, "Int64")})
    with pytest.raises(InputError, match=r"x has (nan at row 1, column 1|no value in column 'b')"):
        MLP([2, 2]).fit(frame, Y, verbose=0)


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_estimators_refuse_masked_entries_too(kind: Any) -> None:
    hidden = np.ma.masked_array(PLAIN, mask=PLAIN == 1)
    y, w = np.ma.masked_array(Y, mask=B), np.ma.masked_array(np.ones(N), mask=B)
    fitted = quietly(
        kind(hidden_layer_sizes=(3,), max_iter=2), np.ma.masked_array(PLAIN), Y
    )  # hides nothing
    for name, given in (("X", (hidden, Y)), ("y", (PLAIN, y)), ("sample_weight", (PLAIN, Y, w))):
        with pytest.raises(InputError, match=f"^{name} is a masked array and [45] of its"):
            kind(hidden_layer_sizes=(3,), max_iter=2).fit(*given)
        with pytest.raises(InputError, match=f"^{name} is a masked array"):
            fitted.score(*given)
    with pytest.raises(InputError, match=r"^X is a masked array"):
        fitted.predict(hidden)


def test_parameters_are_not_masked() -> None:
    model = MLP([2, 2])
    with pytest.raises(InputError, match="is a masked array"):
        model.set_parameters({"0.b": np.ma.masked_array([1.0, 2.0], mask=[False, True])})
