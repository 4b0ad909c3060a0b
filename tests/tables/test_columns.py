"""What each kind of column becomes, and what it refuses later."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pyarrow as pa
import pytest

from mlpx.errors import InputError, InputTypeError
from mlpx.records import Record
from mlpx.tables.columns import Boolean, Category, Date, Number
from mlpx.tables.columns.category import MOST, frequent
from mlpx.tables.columns.values import numbers_in, texts_of, times_in

NAN = float("nan")
UNFIT = ["2024-01-01T00:60", "2024-01-01T00:00:60", "2024-01-00", "2024-1-01", "2024-01-01T"]


def encoded(record, values, **options):
    column = values if isinstance(values, pa.Array) else pa.array(values)
    return record.encode(column, name="c", **options)


def numbers(record, values):
    result = encoded(record, values)
    return [part.tolist() for part in [*result.continuous, *result.flags]]


def test_a_missing_number_is_the_median_and_a_flag_says_so():
    record = Number.fit(pa.array([1.0, None, 5.0, NAN, 2.0]), name="c")
    assert record == Number(2.0, 2)
    assert numbers(record, [7, None]) == [[7.0, 2.0], [0.0, 1.0]]
    assert record.says() == "median 2; 2 missing"
    assert numbers(Number.fit(pa.array([1, 2]), name="c"), [None, 3]) == [[1.5, 3.0]]


@pytest.mark.parametrize(
    "values",
    [
        [1, 0],
        [1.0, 0.0],
        [True, False],
        ["1", " 0.0"],
        pa.array(["1", "0"]).dictionary_encode(),
        pa.array([1, 0]).dictionary_encode(),
        pa.array([1, 0], pa.decimal128(5, 2)),
        pa.array([1, 0], pa.uint64()),
        pa.array([1, 0], pa.time32("s")),
    ],
)
def test_numbers_in_any_form(values):
    assert numbers(Number(), values) == [[1.0, 0.0]]


def test_a_column_without_any_value_is_missing_whatever_its_type():
    for kind in (pa.null(), pa.string(), pa.float64(), pa.int8()):
        assert numbers(Number(3.0, 1), pa.nulls(2, kind)) == [[3.0, 3.0], [1.0, 1.0]]
    nothing = pa.nulls(2)
    assert numbers(Boolean(), nothing) == [[0.0, 0.0]]
    assert numbers(Category(("a", "b")), nothing) == [[0.0, 0.0]]
    assert numbers(Date((1.0, 2.0, 3.0, 4.0, 5.0)), nothing) == [[v, v] for v in [1.0, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("record", "values", "said"),
    [
        (Number(), ["1", "x", "y"], r"'c' has 'x' in row 101 .*; wanted numbers"),
        (Number(), [1.0, float("inf")], "'c' has an infinite number in row 101"),
        (Number(), [1.0, 1e200], r"'c' has 1e\+200 in row 101 .*; wanted numbers up to 1e\+100"),
        (Number(), [datetime.date(2024, 1, 1)], "'c' is of type date32"),
        (Number(), [[1]], "'c' is of type list"),
        (Boolean(), [0, 2], "'c' has 2 in row 101"),
        (Boolean(), ["true", "maybe"], "'c' has 'maybe' in row 101"),
        (Boolean(), [datetime.date(2024, 1, 1)], "wanted true or false"),
        (Category(("a", "b")), [[1]], "'c' is of type list"),
        (Date((0.0,) * 5), ["2024-01-01", "2024-1-2"], "'c' has '2024-1-2' in row 101"),
        (Date((0.0,) * 5), [1, 2], "'c' is of type int64; wanted dates"),
        (Date((0.0,) * 5), pa.array([10**15], pa.timestamp("s")), "'c' has a date out of range"),
    ],
)
def test_what_a_column_cannot_have_is_named_with_its_row(record, values, said):
    with pytest.raises(InputError, match=said):
        encoded(record, values, start=100)


def test_texts_that_counted_as_missing_still_do():
    assert numbers(Number(2.0, 1, tolerant=True), ["1", "x"]) == [[1.0, 2.0], [0.0, 1.0]]
    date = Date((1.0, 2.0, 3.0, 4.0, 5.0), tolerant=True)
    assert numbers(date, ["x"]) == [[1.0], [2.0], [3.0], [4.0], [5.0]]


@pytest.mark.parametrize(
    "values",
    [
        [True, False, None],
        [1, 0, None],
        [1.0, 0.0, NAN],
        ["true", " False", ""],
        ["yes", "NO", "?"],
    ],
)
def test_truth_is_1_falsehood_is_minus_1_and_nothing_is_0(values):
    assert numbers(Boolean(), values) == [[1.0, -1.0, 0.0]]
    assert Boolean.fit(pa.array(values), name="c") == Boolean(missing=1)


def test_one_two_nine_and_ten_categories():
    one, two = Category(("a",)), Category(("a", "b"))
    assert numbers(one, ["a", None, "z"]) == [[1.0, 0.0, 0.0]]
    assert numbers(two, ["a", "b", None, "z"]) == [[-1.0, 1.0, 0.0, 0.0]]
    nine = Category(tuple("abcdefghi"))
    flags = np.array(numbers(nine, ["c", "z", None, "i"]))
    assert flags.shape == (9, 4)
    assert flags.sum(0).tolist() == [1.0, 0.0, 0.0, 1.0]
    assert flags[2, 0] == flags[8, 3] == 1.0
    assert nine.flags[0] == " = a"
    ten = Category(tuple("abcdefghij"))
    result = encoded(ten, ["a", "j", "z", None, " b "])
    assert result.codes.tolist() == [1, 10, 0, 0, 2]
    assert not result.continuous
    assert not result.flags
    assert (one.size, two.size, nine.size, ten.size) == (0, 0, 0, 11)


def test_a_category_is_the_same_as_text_number_or_boolean():
    record = Category.fit(pa.array([1, 2, 3]), name="c")
    for values in ([1, 3], [1.0, 3.0], ["1", "3"], pa.array([1, 3]).dictionary_encode()):
        assert numbers(record, values) == [[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]
    two = Category(("false", "true"))
    assert numbers(two, [True, False]) == [[1.0, -1.0]]
    assert numbers(Category(("1.5", "2")), pa.array([2, 1], pa.decimal128(5, 1))) == [[1.0, 0.0]]


def test_a_dictionary_may_have_more_values_than_rows():
    big = pa.DictionaryArray.from_arrays([0, 99, None], [f"v{i}" for i in range(100)])
    assert numbers(Category(("v0", "v99")), big) == [[-1.0, 1.0, 0.0]]


def test_the_most_frequent_categories_are_kept_and_the_first_of_equals():
    often = [f"a{i:06}" for i in range(MOST - 10)]
    twice = [f"b{i:06}" for i in range(20)]
    once = [f"c{i:06}" for i in range(100)]
    rows = np.array([*often * 3, *twice * 2, *once], object)
    kept, left_out = frequent(texts_of(pa.array(np.random.default_rng(0).permutation(rows))))
    assert kept == (*often, *twice[:10])
    assert left_out == 110


def test_the_parts_of_a_date():
    record = Date.fit(pa.array([datetime.date(2024, 2, 29), None]), name="c")
    assert record.missing == 1
    dates = [datetime.date(2024, 2, 29), datetime.date(1969, 12, 31), None]
    days = (datetime.date(2024, 2, 29) - datetime.date(1970, 1, 1)).days
    assert numbers(record, dates) == [
        [2024.0, 1969.0, 2024.0],
        [2.0, 12.0, 2.0],
        [29.0, 31.0, 29.0],
        [3.0, 2.0, 3.0],  # a Thursday and a Wednesday
        [days, -1.0, days],
        [0.0, 0.0, 1.0],
    ]
    assert record.continuous[-1] == " days since 1970"


def test_the_hour_counts_if_one_was_not_midnight():
    record = Date.fit(pa.array([datetime.datetime(2024, 1, 1, 18, 30)]), name="c")
    hours = numbers(record, [datetime.datetime(1970, 1, 2, 6), datetime.datetime(1969, 12, 31, 18)])
    assert hours[4:] == [[1.25, -0.25], [6.0, 18.0]]
    assert "hour" in record.says()


def test_dates_in_any_form():
    record = Date((0.0,) * 6)
    when = datetime.datetime(2024, 2, 29, 6, 30)
    expected = numbers(record, [when])
    for values in (
        ["2024-02-29T06:30"],
        ["2024-02-29 06:30:00.000"],
        ["2024-02-29T06:30:00Z"],
        ["2024-02-29T08:30:00+02:00"],
        ["2024-02-29T03:00-0330"],
        pa.array([when], pa.timestamp("ns")),
        pa.array([when], pa.timestamp("s", "Asia/Tokyo")),
        pa.array(["2024-02-29T06:30"]).dictionary_encode(),
    ):
        assert numbers(record, values) == expected


def test_every_day_of_four_centuries_is_read_as_python_reads_it():
    first = datetime.date(1799, 12, 31)
    days = [first + datetime.timedelta(days=i) for i in range(146_100)]
    read = times_in(pa.array([day.isoformat() for day in days], pa.large_string()))
    assert not read.unread.any()
    assert (read.values == np.array(days, "datetime64[us]")).all()


@pytest.mark.parametrize(
    "text",
    ["2023-02-29", "1900-02-29", "2024-00-01", "2024-04-31", "2024-01-01T24:00", "x", "24", *UNFIT],
)
def test_days_that_there_are_not(text):
    read = times_in(pa.array([text, None], pa.large_string()))
    assert read.unread.tolist() == [True, False]
    assert np.isnat(read.values).all()


def test_texts_that_are_numbers():
    texts = ["1", "+2.5", "-.5", "1e-2", "5.", "x", "1e", "+-3", "1 2", "0x1", None]
    read = numbers_in(pa.array(texts, pa.large_string()))
    assert read.values[:5].tolist() == [1.0, 2.5, -0.5, 0.01, 5.0]
    assert np.isnan(read.values[5:]).all()
    assert read.unread.tolist() == [False] * 5 + [True] * 5 + [False]
    infinite = numbers_in(pa.array(["inf", "-Infinity", "1e999"], pa.large_string()))
    assert infinite.values.tolist() == [np.inf, -np.inf, np.inf]


@pytest.mark.parametrize(
    "record",
    [
        Number(1.5, 3, tolerant=True),
        Boolean(2),
        Category(("a", "ä"), 1, 7, of_text=False),
        Date((2020.0, 1.5, 2.0, 3.0, 1e4, 12.0), 1, tolerant=True),
    ],
)
def test_settings_go_through_json(record):
    assert Record.from_config(json.loads(json.dumps(record.config()))) == record
    assert record.says()


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Number(NAN), InputError),
        (lambda: Number(1e200), InputError),
        (lambda: Number("1"), InputTypeError),
        (lambda: Number(1.0, -1), InputError),
        (lambda: Number(1.0, 1, "yes"), InputTypeError),
        (lambda: Boolean(1.5), InputTypeError),
        (lambda: Category(()), InputError),
        (lambda: Category(("b", "a")), InputError),
        (lambda: Category(("a", "a")), InputError),
        (lambda: Category(("a", 1)), InputError),
        (lambda: Category("ab"), InputError),
        (lambda: Category(tuple(f"{i:05}" for i in range(MOST + 1))), InputError),
        (lambda: Category(("a",), -1), InputError),
        (lambda: Category(("a",), 0, -1), InputError),
        (lambda: Category(("a",), 0, 0, "no"), InputTypeError),
        (lambda: Date((1.0,)), InputError),
        (lambda: Date((1.0,) * 4 + (NAN,)), InputError),
        (lambda: Date((1.0,) * 5, -1), InputError),
        (lambda: Date((1.0,) * 5, 0, 1), InputTypeError),
    ],
)
def test_settings_that_cannot_be(make, error):
    with pytest.raises(error):
        make()
