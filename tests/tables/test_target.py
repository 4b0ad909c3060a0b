"""The target is classes or values, told apart by what it holds, and comes back as it was."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpx.errors import CheckpointError, InputError, InputTypeError
from mlpx.tables.target import Target, present

SAID = "classes .task='regression' to predict values."


def fit(values, **options) -> Target:
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    return Target.fit(column, name="y", **options)


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["b", "a", " a"], ("a", "b")),
        ([True, False], (False, True)),
        ([2, 1, 2], (1, 2)),
        ([2.0, 1.0, None], (1, 2)),
        ([0, 1_000_000], (0, 1_000_000)),
        (list(range(20)) * 2, tuple(range(20))),
        (pa.array(["x", "y"]).dictionary_encode(), ("x", "y")),
        (pa.array([3, 1]).dictionary_encode(), (1, 3)),
        (pa.chunked_array([["x"], ["y"]]), ("x", "y")),
        (["1", "2"], ("1", "2")),
    ],
)
def test_classes_are_found_and_come_back_as_they_were(values, classes):
    target = fit(values)
    assert target.task == "classification"
    assert target.classes == classes
    assert [type(each) for each in target.classes] == [type(each) for each in classes]
    column = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    kept = column.filter(pa.array(present(column)))
    indices = target.encode(kept)
    assert indices.dtype == np.int64
    given_ = [each.strip() if isinstance(each, str) else each for each in kept.to_pylist()]
    assert target.decode(indices).tolist() == given_
    assert target.outputs == (1 if len(classes) == 2 else len(classes))


@pytest.mark.parametrize(
    "values",
    [
        [1.5, 2.0],
        [0.1, 0.2, 0.3],
        list(range(21)),
        [0, 1, 101],
        [1, 2, 1_000_000],
        [1.0, 2.5, None],
    ],
)
def test_values_are_standardised_and_back(values):
    target = fit(values)
    assert target.task == "regression"
    y = np.array([value for value in values if value is not None], float)
    z = target.encode(pa.array(y))
    assert z.dtype == np.float64
    assert abs(z.mean()) < 1e-12
    assert z.std() == pytest.approx(1.0)
    assert target.restore(z) == pytest.approx(y)
    assert (target.low, target.high) == (y.min(), y.max())
    far = target.restore(np.array([-9.0, 9.0]), clamp=True)
    assert far.tolist() == [y.min(), y.max()]
    assert target.restore(np.array([9.0]))[0] > y.max()
    assert target.outputs == 1


def test_what_was_decided_is_said_with_how_to_say_otherwise():
    (note,) = fit([1, 2, 3, 1]).notes
    assert note == (
        "the target 'y' is whole numbers, 3 different ones: classes (task='regression' to predict "
        "values)"
    )
    (note,) = fit([0.5, 1.5]).notes
    assert "numbers with fractions: values (task='classification'" in note
    assert not fit([1, 2, 3], task="regression").notes
    assert fit([1, 2, 3], task="regression").task == "regression"
    assert fit([0.5, 1.5, 0.5], task="classification").classes == (0.5, 1.5)
    assert fit(["1.5", "2"], task="regression").mean == 1.75
    assert fit([True, False], task="regression").mean == 0.5


def test_what_it_is_is_said():
    assert fit(["b", "a"]).says() == "2 classes: 'a', 'b'"
    assert fit([3, 1, 2, 4, 5, 6] * 2).says() == "6 classes: 1, 2, 3, 4, 5, ... (6 in all)"
    assert fit([0.5, 2.5]).says() == "values from 0.5 to 2.5, mean 1.5"


def test_rows_without_a_target_are_counted_and_found():
    for values in (["a", None, "b", "?"], [1.0, float("nan"), 2.0, None]):
        column = pa.array(values)
        target = fit(column)
        assert target.missing == 2
        assert target.notes[0] == "2 rows without a target 'y' left out"
        assert present(column).tolist() == [True, False, True, False]
        with pytest.raises(InputError, match="the target 'y' has no value in row 1"):
            target.encode(column)
    assert "1 row without" in fit(["a", None, "b"]).notes[0]


@pytest.mark.parametrize(
    ("values", "options", "error", "said"),
    [
        ([None, None], {}, InputError, "the target 'y' has no values in the 2 rows"),
        ([float("nan")], {}, InputError, "the target 'y' has no values in the 1 rows"),
        (["", "?"], {}, InputError, "has no values in the 2 rows"),
        ([], {}, InputError, "has no values in the 0 rows"),
        (
            pa.chunked_array([], pa.dictionary(pa.int32(), pa.null())),
            {},
            InputError,
            "has no values in the 0 rows",
        ),
        (["x", "x"], {}, InputError, "the target 'y' is 'x' in every row; there is nothing"),
        ([1, 1, None], {}, InputError, "the target 'y' is 1 in every row"),
        ([1.5, 1.5], {}, InputError, "the target 'y' is 1.5 in every row"),
        ([0.0, 1e-320], {}, InputError, "the target 'y' is 0 in every row"),
        ([True, True], {}, InputError, "the target 'y' is True in every row"),
        ([1.0, float("inf")], {}, InputError, "'y' has an infinite number in row 1"),
        (["1", "x"], {"task": "regression"}, InputError, "'y' has 'x' in row 1"),
        ([1, 2], {"task": "ranking"}, InputError, "task = 'ranking'; it must be one of"),
        ([f"u{i}" for i in range(60)], {}, InputError, "60 different values in 60 rows, too many"),
        (list(range(60)), {"task": "classification"}, InputError, "too many for classes"),
        ([datetime.date(2024, 1, i + 1) for i in range(3)], {}, InputError, "is of type date32"),
        ([[1], [2]], {}, InputError, "the target 'y' is of type list"),
    ],
)
def test_what_cannot_be_learnt_is_refused(values, options, error, said):
    with pytest.raises(error, match=said):
        fit(values, **options)


def test_a_class_that_was_not_there_is_named_with_the_others():
    target = fit(["<=50K", ">50K"])
    with pytest.raises(
        InputError, match=r"'<=50K.' in row 1 .*none of the classes: '<=50K', '>50K'"
    ):
        target.encode(pa.array(["<=50K", "<=50K."]))
    with pytest.raises(InputError, match="has 7 in row 0"):
        fit([1, 2, 3, 1]).encode(pa.array([7]))
    with pytest.raises(InputError, match=r"has 1.5 in row 0"):
        fit([1, 2, 3, 1]).encode(pa.array([1.5]))
    with pytest.raises(InputError, match="the target 'y' is of type list"):
        target.encode(pa.array([[1]]))
    assert fit(["1", "x"]).encode(pa.array(["1"])).tolist() == [0]
    assert fit([1, 2]).encode(pa.array(["2", "1"])).tolist() == [1, 0]


@given(
    st.one_of(
        st.lists(st.text("abc", min_size=1), min_size=2, unique=True, max_size=9),
        st.lists(st.integers(-50, 49), min_size=3, unique=True, max_size=9),
        st.lists(st.floats(0.5, 1e90), min_size=2, unique=True, max_size=9),
    )
)
def test_settings_go_through_json_to_the_bit(values):
    target = fit(values)
    again = Target.from_config(json.loads(json.dumps(target.config(), allow_nan=False)))
    assert again == target
    column = pa.array(values)
    assert again.encode(column).tobytes() == target.encode(column).tobytes()
    assert again.says()


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"task": "ranking"},
        {"task": None},
        {"name": 7},
        {"classes": None},
        {"classes": ["a"]},
        {"classes": ["b", "a"]},
        {"classes": ["a", 1]},
        {"classes": [None, None]},
        {"classes": [float("nan"), 1.0]},
        {"mean": "0"},
        {"std": 0.0},
        {"low": float("inf")},
        {"high": 10**300},
        {"missing": -1},
        {"missing": "x"},
        {"notes": "x"},
        {"notes": [1]},
    ],
)
def test_settings_that_were_tampered_with(change):
    config = fit(["a", "b"]).config()
    with pytest.raises(CheckpointError, match="the table's target"):
        Target.from_config(config | change)
    for key in change:
        with pytest.raises(CheckpointError):
            Target.from_config({name: each for name, each in config.items() if name != key})


def test_settings_that_are_none():
    for config in (None, [], "x", 7):
        with pytest.raises(CheckpointError, match="not of version 1"):
            Target.from_config(config)


def test_two_kinds_of_errors_are_told_apart():
    with pytest.raises(InputTypeError):
        Target("regression", "y", mean="0")
