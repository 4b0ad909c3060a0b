"""Metrics of probabilities, rankings and values; they return device scalars without waiting.

Weights w (n,) are float64 or None.
"""

from __future__ import annotations

import numpy as np

from mlpx.metrics.counting import mean
from mlpx.types import Array, Namespace


def log_loss(xp: Namespace, truth: Array, p: Array, w: Array | None) -> Array:
    """The mean of -log p of the true class; truth (n,) class indices, p (n, classes).

    As in scikit-learn, p is kept within its dtype's eps of 0 and 1 and scaled to sum to one.
    """
    eps = float(xp.finfo(p.dtype).eps)
    p = xp.clip(p / p.sum(axis=1, keepdims=True), eps, 1.0 - eps)
    own = xp.take_along_axis(p, truth[:, None], 1)[:, 0]
    return mean(-xp.log(own.astype(np.float64)), w)


def brier(xp: Namespace, truth: Array, p: Array, w: Array | None) -> Array:
    """The mean squared distance of p (n, classes) from the true class, halved for two classes."""
    hit = (truth[:, None] == xp.arange(p.shape[1])).astype(np.float64)
    distances = ((p - hit) ** 2).sum(axis=1)
    return mean(distances, w) * (0.5 if p.shape[1] == 2 else 1.0)


def roc_auc(xp: Namespace, truth: Array, score: Array, w: Array | None) -> Array:
    """The chance that a positive scores above a negative, a tie counting half; NaN without both
    kinds.

    truth (n,) of 0 and 1, score (n,).
    """
    w = xp.ones(len(score), np.float64) if w is None else w
    order = xp.argsort(score)
    score, weight = score[order], w[order]
    positive = truth[order] * weight
    negative = weight - positive
    below = xp.concatenate((xp.zeros(1, np.float64), xp.cumsum(negative)))
    first, last = (xp.searchsorted(score, score, side=side) for side in ("left", "right"))
    beaten = (positive * (below[first] + below[last])).sum() / 2
    pairs = positive.sum() * negative.sum()
    lacking = (pairs == 0) | xp.isnan(score).any()
    return xp.where(lacking, xp.nan, beaten / xp.where(pairs == 0, 1.0, pairs))


def roc_auc_over_columns(xp: Namespace, truth: Array, scores: Array, w: Array | None) -> Array:
    """The mean of `roc_auc` over the columns of truth and scores (n, k)."""
    areas = [roc_auc(xp, truth[:, j], scores[:, j], w) for j in range(scores.shape[1])]
    return xp.stack(areas).mean()


def mean_squared_error(xp: Namespace, truth: Array, values: Array, w: Array | None) -> Array:
    """The mean of (truth - values)**2, for each column (k,)."""
    return mean((truth - values) ** 2, w)


def mean_absolute_error(xp: Namespace, truth: Array, values: Array, w: Array | None) -> Array:
    """The mean of |truth - values|, for each column (k,)."""
    return mean(abs(truth - values), w)


def r2(xp: Namespace, truth: Array, values: Array, w: Array | None) -> Array:
    """1 - the squared error over that of the best constant, for each column (k,).

    A column that is constant scores 1 if it is met exactly, else 0. NaN for fewer than two rows.
    """
    if len(truth) < 2:
        return xp.full(truth.shape[1], xp.nan)
    rows = xp.ones((len(truth), 1), np.float64) if w is None else w[:, None]
    error = (rows * (truth - values) ** 2).sum(axis=0)
    spread = (rows * (truth - mean(truth, w)) ** 2).sum(axis=0)
    constant = spread == 0
    score = 1.0 - error / xp.where(constant, 1.0, spread)
    return xp.where(constant, xp.where(error > 0, 0.0, 1.0 + error), score)
