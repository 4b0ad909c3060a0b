"""The record that every data set is read into."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlpx.errors import DataFormatError
from mlpx.types import Array


@dataclass(frozen=True)
class Dataset:
    """Examples of a train and a test part, as stored.

    ``x_train``: (n, d); ``y_train``: (n,) int64 class indices for the built-in sets.
    ``x_test``, ``y_test``: the same, or None if a ``.npz`` has none.
    ``class_names``: one for each index, or None.
    ``image_shape``: what a row of x is a flat view of, such as (28, 28), or None.
    ``scale``: the factor that maps stored values to [0, 1]; 1.0 if unknown.
    """

    name: str
    x_train: Array
    y_train: Array
    x_test: Array | None
    y_test: Array | None
    class_names: tuple[str, ...] | None
    image_shape: tuple[int, ...] | None
    scale: float


def check_pair(name: str, part: str, x: Array, y: Array) -> None:
    """Raises DataFormatError unless ``x`` and ``y`` are as many examples as targets."""
    if x.ndim < 2 or y.ndim not in (1, 2) or len(x) != len(y):
        raise DataFormatError(
            f"{name}: x_{part} has shape {x.shape} and y_{part} {y.shape}; "
            "wanted (n, d) or (n, height, width, ...) and (n,) or (n, k)"
        )


def rows(x: Array) -> Array:
    """``x`` with each example as one row: (n, d)."""
    return x.reshape(len(x), int(np.prod(x.shape[1:])))  # (n, d), also for n = 0
