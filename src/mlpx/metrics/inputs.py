"""Checked input of the metric functions: truth, predictions and weights on one device."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from mlpx.backend import array_backend
from mlpx.errors import InputError
from mlpx.inputs.arrays import check_array, check_weights, in_range
from mlpx.metrics import counting
from mlpx.types import Array, Namespace


class Pair(NamedTuple):
    """Truth and predictions of n rows, and weights (n,) in float64 or None."""

    xp: Namespace
    truth: Array
    predicted: Array
    w: Array | None


class Labels(NamedTuple):
    """A pair as class indices, -1 for a label left out; `names` (classes,) is on the host."""

    pair: Pair
    classes: int
    names: np.ndarray | None

    @property
    def xp(self) -> Namespace:
        return self.pair.xp

    @property
    def truth(self) -> Array:
        return self.pair.truth

    @property
    def predicted(self) -> Array:
        return self.pair.predicted

    @property
    def w(self) -> Array | None:
        return self.pair.w

    def counts(self) -> counting.Counts:
        """How much weight each class has."""
        return counting.count(self.xp, self.truth, self.predicted, self.w, classes=self.classes)


def pair(
    y_true: Any, y_pred: Any, sample_weight: Any = None, *, same_shape: bool = False,
    absolute: bool = False,
) -> Pair:  # fmt: skip
    """Truth and predictions as arrays on the device of the predictions; (n, 1) is (n,).

    Weights whose sum would overflow float64 are divided by the largest, unless `absolute`.

    Raises InputError or InputTypeError for anything but arrays of numbers of equal length.
    """
    backend = array_backend(y_pred)
    truth = backend.asarray(check_array("y_true", y_true, backend))
    predicted = backend.asarray(check_array("the prediction", y_pred, backend))
    if truth.ndim == 2 and truth.shape[1] == 1:
        truth = truth[:, 0]
    if predicted.ndim == 2 and predicted.shape[1] == 1:
        predicted = predicted[:, 0]
    if truth.ndim not in (1, 2) or predicted.ndim not in (1, 2):
        raise InputError(
            f"y_true.shape = {truth.shape}, the prediction's {predicted.shape}; "
            "wanted (n,) or (n, k)"
        )
    if len(truth) != len(predicted) or (same_shape and truth.shape != predicted.shape):
        raise InputError(
            f"y_true.shape = {truth.shape}, the prediction's {predicted.shape}; wanted "
            + ("the same" if same_shape else "as many rows in both")
        )
    if len(truth) == 0:
        raise InputError("y_true is empty; wanted at least one row")
    w = check_weights(sample_weight, n=len(truth), backend=backend)
    if w is not None:
        w = backend.asarray(w)[:, 0]
        w = w.astype(np.float64) if absolute else in_range(w, np.dtype(np.float64))
    return Pair(backend.xp, truth, predicted, w)


def labels_of(given: Pair, labels: Any = None, *, several: bool = False) -> Labels:
    """Class indices of the labels in `given`: positions in `labels`, or among all that occur,
    sorted.

    With `several` the arrays are 0 and 1 (n, k) already. Raises InputError for anything but whole
    numbers.
    """
    xp, truth, predicted, w = given
    if not several and truth.ndim != 1:
        raise InputError(f"y_true.shape = {truth.shape}; wanted labels (n,)")
    for name, part in (("y_true", truth), ("y_pred", predicted)):
        if part.dtype.kind == "f" and not bool((part == xp.floor(part)).all()):
            raise InputError(
                f"{name} holds numbers that are not whole; wanted class labels: "
                "those of predict, not of predict_proba"
            )
    if several:
        binary = Pair(xp, truth.astype(np.float64), predicted.astype(np.float64), w)
        return Labels(binary, truth.shape[1], None)
    names = xp.unique(xp.concatenate((truth, predicted)))
    if labels is not None:
        names = xp.asarray(np.asarray(labels))
    order = xp.argsort(names)
    truth, predicted = (_positions(xp, part, names, order) for part in (truth, predicted))
    host = array_backend(names).to_numpy(names)
    return Labels(Pair(xp, truth, predicted, w), len(host), host)


def _positions(xp: Namespace, part: Array, names: Array, order: Array) -> Array:
    """Where each of `part` is in `names`, -1 if it is not there; `order` sorts the names."""
    at = xp.searchsorted(names[order], part)
    at = order[xp.minimum(at, len(names) - 1)]
    return xp.where(names[at] == part, at, -1)


def class_indices(given: Pair, columns: int, labels: Any = None) -> Array:
    """y_true as column indices of the prediction.

    Labels are matched in order if there are as many as columns, or if `labels` names them; else
    they are the indices. Raises InputError for a label without a column.
    """
    xp, truth = given.xp, given.truth
    if truth.ndim != 1:
        raise InputError(f"y_true.shape = {truth.shape}; wanted labels (n,)")
    names = xp.unique(truth) if labels is None else xp.asarray(np.asarray(labels))
    if labels is not None and len(names) != columns:
        raise InputError(
            f"labels has {len(names)} names; the prediction has {columns} columns, wanted as many"
        )
    if len(names) != columns:
        names = xp.arange(columns)
    truth = _positions(xp, truth, names, xp.argsort(names))
    if bool((truth < 0).any()):
        raise InputError(
            f"y_true has a label without a column in the prediction, which has {columns}; "
            "pass labels= with the label of each column"
        )
    return truth
