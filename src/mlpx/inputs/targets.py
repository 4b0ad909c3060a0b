"""Checks of targets y, and the row weights made of sample and class weights."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from mlpx.backend import Backend, array_backend
from mlpx.errors import InputError, InputTypeError
from mlpx.inputs.arrays import (
    CHUNK_ELEMENTS,
    SUM_TOLERANCE,
    Checks,
    check_array,
    check_finite,
    check_in_range,
    check_weights,
    in_range,
    largest,
    together,
)
from mlpx.kernels.losses import Loss, TargetKind
from mlpx.records import require
from mlpx.types import Array

FLOAT64 = np.dtype(np.float64)
ClassWeight = Mapping[int, float] | list[float] | tuple[float, ...] | np.ndarray | str | None


def check_y(
    given: Any, *, n: int, d_out: int, loss: Loss, dtype: np.dtype, backend: Backend,
    name: str = "y", finite: bool = True, checks: Checks | None = None,
) -> Array:  # fmt: skip
    """`given` as targets for n rows: labels (n,) of int64, or (n, columns) in `dtype`.

    Classes: labels (n,) in [0, d_out), or one-hot or soft (n, d_out). Binary: numbers in [0, 1],
    (n, d_out). Values: (n, d_out). (n,) and (n, 1) mean the same. Device arrays are only checked
    when `checks` are settled. Raises InputError or InputTypeError.
    """
    kind = loss.target_kind(d_out)
    y = _numbers(name, given, kind, backend)
    if y.ndim == 0 or len(y) != n:
        raise InputError(f"{name}.shape = {y.shape}; wanted {n} rows, as many as x has")
    if kind == "classes" and (y.ndim == 1 or (y.ndim == 2 and y.shape[1] == 1 != d_out)):
        with together(checks) as asked:
            return _labels(y.reshape(n), d_out, loss, name, asked)
    columns = loss.target_columns(d_out)
    if y.ndim == 1 and columns == 1:
        y = y.reshape(n, 1)
    if y.shape != (n, columns):
        raise InputError(f"{name}.shape = {y.shape}; {_wanted(kind, n, columns, y.ndim)}")
    if kind != "values" or finite:
        with together(checks) as asked:
            _check_numbers(y, kind, loss, dtype, name, asked)
    return y.astype(dtype, copy=False)


def _numbers(name: str, given: Any, kind: TargetKind, backend: Backend) -> Array:
    try:
        return check_array(name, given, backend)
    except InputTypeError as error:
        if kind == "values" or "sparse" in str(error):
            raise
        raise InputTypeError(
            f"{str(error).partition(';')[0]}; class labels are whole numbers from 0: "
            "classes, y = numpy.unique(y, return_inverse=True) makes them, and "
            "classes[model.predict(x)] names them again; mlpx.MLPClassifier takes "
            "labels as they are"
        ) from None


def _wanted(kind: TargetKind, n: int, columns: int, dimensions: int) -> str:
    if kind == "classes":
        return f"wanted ({n},) labels or ({n}, {columns}) one-hot or soft targets"
    if columns == 1:
        several = "; for one-hot columns use a loss over classes" if kind == "binary" else ""
        return f"wanted ({n},) or ({n}, 1), as this model has one output{several}"
    if kind == "binary" and dimensions == 1:
        return (
            f"wanted ({n}, {columns}), a column of 0 and 1 for each of {columns} labels; "
            "for one class out of several use a loss over classes"
        )
    return f"wanted ({n}, {columns})"


def _labels(y: Array, classes: int, loss: Loss, name: str, checks: Checks) -> Array:
    """Labels as int64; adds the check that all are valid to `checks`."""
    ignored = loss.ignored_label()
    fine = (y >= 0) & (y < classes)
    if ignored is not None:
        fine |= y == ignored
    if y.dtype.kind == "f":
        fine &= y == array_backend(y).xp.floor(y)
    fine = fine.all()
    if ignored is not None:
        fine &= (y != ignored).any()
    checks.require(fine, partial(_refuse_labels, y, classes, loss, name))
    if y.dtype.kind != "f":
        return y.astype(np.int64, copy=False)
    with np.errstate(invalid="ignore"):  # on a device, NaN is not known yet
        return y.astype(np.int64, copy=False)


def _refuse_labels(y: Array, classes: int, loss: Loss, name: str) -> None:
    host = array_backend(y).to_numpy(y)
    ignored = loss.ignored_label()
    counts = np.ones(len(host), bool) if ignored is None else host != ignored
    if not counts.any():
        raise InputError(f"{name} has ignore_label = {ignored} in every row; nothing is left")
    if host.dtype.kind == "f":
        odd = np.flatnonzero(host != np.floor(host))
        if len(odd):
            raise InputError(
                f"{name} has {host[odd[0]]} at row {odd[0]}; class labels are whole numbers "
                f"in [0, {classes}); for real targets use a loss such as 'mean_squared_error'"
            )
    bad = np.flatnonzero(counts & ((host < 0) | (host >= classes)))
    raise InputError(
        f"{name} has label {host[bad[0]]:g} at row {bad[0]}; this model has {classes} classes, "
        f"so labels are in [0, {classes})"
    )


def _bounds(y: Array, kind: TargetKind, loss: Loss, dtype: np.dtype) -> tuple[float, float]:
    if kind != "values":
        return 0.0, 1.0 if kind == "binary" else math.inf  # for classes the sum is checked
    limit = largest(y, dtype)
    return -limit if loss.least is None else loss.least, limit


def _check_numbers(
    y: Array, kind: TargetKind, loss: Loss, dtype: np.dtype, name: str, checks: Checks
) -> None:
    """Check the range of y (n, k) in one pass, in chunks on the host."""
    low, high = _bounds(y, kind, loss, dtype)
    rows = -(-CHUNK_ELEMENTS // y.shape[1]) if isinstance(y, np.ndarray) else len(y)
    for start in range(0, len(y), rows):
        part = y[start : start + rows]
        fine = (part.min() >= low) & (part.max() <= high)
        if kind == "classes":
            fine &= abs(part.sum(axis=1, dtype=np.float64) - 1).max() <= SUM_TOLERANCE
        checks.require(fine, partial(_refuse_numbers, y, start, rows, kind, loss, dtype, name))


def _refuse_numbers(
    y: Array, start: int, rows: int, kind: TargetKind, loss: Loss, dtype: np.dtype, name: str
) -> None:
    check_finite(y[:, 0] if y.shape[1] == 1 else y, dtype=dtype, name=name)
    part = y[start : start + rows]
    host = np.asarray(array_backend(part).to_numpy(part))
    _refuse(host, start, _bounds(y, kind, loss, dtype), kind, loss, name)


def _refuse(
    part: np.ndarray,
    start: int,
    bounds: tuple[float, float],
    kind: TargetKind,
    loss: Loss,
    name: str,
) -> None:
    outside = (part < bounds[0]) | (part > bounds[1])
    if kind == "classes":
        sums = part.sum(axis=1, dtype=np.float64)
        row = np.flatnonzero(outside.any(axis=1) | (abs(sums - 1) > SUM_TOLERANCE))[0]
        raise InputError(
            f"{name} row {start + row} is {part[row]}; one-hot or soft targets must not be "
            "negative and must sum to 1"
        )
    row, column = np.argwhere(outside)[0]
    where = f"row {start + row}" + (f", column {column}" if part.shape[1] > 1 else "")
    wanted = f"targets of loss {loss.name!r} must not be below {bounds[0]:g}"
    if kind == "binary":
        wanted = f"targets of loss {loss.name!r} are 0 or 1, or between"
        if part[row, column] == -1:
            wanted += f": ({name} + 1) / 2 makes 0 and 1 of -1 and 1"
    raise InputError(f"{name} has {part[row, column]:g} at {where}; {wanted}")


def row_weights(
    given: Any, y: Array, *, d_out: int, loss: Loss, dtype: np.dtype, backend: Backend,
    class_weight: ClassWeight = None, name: str = "sample_weight", checks: Checks | None = None,
    absolute: bool = False,
) -> Array | None:  # fmt: skip
    """The weight of each row (n, 1) in `dtype`, None if all count the same.

    It is sample weight x class weight, and zero where the label is the loss's `ignore_label`.
    Weights that `dtype` cannot hold are all divided by one number or, if `absolute` (their sum
    matters), refused. y is what `check_y` returned. Class weights and ignored labels are looked up
    on the host, so this waits for a device. Raises InputError or InputTypeError.
    """
    n, ignored = len(y), loss.ignored_label()

    def cast(w: Array, dtype: np.dtype) -> Array:
        return check_in_range(w, dtype, name, checks) if absolute else in_range(w, dtype)

    w = check_weights(given, n=n, backend=backend, name=name, checks=checks)
    if ignored is None and class_weight is None:
        return None if w is None else cast(w, dtype)
    if checks is not None:
        checks.settle()  # what follows relies on valid labels
    host = array_backend(y).to_numpy(y)
    left_out = host == ignored if host.ndim == 1 and ignored is not None else np.zeros(n, bool)
    if class_weight is None and not left_out.any():
        return None if w is None else cast(w, dtype)
    rows = np.ones(n) if w is None else array_backend(w).to_numpy(cast(w, FLOAT64))[:, 0]
    rows = np.where(left_out, 0.0, rows)
    if class_weight is not None:
        rows = rows * cast(_class_factors(class_weight, host, rows, loss, d_out), FLOAT64)
    if not rows.max() > 0:
        raise InputError(
            "no row counts: sample_weight, class_weight and ignore_label leave every weight at zero"
        )
    return cast(rows[:, None], dtype)


def _class_factors(
    given: ClassWeight, y: np.ndarray, rows: np.ndarray, loss: Loss, d_out: int
) -> np.ndarray:
    """The factor of each row (n,) due to class weights; `rows` (n,) are its other weights."""
    kind = loss.target_kind(d_out)
    if y.ndim == 1:
        labels = np.where(rows > 0, y, 0)  # an ignored label may not be a class at all
        return _class_weights(given, np.bincount(labels, rows, minlength=d_out))[labels]
    if kind == "values" or (kind == "binary" and d_out > 1):
        other = "sample_weight" if kind == "values" else "BinaryCrossEntropy(positive_weight=...)"
        raise InputError(
            f"class_weight needs one class a row, which loss {loss.name!r} over {d_out} "
            f"outputs does not have; use {other}"
        )
    shares = (y if kind == "classes" else np.hstack([1.0 - y, y])).astype(np.float64)
    factors: np.ndarray = shares @ _class_weights(given, rows @ shares)
    return factors


def _class_weights(given: ClassWeight, totals: np.ndarray) -> np.ndarray:
    """The weight of each class (classes,); `totals` (classes,) are its rows' summed weights."""
    classes = len(totals)
    if isinstance(given, str):
        return _balanced(given, totals)
    weights = np.ones(classes)
    if isinstance(given, Mapping):
        for label, weight in given.items():
            if label not in range(classes):
                raise InputError(
                    f"class_weight has class {label!r}; this model's classes are in [0, {classes})"
                )
            require(f"class_weight[{label}]", _number(weight), least=0)
            weights[int(label)] = weight
        return weights
    values = np.asarray(given)
    if values.shape != (classes,):
        raise InputError(
            f"class_weight = {given!r}; wanted {classes} numbers, a dict, 'balanced' or None"
        )
    for label, weight in enumerate(values.tolist()):
        require(f"class_weight[{label}]", weight, least=0)
    return values.astype(np.float64)


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _balanced(given: str, totals: np.ndarray) -> np.ndarray:
    """Weights that make every class that occurs count the same, and preserve the sum."""
    if given != "balanced":
        raise InputError(f"class_weight = {given!r}; the only name is 'balanced'")
    there = totals > 0
    share = totals.sum() / max(1, there.sum())
    return np.where(there, share / np.where(there, totals, 1.0), 0.0)
