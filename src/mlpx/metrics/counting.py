"""Metrics that count right and wrong answers. They return device scalars and arrays without
waiting.

Labels are class indices (n,), or 0 and 1 in each of k columns (n, k); weights w (n,) are float64 or
None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

from mlpx.types import Array, Namespace

CHUNK_ELEMENTS = 1 << 22
"""How many comparisons are in memory at a time."""

Average = Literal["binary", "macro", "micro", "weighted"]


def mean(values: Array, w: Array | None) -> Array:
    """The mean of values (n,) or (n, k) over the rows, weighted by w (n,)."""
    if w is None:
        return values.mean(axis=0)
    shaped = w if values.ndim == 1 else w[:, None]
    return (shaped * values).sum(axis=0) / w.sum()


def accuracy(truth: Array, predicted: Array, w: Array | None) -> Array:
    """The share of rows that are right, in all their labels if there are several."""
    right = truth == predicted
    if right.ndim == 2:
        right = right.all(axis=1)
    return mean(right.astype(np.float64), w)


class Counts(NamedTuple):
    """The weight of rows, for each class or label (k,)."""

    right: Array
    predicted: Array
    actual: Array

    @property
    def present(self) -> Array:
        """1 where the class is among the truth or the predictions, else 0."""
        return ((self.predicted + self.actual) > 0).astype(np.float64)


def count(
    xp: Namespace, truth: Array, predicted: Array, w: Array | None, *, classes: int
) -> Counts:
    """How much weight each class has among the truth, the predictions, and both."""
    w = xp.ones(len(truth), np.float64) if w is None else w
    if truth.ndim == 2:
        return Counts(w @ (truth * predicted), w @ predicted, w @ truth)
    total = [xp.zeros(classes, np.float64) for _ in range(3)]
    names = xp.arange(classes)
    rows = -(-CHUNK_ELEMENTS // classes)
    for start in range(0, len(truth), rows):
        part = slice(start, start + rows)
        is_truth = (truth[part, None] == names).astype(np.float64)
        is_predicted = (predicted[part, None] == names).astype(np.float64)
        for sums, member in zip(
            total, (is_truth * is_predicted, is_predicted, is_truth), strict=True
        ):
            sums += w[part] @ member
    return Counts(*total)


def ratio(xp: Namespace, above: Array, below: Array, zero_division: float) -> Array:
    """above / below, `zero_division` where below is 0; both of one shape."""
    empty = below == 0
    return xp.where(empty, zero_division, above / xp.where(empty, 1.0, below))


def precision(xp: Namespace, counts: Counts, zero_division: float) -> Array:
    """right / predicted."""
    return ratio(xp, counts.right, counts.predicted, zero_division)


def recall(xp: Namespace, counts: Counts, zero_division: float) -> Array:
    """right / actual."""
    return ratio(xp, counts.right, counts.actual, zero_division)


def f1(xp: Namespace, counts: Counts, zero_division: float) -> Array:
    """The harmonic mean of precision and recall, 2 right / (predicted + actual)."""
    return ratio(xp, 2.0 * counts.right, counts.predicted + counts.actual, zero_division)


ClassScoring = Callable[[Namespace, Counts, float], Array]


def class_score(
    xp: Namespace,
    score: ClassScoring,
    counts: Counts,
    *,
    average: Average,
    zero_division: float,
    present: Array,
) -> Array:
    """The classes' scores as one number.

    "binary" is the last class's score, "micro" that of the pooled counts of all classes, "macro"
    the mean over the classes that are `present` (k,), "weighted" the mean weighted by the rows each
    class has. A class whose score is NaN, as `zero_division` may be, is left out of a mean.
    """
    if average == "binary":
        return score(xp, counts, zero_division)[-1]
    if average == "micro":
        together = Counts(*((part * present).sum()[None] for part in counts))
        return score(xp, together, zero_division)[0]
    scores = score(xp, counts, zero_division)
    counted = present * ~xp.isnan(scores)
    shares = counted if average == "macro" else counts.actual * counted
    shares = xp.where(shares.sum() == 0, counted, shares)
    return (xp.where(counted, scores, 0.0) * shares).sum() / shares.sum()


def balanced_accuracy(xp: Namespace, counts: Counts) -> Array:
    """The mean recall of the classes that occur in the truth."""
    present = (counts.actual > 0).astype(np.float64)
    return (recall(xp, counts, 0.0) * present).sum() / present.sum()


def top_k(xp: Namespace, truth: Array, scores: Array, w: Array | None, *, k: int) -> Array:
    """The share of rows whose class is among the k highest scores (n, classes); ties go to the
    later class.
    """
    places = xp.arange(scores.shape[1])
    own = xp.take_along_axis(scores, truth[:, None], 1)
    ahead = (scores > own) | ((scores == own) & (places > truth[:, None]))
    return mean((ahead.sum(axis=1) < k).astype(np.float64), w)


def confusion(
    xp: Namespace, truth: Array, predicted: Array, w: Array | None, *, classes: int
) -> Array:
    """C_ij = weight of the rows of class i taken for class j, (classes, classes); integers without
    weights.
    """
    cells = xp.bincount(truth * classes + predicted, w, minlength=classes * classes)
    return cells.reshape(classes, classes)
