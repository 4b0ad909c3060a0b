"""scikit-learn's metric functions, by its names, for arrays of the host or of a device.

The arithmetic happens on the device of the predictions; the result is a Python float unless
said otherwise. `sample_weight` (n,) is how much each row counts. Each function raises InputError or
InputTypeError for invalid input.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from mlpx.errors import InputError
from mlpx.metrics import counting, scoring
from mlpx.metrics.counting import Average
from mlpx.metrics.inputs import Labels, Pair, class_indices, labels_of, pair
from mlpx.metrics.undefined import too_few, warn, without_rows
from mlpx.types import Array

Averages = Average | None


def accuracy_score(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The share of rows predicted right; of label matrices (n, k), rows right in every column."""
    given = pair(y_true, y_pred, sample_weight, same_shape=True)
    return float(counting.accuracy(given.truth, given.predicted, given.w))


def balanced_accuracy_score(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The mean recall of the classes that are in y_true (n,)."""
    given = labels_of(pair(y_true, y_pred, sample_weight, same_shape=True))
    return float(counting.balanced_accuracy(given.xp, given.counts()))


def confusion_matrix(
    y_true: Any, y_pred: Any, *, labels: Any = None, sample_weight: Any = None
) -> Array:
    """C_ij = weight of the rows of class i predicted as class j, on the predictions' device.

    Classes are `labels` in the given order, or all that occur, sorted. Integers without weights.
    """
    given = labels_of(pair(y_true, y_pred, sample_weight, same_shape=True, absolute=True), labels)
    known = (given.truth >= 0) & (given.predicted >= 0)
    truth, predicted = given.truth[known], given.predicted[known]
    w = None if given.w is None else given.w[known]
    return counting.confusion(given.xp, truth, predicted, w, classes=given.classes)


def precision_score(
    y_true: Any, y_pred: Any, *, average: Averages = "binary", sample_weight: Any = None,
    zero_division: float = 0.0, pos_label: float = 1,
) -> Any:  # fmt: skip
    """Of the rows predicted as a class, the share that belong to it.

    `average`: "binary" for `pos_label` alone, "macro", "micro", "weighted", or None for an array
    with the score of each class, sorted. Labels are (n,), or 0 and 1 in (n, k).
    """
    given = pair(y_true, y_pred, sample_weight, same_shape=True)
    return _class_score(counting.precision, given, average, zero_division, pos_label)


def recall_score(
    y_true: Any, y_pred: Any, *, average: Averages = "binary", sample_weight: Any = None,
    zero_division: float = 0.0, pos_label: float = 1,
) -> Any:  # fmt: skip
    """Of the rows of a class, the share predicted as it; options as in `precision_score`."""
    given = pair(y_true, y_pred, sample_weight, same_shape=True)
    return _class_score(counting.recall, given, average, zero_division, pos_label)


def f1_score(
    y_true: Any, y_pred: Any, *, average: Averages = "binary", sample_weight: Any = None,
    zero_division: float = 0.0, pos_label: float = 1,
) -> Any:  # fmt: skip
    """The harmonic mean of precision and recall; options as in `precision_score`."""
    given = pair(y_true, y_pred, sample_weight, same_shape=True)
    return _class_score(counting.f1, given, average, zero_division, pos_label)


def _class_score(
    score: counting.ClassScoring, given: Pair, average: Averages, zero: float, positive: float
) -> Any:
    if average not in ("binary", "macro", "micro", "weighted", None):
        raise InputError(
            f"average = {average!r}; it must be 'binary', 'macro', 'micro', 'weighted' or None"
        )
    labels = labels_of(given) if given.truth.ndim == 1 else labels_of(given, several=True)
    counts = labels.counts()
    if average == "binary":
        counts = _only(labels, counts, positive)
    if average is None:
        return score(given.xp, counts, zero)
    present = given.xp.ones_like(counts.actual)
    return float(
        counting.class_score(
            given.xp, score, counts, average=average, zero_division=zero, present=present
        )
    )


def _only(labels: Labels, counts: counting.Counts, positive: float) -> counting.Counts:
    names = labels.names
    if names is None or len(names) > 2:
        raise InputError(
            f"average = 'binary' is for two classes; there are {labels.classes}: "
            "use 'macro', 'micro', 'weighted' or None"
        )
    matches = np.flatnonzero(names == positive)
    if len(matches) == 0 and len(names) == 2:
        raise InputError(f"pos_label = {positive!r}; the labels are {names.tolist()}")
    if len(matches) == 0:
        zero = labels.pair.xp.zeros(1, np.float64)
        return counting.Counts(zero, zero, zero)
    at = slice(int(matches[0]), int(matches[0]) + 1)
    return counting.Counts(*(part[at] for part in counts))


def top_k_accuracy_score(
    y_true: Any, y_score: Any, *, k: int = 2, labels: Any = None, sample_weight: Any = None
) -> float:
    """The share of rows whose class is among the k highest of y_score (n, classes)."""
    given = pair(y_true, y_score, sample_weight)
    if given.predicted.ndim != 2:
        raise InputError(f"y_score.shape = {given.predicted.shape}; wanted (n, classes)")
    if k < 1:
        raise InputError(f"k = {k}; it must be at least 1")
    truth = class_indices(given, given.predicted.shape[1], labels)
    return float(counting.top_k(given.xp, truth, given.predicted, given.w, k=k))


def log_loss(y_true: Any, y_pred: Any, *, labels: Any = None, sample_weight: Any = None) -> float:
    """The mean of -log of the true class's probability; y_pred is (n, classes), or (n,) of the
    second class.

    Probabilities are kept within their dtype's eps of 0 and 1.
    """
    given = pair(y_true, y_pred, sample_weight)
    p = _two_columns(given)
    truth = class_indices(given, p.shape[1], labels)
    return float(scoring.log_loss(given.xp, truth, p, given.w))


def brier_score_loss(
    y_true: Any, y_proba: Any, *, labels: Any = None, sample_weight: Any = None
) -> float:
    """The mean squared distance of y_proba from the true class, halved for two classes.

    y_proba is (n, classes), or (n,) of the second class.
    """
    given = pair(y_true, y_proba, sample_weight)
    p = _two_columns(given)
    truth = class_indices(given, p.shape[1], labels)
    return float(scoring.brier(given.xp, truth, p, given.w))


def _two_columns(given: Pair) -> Array:
    p = given.predicted
    if p.dtype.kind != "f":
        p = p.astype(np.float64)
    if p.ndim == 1 or p.shape[1] == 1:
        p = p.reshape(-1, 1)
        p = given.xp.concatenate((1 - p, p), axis=1)
    if not bool((p.min() >= 0) & (p.max() <= 1)):
        raise InputError("probabilities are not all in [0, 1]; wanted those of predict_proba")
    return p


def roc_auc_score(
    y_true: Any, y_score: Any, *, labels: Any = None, sample_weight: Any = None,
    multi_class: Literal["ovr"] = "ovr",
) -> float:  # fmt: skip
    """The area under the ROC curve: the chance that a positive scores above a negative, ties half.

    y_score (n,) for two classes, (n, classes) for several, each against the rest, averaged; or
    y_true and y_score (n, k) for several labels, averaged. NaN, with a warning, if a class has no
    rows or all of them.
    """
    if multi_class != "ovr":
        raise InputError(f"multi_class = {multi_class!r}; only 'ovr' is offered")
    given = pair(y_true, y_score, sample_weight)
    xp, truth, score = given.xp, given.truth, given.predicted
    if truth.ndim == 2 and truth.shape[1] > 1:
        if truth.shape != score.shape:
            raise InputError(f"y_score.shape = {score.shape}; wanted {truth.shape} as y_true has")
        warn("roc_auc_score", without_rows(xp, truth, given.w, classes=0), stacklevel=2)
        return float(scoring.roc_auc_over_columns(xp, truth, score, given.w))
    columns = 2 if score.ndim == 1 else score.shape[1]
    truth = class_indices(given, max(2, columns), labels)
    warn("roc_auc_score", without_rows(xp, truth, given.w, classes=max(2, columns)), stacklevel=2)
    if columns <= 2:
        score = score if score.ndim == 1 else score[:, -1]
        return float(scoring.roc_auc(xp, truth, score, given.w))
    hits = (truth[:, None] == xp.arange(columns)).astype(np.int64)
    return float(scoring.roc_auc_over_columns(xp, hits, score, given.w))


def mean_squared_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The mean of (y_true - y_pred)**2, over all columns."""
    given = _values(y_true, y_pred, sample_weight)
    args = given.xp, given.truth, given.predicted, given.w
    return float(scoring.mean_squared_error(*args).mean())


def root_mean_squared_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The root of each column's mean squared error, averaged."""
    given = _values(y_true, y_pred, sample_weight)
    args = given.xp, given.truth, given.predicted, given.w
    return float(given.xp.sqrt(scoring.mean_squared_error(*args)).mean())


def mean_absolute_error(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """The mean of |y_true - y_pred|, over all columns."""
    given = _values(y_true, y_pred, sample_weight)
    args = given.xp, given.truth, given.predicted, given.w
    return float(scoring.mean_absolute_error(*args).mean())


def r2_score(y_true: Any, y_pred: Any, *, sample_weight: Any = None) -> float:
    """1 - the squared error over that of the best constant, averaged over the columns.

    NaN, with a warning, for a single row.
    """
    given = _values(y_true, y_pred, sample_weight)
    warn("r2_score", too_few(given.truth), stacklevel=2)
    args = given.xp, given.truth, given.predicted, given.w
    return float(scoring.r2(*args).mean())


def _values(y_true: Any, y_pred: Any, sample_weight: Any) -> Pair:
    given = pair(y_true, y_pred, sample_weight, same_shape=True)
    n = len(given.truth)
    truth, predicted = (
        part.reshape(n, -1).astype(np.float64) for part in (given.truth, given.predicted)
    )
    return Pair(given.xp, truth, predicted, given.w)
