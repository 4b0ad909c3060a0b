"""The values of a column: as texts, as numbers, as times. None, NaN and NaT are what is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mlpx.errors import InputError
from mlpx.untrusted import brief

MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?")
"""Texts that stand for no value."""
LARGEST = 1e100
"""The largest number that a column may hold: the arithmetic beyond it would overflow."""
NUMBER = r"^[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?|(?i:inf|infinity))$"
INSTANT = (
    r"^(?P<year>\d{4})-(?P<month>\d\d)-(?P<day>\d\d)"
    r"(?:[T ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d)(?:\.(?P<fraction>\d{1,9}))?)?"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?)?$"
)
"""ISO 8601, of which the date alone is enough. Source: ISO 8601-1:2019."""
NO_TIME = np.iinfo(np.int64).min
"""NaT as a whole number."""
MONTHS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31])


USABLE = {pa.float16(): pa.float32()}
"""For types that pyarrow has few functions for, others."""
if hasattr(pa, "string_view"):
    USABLE[pa.string_view()] = pa.large_string()


class Read(NamedTuple):
    """What texts say as numbers or times: NaN or NaT for none, and which could not be read."""

    values: np.ndarray
    unread: np.ndarray


@dataclass(frozen=True, eq=False)
class Texts:
    """The texts of a column without the blanks around them; a column itself, looked at once.

    `different`: each text once, a pyarrow array of large_string. `rows`: which a row has, int64
    (n,), -1 for none.
    """

    different: Any
    rows: np.ndarray
    type: Any = field(default_factory=pa.large_string)

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def counts(self) -> np.ndarray:
        """How many rows have each, int64."""
        return np.bincount(self.rows[self.rows >= 0], minlength=len(self.different))

    @cached_property
    def numbers(self) -> Read:
        """The numbers that the different ones are."""
        return numbers_in(self.different)

    @cached_property
    def times(self) -> Read:
        """The times that the different ones are."""
        return times_in(self.different)


def whole(column: Any) -> Any:
    """A column as one pyarrow array."""
    if isinstance(column, pa.ChunkedArray):
        empty = not len(column)  # which pyarrow cannot combine if it is of a dictionary of nothing
        column = pa.nulls(0, type_of(column)) if empty else column.combine_chunks()
    return column.cast(USABLE.get(column.type, column.type))


def type_of(column: Any) -> Any:
    """The type of its values, without the dictionary that they may be kept in."""
    kind = column.type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def is_text(kind: Any) -> bool:
    """Whether a type is of texts."""
    view = getattr(pa.types, "is_string_view", None)
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or (view is not None and view(kind))
    )


def is_number(kind: Any) -> bool:
    """Whether a type is of numbers."""
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_null(kind)
    )


def is_time(kind: Any) -> bool:
    """Whether a type is of dates, with a time of day or without."""
    return bool(pa.types.is_date(kind) or pa.types.is_timestamp(kind))


def check_type(column: Any, name: str) -> None:
    """Raises InputError for a column of a type that no kind has."""
    kind = type_of(column)
    if is_text(kind) or is_number(kind) or is_time(kind):
        return
    if not (pa.types.is_boolean(kind) or pa.types.is_time(kind)):
        raise InputError(
            f"column {brief(repr(name))} is of type {brief(kind)}, which no model takes; leave it "
            f"out (drop = [{brief(repr(name))}]), or turn it into numbers"
        )


def texts_of(column: Any) -> Texts:
    """The texts of a column of any kind that can be written as text; whole floats as "3"."""
    if isinstance(column, Texts):
        return column
    if isinstance(column, pa.ChunkedArray) and not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()  # each chunk by itself may be as large as can be
    array = _packed(whole(column))
    indices = pc.fill_null(array.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    raw = as_texts(array.dictionary)
    cleaned = pc.utf8_trim_whitespace(raw)
    lacking = pc.fill_null(pc.is_in(cleaned, value_set=pa.array(MISSING, cleaned.type)), True)
    merged = pc.if_else(lacking, pa.scalar(None, cleaned.type), cleaned).dictionary_encode()
    which = pc.fill_null(merged.indices.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    rows = np.append(which, -1)[indices]  # -1 takes the last
    return Texts(merged.dictionary, rows)


def _packed(array: Any) -> Any:
    """Dictionary-encoded with no more different values than rows."""
    if pa.types.is_dictionary(array.type):
        if len(array.dictionary) <= len(array):
            return array
        array = array.dictionary_decode()
    return array.dictionary_encode()


def as_texts(values: Any) -> Any:
    """Values as large_string; a float that is whole is written as a whole number, and a time in the
    same way whatever its unit, without the time of day at midnight.
    """
    text = pa.large_string()
    if is_time(values.type):
        return pa.array(_written(values), text, from_pandas=True)
    if pa.types.is_floating(values.type) or pa.types.is_decimal(values.type):
        numbers = values.cast(pa.float64())
        floats = numbers.to_numpy(zero_copy_only=False)
        exact = (floats == np.floor(floats)) & (np.abs(floats) < 2.0**53)
        ints = pa.array(np.where(exact, floats, 0).astype(np.int64)).cast(text)
        return pc.if_else(pa.array(exact), ints, numbers.cast(text))
    return values.cast(text)


def _written(values: Any) -> np.ndarray:
    """Times as text in the form of ISO 8601, in UTC if they have a zone, objects (n,)."""
    instants = values.cast(pa.timestamp("us", getattr(values.type, "tz", None)), safe=False)
    times = instants.cast(pa.timestamp("us")).to_numpy(zero_copy_only=False)
    days = times.astype("datetime64[D]")
    seconds = times.astype("datetime64[s]")
    found = np.where(days == times, np.datetime_as_string(days), np.datetime_as_string(seconds))
    found = np.where((seconds == times) | (days == times), found, np.datetime_as_string(times))
    written: np.ndarray = found.astype(object)
    written[np.isnat(times)] = None
    return written


def numbers_in(texts: Any) -> Read:
    """The numbers that texts are, float64; unread are those that are none."""
    match = pc.match_substring_regex(texts, NUMBER)
    plain = pc.if_else(pc.fill_null(match, False), texts, pa.scalar(None, texts.type))
    values = plain.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return Read(values, _false(match))


def times_in(texts: Any) -> Read:
    """The times that texts are in the form of ISO 8601, datetime64[us], in UTC if they name a zone.

    A text with a day that its month does not have is unread.
    """
    found = pc.extract_regex(texts, INSTANT)
    matched = found.is_valid().to_numpy(zero_copy_only=False)

    def part(name: str) -> np.ndarray:
        digits = pc.struct_field(found, name)
        digits = pc.if_else(pc.equal(pc.fill_null(digits, ""), ""), "0", digits)
        number: np.ndarray = digits.cast(pa.int64()).to_numpy(zero_copy_only=False)
        return number

    year, month, day = part("year"), part("month"), part("day")
    hour, minute, second = part("hour"), part("minute"), part("second")
    leap = (year % 4 == 0) & ((year % 100 != 0) | (year % 400 == 0))
    days = MONTHS[(month - 1) % 12] + (leap & (month == 2))
    fine = matched & (month >= 1) & (month <= 12) & (day >= 1) & (day <= days)
    fine &= (hour < 24) & (minute < 60) & (second < 60)
    start = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    seconds = (day - 1) * 86400 + hour * 3600 + minute * 60 + second - _offset_s(found)
    times = start.astype("datetime64[us]") + seconds * 1_000_000 + _fraction_us(found)
    times[~fine] = np.datetime64("NaT")
    return Read(times, ~fine & texts.is_valid().to_numpy(zero_copy_only=False))


def _fraction_us(found: Any) -> np.ndarray:
    digits = pc.utf8_rpad(pc.fill_null(pc.struct_field(found, "fraction"), ""), 9, "0")
    microseconds = digits.cast(pa.int64()).to_numpy(zero_copy_only=False) // 1000
    result: np.ndarray = microseconds
    return result


def _offset_s(found: Any) -> np.ndarray:
    """Seconds that a named zone is ahead of UTC; there are few zones, each read once."""
    zones = pc.fill_null(pc.struct_field(found, "zone"), "").dictionary_encode()
    offsets = []
    for zone in zones.dictionary.to_pylist():
        digits = zone[1:].replace(":", "")
        size_s = int(digits[:2]) * 3600 + int(digits[2:]) * 60 if digits else 0
        offsets.append(-size_s if zone.startswith("-") else size_s)
    if not offsets:
        return np.zeros(len(found), np.int64)
    offset_s: np.ndarray = np.array(offsets, np.int64)[zones.indices.to_numpy(zero_copy_only=False)]
    return offset_s


def _false(answers: Any) -> np.ndarray:
    told: np.ndarray = pc.fill_null(pc.invert(answers), False).to_numpy(zero_copy_only=False)
    return told


def floats_of(column: Any) -> np.ndarray:
    """The numbers of a column of a numeric type, float64 (n,), NaN where there is none."""
    array = whole(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if array.type in (pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")):
        array = array.cast(pa.time64("ns")).cast(pa.int64()).cast(pa.float64(), safe=False)
        return np.array(array.to_numpy(zero_copy_only=False)) / 1e9
    floats = array.cast(pa.float64(), safe=False)
    return np.array(floats.to_numpy(zero_copy_only=False))


def times_of(column: Any, name: str) -> np.ndarray:
    """The times of a column of dates, datetime64[us] (n,), in UTC if it has a zone."""
    array = whole(column)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    zone = getattr(array.type, "tz", None)
    options = pc.CastOptions(pa.timestamp("us", tz=zone), allow_time_truncate=True)
    try:
        times = array.cast(options=options)
    except pa.ArrowInvalid as error:
        raise InputError(f"column {brief(repr(name))} has a date out of range: {error}") from None
    ticks = pc.fill_null(times.cast(pa.int64()), NO_TIME)
    return np.array(ticks.to_numpy(zero_copy_only=False)).view("datetime64[us]")


def check_range(values: np.ndarray, name: str, start: int = 0) -> None:
    """Raises InputError naming the first number that is infinite or beyond the range."""
    with np.errstate(invalid="ignore"):
        bad = np.abs(values) > LARGEST
    if bad.any():
        row = int(bad.argmax())
        what = "an infinite number" if np.isinf(values[row]) else f"{values[row]:g}"
        raise InputError(
            f"column {brief(repr(name))} has {what} in {row_named(row + start)}; wanted numbers up "
            f"to {LARGEST:g} in size, or nothing where there is none"
        )


def refuse_first(unread: np.ndarray, texts: Texts, name: str, *, wanted: str, start: int) -> None:
    """Raises InputError naming the first row with one of the texts that are `unread`, if any is."""
    if not unread.any():
        return
    bad = np.append(unread, False)[texts.rows]
    row = int(bad.argmax())
    value = texts.different[int(texts.rows[row])].as_py()
    raise InputError(
        f"column {brief(repr(name))} has {brief(repr(value))} in {row_named(row + start)}; wanted "
        f"{wanted}, as in the rows that the model learnt from"
    )


def shown(value: Any) -> str:
    """A value of a pyarrow array, for a message."""
    if is_time(value.type):  # Python knows only the years from 1 to 9999
        value = str(value.cast(pa.string()).as_py())
        return brief(value)
    return brief(repr(value.as_py()))


def row_named(row: int) -> str:
    """A row, for a message."""
    return f"row {row} (the first is row 0)"
