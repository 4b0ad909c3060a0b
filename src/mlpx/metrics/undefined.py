"""Why a metric is NaN, in words."""

from __future__ import annotations

import warnings

import numpy as np

from mlpx.backend import array_backend
from mlpx.types import Array, Namespace

NAMED = 5


def without_rows(xp: Namespace, truth: Array, w: Array | None, *, classes: int) -> str | None:
    """Which classes have no rows in truth, or which labels are constant; None if there are none.

    truth (n,) of class indices, or (n, k) of 0 and 1; weights w (n,).
    """
    w = xp.ones(len(truth), np.float64) if w is None else w
    if truth.ndim == 2:
        lacking = (w @ truth.astype(np.float64) == 0) | (w @ (1.0 - truth) == 0)
        text = "all rows say the same of label {}"
    else:
        lacking = xp.bincount(truth, w, minlength=classes) == 0
        text = "no row is of class {}"
    classes_at = np.flatnonzero(array_backend(lacking).to_numpy(lacking))
    if not len(classes_at):
        return None
    more = f" and {len(classes_at) - NAMED} more" if len(classes_at) > NAMED else ""
    return text.format(", ".join(map(str, classes_at[:NAMED])) + more)


def too_few(truth: Array) -> str | None:
    """That one row has no variance; None for more rows."""
    return "it needs at least two rows" if len(truth) < 2 else None


def undefined(name: str, why: str) -> str:
    """The message about an undefined metric."""
    return f"{name} is not defined here and is NaN: {why}"


def warn(name: str, why: str | None, *, stacklevel: int) -> None:
    """Warn that a metric is undefined, if there is a reason."""
    if why is not None:
        warnings.warn(undefined(name, why), UserWarning, stacklevel=stacklevel + 1)
