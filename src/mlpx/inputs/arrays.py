"""Checks of x and of sample weights, with clear messages for invalid input.

Nothing is checked again inside the library.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any

import numpy as np

from mlpx.backend import Backend, array_backend
from mlpx.backend.base import check_array_like, check_unmasked
from mlpx.errors import InputError, InputTypeError
from mlpx.inputs.frames import array_of, columns_of
from mlpx.types import Array

CHUNK_ELEMENTS = 1 << 22
"""How many numbers are checked at a time, so that a memory-mapped file is never fully loaded."""
SUM_TOLERANCE = 1e-3


def by_row(array: Array) -> Array:
    """`array` itself if rows can be taken without copying the whole, else a C-contiguous copy."""
    if not isinstance(array, np.ndarray) or (array.flags.c_contiguous and array.flags.aligned):
        return array
    return np.require(array, requirements=["C", "A"])


class Checks:
    """Checks of several arrays: immediate on the host, deferred on a device to wait only once."""

    def __init__(self) -> None:
        self._asked: dict[str, list[tuple[Array, Callable[[], None]]]] = {}

    def __enter__(self) -> Checks:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.settle()

    def require(self, fine: Array, refuse: Callable[[], None]) -> None:
        """Call `refuse`, which looks closer and raises, if the boolean scalar `fine` is false."""
        if not isinstance(fine, np.ndarray | np.bool_):
            self._asked.setdefault(array_backend(fine).device, []).append((fine, refuse))
        elif not fine:
            refuse()

    def settle(self) -> None:
        """Wait for the results, once per device; raises the error of the first failed check."""
        while self._asked:
            _, asked = self._asked.popitem()
            backend = array_backend(asked[0][0])
            answers = backend.to_numpy(backend.xp.stack([fine for fine, _ in asked]))
            for fine, (_, refuse) in zip(answers, asked, strict=True):
                if not fine:
                    refuse()


def together(checks: Checks | None) -> AbstractContextManager[Checks]:
    """A context with `checks`, or, for None, with new ones that are settled at the end."""
    return Checks() if checks is None else nullcontext(checks)


def check_array(name: str, given: Any, backend: Backend) -> Array:
    """`given` as an array of numbers, on the host or on `backend`'s device; not yet cast.

    Only arrays on another device are moved. Raises InputTypeError if it is not an array, is sparse,
    or has a dtype that is not of real numbers, InputError for masked entries.
    """
    plain = type(given) is np.ndarray and given.dtype.kind in "fiub"
    array = given if plain else _as_array(name, given, backend)
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if kind not in "fiub" or itemsize > 8:
        raise InputTypeError(
            f"{name} has dtype {array.dtype}; wanted float16, float32, float64, integers or bool"
        )
    return array


def _as_array(name: str, given: Any, backend: Backend) -> Array:
    check_unmasked(given, name)
    columns = columns_of(given)
    if columns is not None:
        return array_of(name, given, columns)
    try:
        check_array_like(given)
        holder = array_backend(given)
        return (holder if holder.kind == "cpu" else backend).asarray(given)
    except InputTypeError as error:
        raise InputTypeError(f"{name} is not usable: {error}") from None
    except InputError as error:
        raise InputError(f"{name} is not usable: {error}") from None


def check_x(
    given: Any, *, columns: int, backend: Backend, name: str = "x", least_rows: int = 1
) -> Array:
    """`given` as a 2-D array with `columns` columns and at least `least_rows` rows.

    Raises InputError or InputTypeError saying what was given and what was wanted.
    """
    x = check_array(name, given, backend)
    if x.ndim == 1:
        raise InputError(
            f"{name} is one-dimensional, {name}.shape = {x.shape}; wanted (n, {columns}): "
            f"use {name}.reshape(1, -1) for one row or {name}.reshape(-1, 1) for one column"
        )
    if x.ndim != 2:
        advice = f": use {name}.reshape(len({name}), -1)" if x.ndim > 2 else ""
        raise InputError(f"{name}.shape = {x.shape}; wanted (n, {columns}){advice}")
    if len(x) < least_rows:
        raise InputError(f"{name} is empty, {name}.shape = {x.shape}; wanted at least one row")
    if x.shape[1] != columns:
        raise InputError(
            f"{name} has {x.shape[1]} columns; this model was built for {columns} "
            f"({name}.shape = {x.shape})"
        )
    return x


def check_finite(
    array: Array, *, dtype: np.dtype, name: str, checks: Checks | None = None,
    optional: bool = False,
) -> None:  # fmt: skip
    """Check that every number is finite and within `dtype`'s range.

    One pass in chunks on the host; one reduction on a device, read when `checks` are settled.
    `optional`: the caller can skip the check with `check_finite=False`, as the message says.
    Raises InputError with the first bad value and its position.
    """
    if array.dtype.kind not in "f" or array.size == 0:
        return
    limit = largest(array, dtype)
    rows = max(1, CHUNK_ELEMENTS // max(1, array.size // len(array)))
    if not isinstance(array, np.ndarray):
        rows = len(array)
    with together(checks) as asked:
        for start in range(0, len(array), rows):
            part = array[start : start + rows]
            fine = (part.min() >= -limit) & (part.max() <= limit)
            asked.require(fine, partial(_refuse, part, start, limit, dtype, name, optional))


def largest(array: Array, dtype: np.dtype) -> float:
    """The largest number that `dtype` can hold and, if it is of floats, `array` too."""
    return _least_range(dtype, array.dtype) if array.dtype.kind == "f" else _least_range(dtype)


@cache
def _least_range(*dtypes: np.dtype) -> float:
    return min(float(np.finfo(dtype).max) for dtype in dtypes)


def _refuse(
    part: Array, start: int, limit: float, dtype: np.dtype, name: str, optional: bool
) -> None:
    part = np.asarray(array_backend(part).to_numpy(part))
    bad = np.argwhere(~(np.abs(part) <= limit))[0]
    value = part[tuple(bad)]
    where = f"row {start + bad[0]}" + (f", column {bad[1]}" if part.ndim > 1 else "")
    if np.isfinite(value):
        raise InputError(
            f"{name} has {value:g} at {where}, beyond {dtype}'s range of {limit:g}; "
            "scale it, or give the model dtype float64"
        )
    advice = " (check_finite=False skips this check)" if optional else ""
    raise InputError(f"{name} has {value} at {where}; wanted finite numbers{advice}")


def check_weights(
    given: Any, *, n: int, backend: Backend, name: str = "sample_weight",
    checks: Checks | None = None,
) -> Array | None:  # fmt: skip
    """`given` as row weights (n, 1), not yet cast, or None for None.

    Raises InputError for a wrong length, NaN, infinite or negative weights, or if none is positive.
    """
    if given is None:
        return None
    w = check_array(name, given, backend)
    if w.shape not in ((n,), (n, 1)):
        raise InputError(f"{name}.shape = {w.shape}; wanted ({n},), one for each row of x")
    least, most = w.min(), w.max()
    fine = (least >= 0) & (most > 0) & (most < np.inf)
    with together(checks) as asked:
        asked.require(fine, partial(_refuse_weights, w, name))
    return w.reshape(n, 1)


def _refuse_weights(w: Array, name: str) -> None:
    host = array_backend(w).to_numpy(w).reshape(-1)
    check_finite(host, dtype=np.dtype(np.float64), name=name)
    if host.min() < 0:
        row = int(host.argmin())
        raise InputError(f"{name} has {host[row]:g} at row {row}; weights must not be negative")
    raise InputError(f"{name} is zero for every row; at least one must be positive")


def in_range(w: Array, dtype: np.dtype) -> Array:
    """Weights w in `dtype`, divided by the largest if it cannot hold them and their sums well.

    The division changes no weighted mean. Does not wait for a device.
    """
    held, most = _held(w, dtype)
    if isinstance(w, np.ndarray) and held:
        return w.astype(dtype, copy=False)
    divisor = array_backend(w).xp.where(held, 1.0, most)
    with np.errstate(all="ignore"):  # on a device, invalid weights are not known yet
        return (w.astype(np.float64) / divisor).astype(dtype)


def check_in_range(w: Array, dtype: np.dtype, name: str, checks: Checks | None = None) -> Array:
    """Weights w in `dtype`, unscaled, for a penalty that is divided by their sum.

    Raises InputError if `dtype` cannot hold them and their sums well.
    """
    held, _ = _held(w, dtype)
    with together(checks) as asked:
        asked.require(held, partial(_refuse_scale, w, dtype, name))
    with np.errstate(all="ignore"):
        return w.astype(dtype, copy=False)


def _held(w: Array, dtype: np.dtype) -> tuple[Array, Array]:
    """Whether `dtype` can hold w, its sum and shares of the sum; and the largest weight, float64.

    It can if the largest weight is far enough from both ends of its range.
    """
    most, least = w.max().astype(np.float64), float(np.finfo(dtype).tiny) ** 0.5
    return (most >= least) & (most <= 1.0 / least), most


def _refuse_scale(w: Array, dtype: np.dtype, name: str) -> None:
    most = float(array_backend(w).to_numpy(w.max()))
    raise InputError(
        f"{name} is {most:g} at most, too near the limits of {dtype}; a penalty (one with "
        "per_row=True, or an estimator's alpha) is divided by the sum of the weights, so they are "
        "not scaled here: give weights around 1"
    )
