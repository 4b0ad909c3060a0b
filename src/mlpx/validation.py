"""What may come in as x and weights, and clear words for what may not.

Inside the library nothing is checked again.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.backend import Backend, array_backend
from mlpx.backend.base import check_array_like
from mlpx.errors import InputError, InputTypeError
from mlpx.types import Array

CHUNK_ELEMENTS = 1 << 22
"""How many numbers are checked at a time, so that a memory-mapped file is never read as a whole."""
SUM_TOLERANCE = 1e-3


def check_array(name: str, given: Any, backend: Backend) -> Array:
    """`given` as an array of numbers, on the host or on `backend`'s device, not yet copied or cast.

    Raises InputTypeError for what is no array, sparse, or of a dtype that holds no real numbers.
    """
    try:
        check_array_like(given)
        array = array_backend(given).asarray(given)
    except InputTypeError as error:
        raise InputTypeError(f"{name} is not usable: {error}") from None
    except InputError as error:
        raise InputError(f"{name} is not usable: {error}") from None
    kind, itemsize = array.dtype.kind, array.dtype.itemsize
    if kind not in "fiub" or itemsize > 8:
        raise InputTypeError(
            f"{name} has dtype {array.dtype}; wanted float16, float32, float64, integers or bool"
        )
    return array


def check_x(given: Any, *, columns: int, backend: Backend, name: str = "x") -> Array:
    """`given` as a 2-D array of `columns` columns and at least one row.

    Raises InputError or InputTypeError naming what was given and what was wanted.
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
    if len(x) == 0:
        raise InputError(f"{name} is empty, {name}.shape = {x.shape}; wanted at least one row")
    if x.shape[1] != columns:
        raise InputError(
            f"{name} has {x.shape[1]} columns; this model was built for {columns} "
            f"({name}.shape = {x.shape})"
        )
    return x


def check_finite(array: Array, *, dtype: np.dtype, name: str) -> None:
    """Check that every number is finite and within `dtype`'s range.

    One pass in chunks on the host; on a device one reduction and one synchronisation.
    Raises InputError with the first bad value and where it is.
    """
    if array.dtype.kind not in "f" or array.size == 0:
        return
    limit = min(float(np.finfo(kind).max) for kind in (dtype, array.dtype))
    rows = max(1, CHUNK_ELEMENTS // max(1, array.size // len(array)))
    if not isinstance(array, np.ndarray):
        rows = len(array)  # a device checks all at once: one synchronisation
    for start in range(0, len(array), rows):
        part = array[start : start + rows]
        if not bool((part.min() >= -limit) & (part.max() <= limit)):
            _refuse(np.asarray(array_backend(part).to_numpy(part)), start, limit, dtype, name)


def _refuse(part: np.ndarray, start: int, limit: float, dtype: np.dtype, name: str) -> None:
    bad = np.argwhere(~(np.abs(part) <= limit))[0]
    value = part[tuple(bad)]
    where = f"row {start + bad[0]}" + (f", column {bad[1]}" if part.ndim > 1 else "")
    if np.isfinite(value):
        raise InputError(
            f"{name} has {value:g} at {where}, beyond {dtype}'s range of {limit:g}; "
            "scale it, or build the model with dtype='float64'"
        )
    raise InputError(
        f"{name} has {value} at {where}; wanted finite numbers "
        "(check_finite=False skips this check)"
    )


def check_weights(
    given: Any, *, n: int, dtype: np.dtype, backend: Backend, name: str = "sample_weight"
) -> Array | None:
    """`given` as row weights (n, 1) in `dtype`, or None for None.

    Raises InputError for a wrong length, NaN, infinite or negative weights, or none above zero.
    """
    if given is None:
        return None
    w = check_array(name, given, backend)
    if w.shape not in ((n,), (n, 1)):
        raise InputError(f"{name}.shape = {w.shape}; wanted ({n},), one for each row of x")
    host = array_backend(w).to_numpy(w).reshape(-1)  # from a device: one synchronisation
    check_finite(host, dtype=dtype, name=name)
    if host.min() < 0:
        row = int(host.argmin())
        raise InputError(f"{name} has {host[row]:g} at row {row}; weights are not negative")
    if host.max() == 0:
        raise InputError(f"{name} is zero for every row; at least one must be positive")
    return w.reshape(n, 1).astype(dtype, copy=False)
