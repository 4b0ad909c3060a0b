"""Class labels: from the user's names to indices, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from mlpx.backend import array_backend
from mlpx.backend.base import check_unmasked
from mlpx.errors import InputError, InputTypeError

Kind = Literal["single", "binary", "multiclass", "multilabel"]


class Labels:
    """The classes of a problem, in the order of the network's outputs."""

    def __init__(self, classes: np.ndarray, *, several: bool = False) -> None:
        self.classes, self.several = classes, several

    @classmethod
    def of(cls, y: np.ndarray) -> Labels:
        """The classes found in y, as `host_labels` returns it."""
        return cls(np.arange(y.shape[1]), several=True) if y.ndim == 2 else cls(np.unique(y))

    @property
    def kind(self) -> Kind:
        """The kind of problem: one class per row, out of one, two or more; or several labels."""
        if self.several:
            return "multilabel"
        if len(self.classes) > 2:
            return "multiclass"
        return "binary" if len(self.classes) == 2 else "single"

    @property
    def outputs(self) -> int:
        """How many outputs the network has: one for a binary problem."""
        return 1 if self.kind in ("single", "binary") else len(self.classes)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Class indices (n,), or 0 and 1 (n, k) for several labels.

        Raises InputError for a class that is not among them.
        """
        if self.several:
            if y.ndim != 2 or y.shape[1] != len(self.classes):
                raise InputError(f"y.shape = {y.shape}; wanted (n, {len(self.classes)}) labels")
            return y
        if y.ndim != 1:
            raise InputError(f"y.shape = {y.shape}; this model has one class a row")
        at = self.classes.searchsorted(y)
        if (self.classes.take(at, mode="clip") != y).any():
            raise InputError(
                f"y has {np.unique(y)}, and the classes that were learnt are {self.classes}"
            )
        return at.astype(np.int64, copy=False)

    def decode(self, indices: np.ndarray) -> np.ndarray:
        """The names of class indices (n,); 0 and 1 (n, k) are returned as they are."""
        return indices if self.several else np.asarray(self.classes[indices])

    def factors(self, given: Any, y: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The factor of each row (n,) due to `class_weight`; y is encoded, `rows` other weights.

        Raises InputError.
        """
        if self.several:
            raise InputError(
                "class_weight needs one class a row; with several labels use sample_weight"
            )
        if isinstance(given, Mapping):
            return np.asarray(self._listed(given)[y])
        if not isinstance(given, str) or given != "balanced":
            raise InputError(f"class_weight = {given!r}; wanted a dict, 'balanced' or None")
        totals = np.bincount(y, rows, minlength=len(self.classes))
        there = totals > 0
        share = totals.sum() / there.sum()
        balanced: np.ndarray = np.where(there, share / np.where(there, totals, 1.0), 0.0)[y]
        return balanced

    def _listed(self, given: Mapping[Any, float]) -> np.ndarray:
        factors = np.ones(len(self.classes))
        for label, weight in given.items():
            (at,) = np.nonzero(self.classes == label)
            if not len(at):
                raise InputError(
                    f"class_weight has {label!r}, which is not a class; classes are {self.classes}"
                )
            if not 0 <= float(weight) < np.inf:
                raise InputError(f"class_weight[{label!r}] = {weight!r}; wanted a number from 0")
            factors[at[0]] = float(weight)
        return factors


def host_labels(y: Any, *, known: bool = False) -> np.ndarray:
    """y as labels (n,), or as 0 and 1 (n, k) for several labels per row.

    `known`: whether the classes are known. Raises ValueError if y is not a classification target,
    InputTypeError for labels that cannot be sorted.
    """
    if known and type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iu" and len(y):
        return y  # would pass the checks below, which are slower
    check_unmasked(y, "y")
    if hasattr(y, "__dlpack_device__") and not isinstance(y, np.ndarray):
        y = array_backend(y).to_numpy(y)
    kind = _kind_of(y)
    if kind == "multiclass-multioutput":
        raise InputError(
            "y has several columns of more than two classes, which is not supported; wanted (n,) "
            "labels, or (n, k) of 0 and 1"
        )
    if kind.startswith("multilabel"):
        return np.asarray(y.toarray() if hasattr(y, "toarray") else y).astype(np.int64)
    labels: np.ndarray = column_or_1d(y, warn=True)
    return labels


def _kind_of(y: Any) -> str:
    """scikit-learn's name for this kind of target."""
    try:
        check_classification_targets(y)
    except TypeError as error:
        raise InputTypeError(
            f"y holds labels that cannot be sorted: {error}; make all of them text or whole numbers"
        ) from error
    kind: str = type_of_target(y, input_name="y")
    return kind
