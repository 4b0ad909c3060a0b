"""What a column is taken for, and why some are left out or refused."""

from __future__ import annotations

import datetime
import time
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from mlpx.errors import InputError
from mlpx.tables.columns import Boolean, Category, Date, Number
from mlpx.tables.kinds import find

DAY = datetime.date(2024, 2, 28)
DAYS = [DAY + datetime.timedelta(days=i) for i in range(4)]
INSTANTS = [datetime.datetime(2024, 2, 28, 12, i) for i in range(4)]
SENTENCES = [f"the dog number {i} barks" for i in range(60)]


def dictionary(values: list[object]) -> pa.Array:
    return pa.array(values).dictionary_encode()


def found(values, wanted=None):
    column = values if isinstance(values, pa.Array) else pa.array(values)
    halves = pa.chunked_array([column[:1], column[1:]])
    return find(halves, name="c", wanted=wanted)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], Number),
        ([1.5, float("nan")], Number),
        (pa.array([1, 2], pa.uint8()), Number),
        (pa.array(np.array([1, 2], np.float16)), Number),
        ([Decimal("1.5"), Decimal(2)], Number),
        ([datetime.time(1), datetime.time(2)], Number),
        (["1", " 2.5 ", "-3e4", "+.5", "?"], Number),
        (dictionary([1.5, 2.5]), Category),
        ([True, False, None], Boolean),
        (DAYS, Date),
        (INSTANTS, Date),
        (pa.array(INSTANTS, pa.timestamp("ns", "Europe/Berlin")), Date),
        ([str(day) for day in DAYS], Date),
        (["2024-02-28T10:00:00Z", "2024-02-28 11:00", None], Date),
        (["x", "y", None], Category),
        (["1", "2", "x"], Category),
        (["1.2.3", "1e", "--1"], Category),
        (dictionary(["1", "2"]), Category),
        (pa.array(["x", "y"], pa.large_string()), Category),
        (["2024-02-30", "2024-13-01", "2023-02-29"], Category),
        (["x", None], Category),
        ([1, None], Number),
    ],
)
def test_the_kind_of_a_column(values, kind):
    result = found(values)
    assert type(result.column) is kind
    assert result.kind == kind.name
    assert not result.notes


@pytest.mark.parametrize(
    ("values", "kind", "why"),
    [
        ([None, None], "empty", "it has no values"),
        ([float("nan")] * 2, "empty", "it has no values"),
        (["", "NA", "?"], "empty", "it has no values"),
        (pa.nulls(3, pa.bool_()), "empty", "it has no values"),
        ([7, 7, 7], "constant", "it is 7 in every row"),
        (["x", " x"], "constant", "it is 'x' in every row"),
        ([True, True], "constant", "it is True in every row"),
        (dictionary(["x", "x"]), "constant", "it is 'x' in every row"),
        ([DAY, DAY], "constant", "it is 2024-02-28 in every row"),
        (
            pa.array([2**57] * 2, pa.timestamp("us")),
            "constant",
            "it is 6536-10-29 20:41:15.855872",
        ),
        (pa.array([2**59] * 2, pa.timestamp("us")), "constant", "it is 20237-04-25"),
        ([f"u{i}" for i in range(100)], "id-like", "it looks like an id"),
    ],
)
def test_what_says_nothing_is_left_out(values, kind, why):
    result = found(values)
    assert result.column is None
    assert result.kind == kind
    assert why in result.why


def test_few_different_texts_and_few_rows_are_categories():
    assert found([f"u{i}" for i in range(99)]).kind == "category"
    assert found([f"u{i % 90}" for i in range(100)]).kind == "category"
    assert found(SENTENCES[:49]).kind == "category"
    assert found(SENTENCES[:25] * 2).kind == "category"


def test_free_text_is_refused_with_advice():
    with pytest.raises(InputError, match=r"'c' is free text: 60 .* of 5.0 words.*drop = \['c'\]"):
        found(SENTENCES)
    assert found(SENTENCES, wanted="category").kind == "category"


@pytest.mark.parametrize(
    "values",
    [[[1], [2]], [{"a": 1}, {"a": 2}], [b"x", b"y"], [datetime.timedelta(1), None]],
    ids=["list", "struct", "bytes", "duration"],
)
def test_types_that_no_kind_has_are_refused(values):
    for wanted in (None, "category"):
        with pytest.raises(InputError, match=r"'c' is of type .*, which no model takes; leave"):
            found(values, wanted)


@pytest.mark.parametrize(("good", "bad", "kind"), [("7", "x", "number"), (str(DAY), "x", "date")])
def test_few_texts_that_are_none_are_noted(good, bad, kind):
    values = [f"{good[:-1]}{i % 8 + 1}" for i in range(95)]
    result = found([*values, *(f"{bad}{i}" for i in range(5))])
    assert result.kind == kind
    assert result.column.tolerant
    (note,) = result.notes
    assert f"'c' is taken for {kind}s; 5 of its texts are none" in note
    assert "'x0', 'x1', 'x2', ..." in note
    assert found([*values, *["x"] * 6]).kind == "category"


def test_whole_numbers_that_floats_do_not_hold_are_noted():
    for values in ([2**53 + 1, 1], [2.0**60, 1.0], pa.array([2**64 - 1, 1], pa.uint64())):
        (note,) = found(values).notes
        assert "of 2**53 and more" in note
    assert not found([2**53 - 1, 1]).notes
    assert not found([2.0**60, 0.5]).notes


def test_the_kind_can_be_said():
    assert found([1, 2, 3], "category").column.values == ("1", "2", "3")
    assert found([1.0, 2.5, None], "category").column.values == ("1", "2.5")
    assert found([True, False], "category").column.values == ("false", "true")
    assert found(["yes", "no"], "boolean").kind == "boolean"
    assert found([0, 1], "boolean").kind == "boolean"
    assert found(["1", "x", "y"], "number").notes
    assert found([f"u{i}" for i in range(200)], "category").kind == "category"


@pytest.mark.parametrize(
    ("values", "wanted", "said"),
    [
        (["x", "y"], "number", "was said to be a number, and none of its values is one"),
        (["x", "y"], "date", "was said to be a date"),
        (["x", "y"], "boolean", "'x' in row 0 .the first is row 0.; wanted true or false"),
        ([1, 2], "boolean", "has 2 in row 1"),
        ([1, 2], "date", "is of type int64; wanted dates"),
        (DAYS, "number", "is of type date32"),
        (DAYS, "boolean", "is of type date32"),
        ([1, 2], "text", "the kind of column 'c' = 'text'; it must be one of"),
    ],
)
def test_a_kind_that_the_column_is_not_of(values, wanted, said):
    with pytest.raises(InputError, match=said):
        found(values, wanted)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), 1e101])
def test_infinite_numbers_are_refused(value):
    with pytest.raises(InputError, match=r"'c' has .* in row 2 \(the first is row 0\)"):
        found([1.0, 2.0, value])
    with pytest.raises(InputError, match=r"'c' has .* in row 2"):
        found(["1", "2", repr(value)])


def test_a_million_categories_take_seconds():
    n = 1_000_000
    column = pa.chunked_array([pa.array([f"k{i}" for i in range(n)] + ["twice"] * 2)])
    start_s = time.process_time()
    result = find(column, name="c", wanted="category")
    assert time.process_time() - start_s < 20
    assert result.column.left_out == n + 1 - 9999
    assert "'c' has 1,000,001 categories; the 9,999 most frequent ones are kept" in result.notes[0]
    assert "twice" in result.column.values
    assert result.column.values[0] == "k0"
