"""Why a metric is NaN, in words."""

from __future__ import annotations

import warnings

import numpy as np

from mlpx.backend import array_backend
from mlpx.types import Array, Namespace

NAMED = 5


def without_rows(xp: Namespace, truth: Array, w: Array | None, *, classes: int) -> str | None:
    """That truth has no row of some classes, or always the same of some labels; None if it has.

    truth (n,) of class indices, or (n, k) of 0 and 1; weights w (n,).
    """
    w = xp.ones(len(truth), np.float64) if w is None else w
    if truth.ndim == 2:
        lacking = (w @ truth.astype(np.float64) == 0) | (w @ (1.0 - truth) == 0)
        text = "all rows say the same of label {}"
    else:
        lacking = xp.bincount(truth, w, minlength=classes) == 0
        text = "no row is of class {}"
    found = np.flatnonzero(array_backend(lacking).to_numpy(lacking))
    if not len(found):
        return None
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return text.format(", ".join(map(str, found[:NAMED])) + more)


def too_few(truth: Array) -> str | None:
    """That one row has no variance."""
    return "it needs at least two rows" if len(truth) < 2 else None


def undefined(name: str, why: str) -> str:
    """What is said of a metric that has no value."""
    return f"{name} is not defined here and is NaN: {why}"


def warn(name: str, why: str | None, *, stacklevel: int) -> None:
    """Say that a metric is not defined, if there is a reason."""
    if why is not None:
        warnings.warn(undefined(name, why), UserWarning, stacklevel=stacklevel + 1)
