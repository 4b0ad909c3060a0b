"""Checks of what a run folder says of a fitted estimator, since nobody vouches for the file."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError
from mlpx.network.network import Network
from mlpx.records import is_whole

WORDS = 624
"""The Mersenne Twister's state; NumPy reads outside of it at a position beyond."""
LABEL_KINDS = "biufUO"
WIDE = 64
"""Characters that the dtype of labels may have beyond its longest one."""


def _count(value: Any) -> bool:
    return is_whole(value) and 0 <= value < 2**53


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _reals(value: Any) -> bool:
    return isinstance(value, list) and all(map(_real, value))


def _or_none(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or fits(value)


FOUND: dict[str, Callable[[Any], bool]] = {
    "n_iter_": _count,
    "t_": _count,
    "loss_": _real,
    "best_loss_": _or_none(_real),
    "loss_curve_": _reals,
    "validation_loss_curve_": _or_none(_reals),
    "validation_scores_": _or_none(_reals),
    "best_validation_score_": _or_none(_real),
    "learning_rate_": _real,
    "n_layers_": _count,
    "n_features_in_": _count,
    "_no_improvement_count": _count,
}
"""Attributes of a fitted estimator that are plain values, and what they may be."""


def check_found(found: Any, model: Network) -> None:
    """Raises CheckpointError unless `found` are attributes of an estimator around `model`."""
    if not isinstance(found, dict):
        raise CheckpointError("its attributes are no object")
    for name, value in found.items():
        if name not in FOUND or not FOUND[name](value):
            raise CheckpointError(f"{name} = {value!r} is no attribute of a fitted estimator")
    if found.get("n_features_in_", model.d_in) != model.d_in:
        raise CheckpointError(
            f"n_features_in_ is {found['n_features_in_']}, and the model beside it has "
            f"{model.d_in} columns"
        )


def column_names(names: Any, model: Network) -> np.ndarray:
    """The names of the columns (d,). Raises CheckpointError unless each column has one."""
    texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
    if not texts or len(names) != model.d_in:
        raise CheckpointError(f"names are no list of {model.d_in} texts")
    return np.array(names, dtype=object)


def generator_state(words: Any, position: Any) -> tuple[str, np.ndarray, int]:
    """The state of NumPy's old generator.

    Raises CheckpointError for one that it could not have.
    """
    state = np.array(words, dtype=np.uint32)
    if state.shape != (WORDS,) or not is_whole(position) or not 0 <= position <= WORDS:
        raise CheckpointError("draws are no state of a random generator")
    return "MT19937", state, int(position)


def permutation(order: Any) -> np.ndarray:
    """The order of rows (n,). Raises CheckpointError unless it has each of 0, ..., n - 1 once."""
    rows = np.array(order, dtype=np.int64)
    if rows.ndim != 1 or not np.array_equal(np.sort(rows), np.arange(len(rows))):
        raise CheckpointError("the order of rows has not each row once")
    return rows


def label_classes(labels: Any, dtype: Any) -> np.ndarray:
    """Class labels (k,) as an array of `dtype`.

    Raises CheckpointError unless they are in order, each once.
    """
    if not isinstance(dtype, str) or len(dtype) > 16 or np.dtype(dtype).kind not in LABEL_KINDS:
        raise CheckpointError(f"dtype = {dtype!r}, which labels do not have")
    wanted = np.dtype(dtype)
    if wanted.kind == "U":
        longest = max((len(label) for label in labels), default=1)
        wanted = np.dtype(f"U{min(max(wanted.itemsize // 4, 1), longest + WIDE)}")
    classes = np.array(labels, dtype=wanted)
    if classes.ndim != 1 or not bool((classes[1:] > classes[:-1]).all()):
        raise CheckpointError(f"classes = {labels!r}; wanted labels in order, each once")
    return classes
