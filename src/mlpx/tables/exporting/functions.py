"""What a module of plain NumPy makes of a table's columns; what it needs is copied into it.

Each kind of column returns its measures, its flags and its codes: lists of arrays (n,).
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np

from mlpx.tables.columns.values import MISSING

Parts = tuple[list[np.ndarray], list[np.ndarray], list[np.ndarray]]


def number(
    columns: Any, name: str, median: float, flag: bool = False, tolerant: bool = False
) -> Parts:
    """The number, or the median where it is missing, and a flag for that."""
    z = numbers(columns, name, tolerant)
    lacking = np.isnan(z)
    return [np.where(lacking, median, z)], [lacking] if flag else [], []


def boolean(columns: Any, name: str) -> Parts:
    """1 for true, -1 for false, 0 where it is missing."""
    values = column(columns, name)
    if values.dtype.kind not in "biuf":
        known = {"true": 1, "yes": 1, "1": 1, "false": 0, "no": 0, "0": 0, "": np.nan}
        values = np.array([known.get(text_of(value, name).lower(), 2) for value in values], float)
    z = values.astype(np.float64)
    if not (np.isnan(z) | (z == 0) | (z == 1)).all():
        raise ValueError(f"column {name!r} has other values than true and false")
    return [], [np.where(np.isnan(z), 0, 2 * z - 1)], []


def one_hot(columns: Any, name: str, values: tuple[str, ...]) -> Parts:
    """A flag for each of the values."""
    at = places(columns, name, values)
    return [], [at == j for j in range(1, len(values) + 1)], []


def one_of_two(columns: Any, name: str, values: tuple[str, str]) -> Parts:
    """-1 for the first value, 1 for the second, 0 for any other."""
    return [], [np.array([0, -1, 1])[places(columns, name, values)]], []


def code(columns: Any, name: str, values: tuple[str, ...]) -> Parts:
    """1, 2, ... for the values, 0 for any other."""
    return [], [], [places(columns, name, values)]


def moment(
    columns: Any, name: str, medians: tuple[float, ...], flag: bool = False, tolerant: bool = False
) -> Parts:
    """Year, month, day, weekday, days since 1970, and the hour if there are six medians, which
    stand where the date is missing; and a flag for that.
    """
    t = times(columns, name, tolerant)
    lacking = np.isnat(t)
    t = np.where(lacking, np.datetime64(0, "us"), t)
    days, months = t.astype("datetime64[D]"), t.astype("datetime64[M]")
    since = days.astype(np.int64)
    parts = [
        t.astype("datetime64[Y]").astype(np.int64) + 1970,
        months.astype(np.int64) % 12 + 1,
        (days - months.astype("datetime64[D]")).astype(np.int64) + 1,
        (since + 3) % 7,  # 1970 began on a Thursday
        since,
    ]
    if len(medians) == 6:
        parts[4] = (t - np.datetime64(0, "us")) / np.timedelta64(1, "D")
        parts.append((t - days) // np.timedelta64(1, "h"))
    filled = [np.where(lacking, m, part) for m, part in zip(medians, parts, strict=True)]
    return filled, [lacking] if flag else [], []


def robust(z: np.ndarray, centers: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """u / sqrt(1 + (u / 3)**2) of u = (z - center) factor."""
    u = standard(z, centers, factors)
    return u / np.sqrt(1 + (u / 3) ** 2)


def standard(z: np.ndarray, centers: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """(z - center) factor, within +-1e9."""
    return np.clip((z - centers) * factors, -1e9, 1e9)


def quantile(z: np.ndarray, scales: list[dict[str, list[float]]]) -> np.ndarray:
    """The scores at each column's edges, linear between them and constant beyond."""
    pairs = zip(z.T, scales, strict=True)
    return np.stack([np.interp(v, each["edges"], each["scores"]) for v, each in pairs], axis=1)


def places(columns: Any, name: str, values: tuple[str, ...]) -> np.ndarray:
    """Which of the values each row has, from 1; 0 where it is missing or none of them."""
    known = {value: i for i, value in enumerate(values, 1)}
    found = [known.get(v) or known.get(text_of(v, name), 0) for v in column(columns, name)]
    return np.array(found, np.int64)


def numbers(columns: Any, name: str, tolerant: bool) -> np.ndarray:
    """The numbers of a column, float64 (n,), NaN where there is none."""
    values = column(columns, name)
    if values.dtype.kind in "biuf":
        z = values.astype(np.float64)
    else:
        z = np.array([number_of(value, name, tolerant) for value in values], np.float64)
    if (np.abs(z) > 1e100).any():
        raise ValueError(f"column {name!r} has infinity or a number beyond 1e100")
    return z


def times(columns: Any, name: str, tolerant: bool) -> np.ndarray:
    """The times of a column, datetime64[us] (n,), in UTC, NaT where there is none."""
    values = column(columns, name)
    if values.dtype.kind != "M":
        moments = [time_of(value, name, tolerant) for value in values]
        values = np.array(moments, "datetime64[us]")
    return values.astype("datetime64[us]")


def column(columns: Any, name: str) -> np.ndarray:
    """A column by its name (n,)."""
    if name not in columns:
        raise ValueError(f"there is no column {name!r}")
    values = np.asarray(columns[name])
    if values.ndim != 1:
        raise ValueError(f"column {name!r} has shape {values.shape}; wanted (n,)")
    return values


def number_of(value: Any, name: str, tolerant: bool) -> float:
    """A value as a number, NaN for none; `tolerant`: for other text too."""
    if is_missing(value):
        return np.nan
    try:
        if isinstance(value, str) and ("_" in value or not value.isascii()):
            raise ValueError
        return float(value)
    except (TypeError, ValueError):
        if tolerant and isinstance(value, str):
            return np.nan
        raise ValueError(f"column {name!r} has {str(value)!r}; wanted numbers") from None


def time_of(value: Any, name: str, tolerant: bool) -> np.datetime64:
    """A value as a time in UTC, NaT for none; `tolerant`: for other text too."""
    if is_missing(value):
        return np.datetime64("NaT")
    try:
        if isinstance(value, str):
            value = iso_time(value.strip())
        if not isinstance(value, date | np.datetime64):
            raise ValueError
        if isinstance(value, datetime) and value.tzinfo is not None:
            value = value.astimezone(UTC).replace(tzinfo=None)
        return np.datetime64(value, "us")
    except ValueError:
        if tolerant and isinstance(value, str):
            return np.datetime64("NaT")
        raise ValueError(
            f"column {name!r} has {str(value)!r}; wanted dates such as 2024-02-29"
        ) from None


def iso_time(text: str) -> datetime:
    """The time that a text in the form of ISO 8601 says: 2024-02-29, 2024-02-29T10:30:00+01:00."""
    between, marks = text[10:11], text[4:5] + text[7:8]
    if marks != "--" or between not in ("", "T", " ") or (between and text[13:14] != ":"):
        raise ValueError
    return datetime.fromisoformat(text)


def text_of(value: Any, name: str) -> str:
    """A value as text without blanks around it, "" for none; whole numbers as "3"."""
    if is_missing(value):
        return ""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    if isinstance(value, float | np.floating):
        return float_text(float(value))
    if isinstance(value, int | np.integer):
        return str(value)
    raise ValueError(f"column {name!r} has {str(value)!r}; wanted text")


def float_text(value: float) -> str:
    """A number as text: 3, 0.25, 1.5e-7, 1e+16."""
    if value.is_integer() and abs(value) < 2**53:
        return str(int(value))
    if 1e-6 <= abs(value) < 1e15:
        return np.format_float_positional(value, trim="0")
    return np.format_float_scientific(value, trim="-", exp_digits=1)


def is_missing(value: Any) -> bool:
    """Whether a value stands for none: None, NaN, NaT, pandas' NA, or a text such as "NA"."""
    if value is None or isinstance(value, str):
        return value is None or value.strip() in MISSING
    try:
        return bool(value != value)
    except TypeError:  # of pandas' NA
        return True
