"""Scores on held-out rows, each with the interval that chance in the choice of rows leaves open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mlpx.errors import InputError
from mlpx.metrics import Metric
from mlpx.tables.resampling import Resamples

TAILS = (2.5, 97.5)
"""Percentiles at the ends of an interval: 95 % of the draws are between."""
RANKED_ANEW = 50_000
"""Rows x classes up to which the rows of each draw are ranked for themselves."""
PINBALL = "pinball_loss"
"""The score of quantiles; it is no metric of `fit`, whose loss it is there."""
Scores = dict[str, "Score"]
Formula = Callable[[np.ndarray], np.ndarray]
"""Sums over rows (draws, s) -> the metric (draws,)."""


@dataclass(frozen=True)
class Score:
    """A metric's value on held-out rows, and the ends of its 95 % interval.

    `draws` (1000,) are its values on resampled rows; NaN where it is undefined.
    """

    name: str
    value: float
    low: float
    high: float
    draws: np.ndarray = field(repr=False, compare=False)

    @classmethod
    def of(cls, name: str, value: float, draws: np.ndarray) -> Score:
        """The score whose interval has 95 % of the `draws`."""
        defined = draws[~np.isnan(draws)]
        low, high = np.percentile(defined, TAILS) if len(defined) else (math.nan, math.nan)
        return cls(name, float(value), float(low), float(high), draws)

    @property
    def higher_is_better(self) -> bool:
        """Whether a larger value is the better one."""
        return self.name != PINBALL and bool(Metric.table[self.name].higher_is_better)

    def minus(self, other: Score) -> Score:
        """The score less another on the same rows: an interval without 0 is more than chance.

        Raises InputError for another metric, or other draws.
        """
        if self.name != other.name or len(self.draws) != len(other.draws):
            raise InputError(f"{self!r} and {other!r} are not of one metric on the same rows")
        return Score.of(self.name, self.value - other.value, self.draws - other.draws)

    def as_dict(self) -> dict[str, float]:
        """Value and interval as plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        """`0.852 (0.847 to 0.857)`."""
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


def score(y: np.ndarray, predicted: np.ndarray, *, resamples: Resamples | None = None) -> Scores:
    """`score_classes` of probabilities (n, k), or `score_values` of values (n,)."""
    of = score_classes if predicted.ndim == 2 else score_values
    return of(y, predicted, resamples=resamples)


def loss(y: np.ndarray, predicted: np.ndarray) -> float:
    """The log loss of probabilities (n, k), or the root mean squared error of values (n,)."""
    if predicted.ndim == 2:
        return float(_log_losses(y, predicted).mean())
    return float(np.sqrt(np.mean((predicted.astype(np.float64) - y) ** 2)))


def score_classes(y: np.ndarray, p: np.ndarray, *, resamples: Resamples | None = None) -> Scores:
    """Accuracy, balanced accuracy, log loss, Brier score and ROC AUC of probabilities p (n, k).

    y (n,) are the numbers of the true classes. Raises InputError for other shapes.
    """
    if p.ndim != 2 or y.shape != p.shape[:1]:
        raise InputError(f"y.shape = {y.shape} and p.shape = {p.shape}; wanted (n,) and (n, k)")
    n, k = p.shape
    resamples = resamples or Resamples.of(n)
    right, own = p.argmax(axis=1) == y, np.zeros((n, k), bool)
    own[np.arange(n), y] = True
    columns = np.column_stack(
        [np.ones(n), right, _log_losses(y, p), _brier(own, p), own, own & right[:, None]]
    )
    formulas: dict[str, Formula] = {
        "accuracy": lambda sums: sums[:, 1] / sums[:, 0],
        "balanced_accuracy": lambda sums: _mean_share(sums[:, 4 + k :], sums[:, 4 : 4 + k]),
        "log_loss": lambda sums: sums[:, 2] / sums[:, 0],
        "brier_score": lambda sums: sums[:, 3] / sums[:, 0],
    }
    return _scores(columns, formulas, resamples) | {"roc_auc": _roc_auc(own, p, resamples)}


def score_values(
    y: np.ndarray, predicted: np.ndarray, *, resamples: Resamples | None = None
) -> Scores:
    """Root mean squared error, mean absolute error and R2 of predicted values (n,).

    Raises InputError for other shapes.
    """
    if y.ndim != 1 or y.shape != predicted.shape:
        raise InputError(f"y.shape = {y.shape} and predicted.shape = {predicted.shape}; not (n,)")
    resamples = resamples or Resamples.of(len(y))
    y, predicted = y.astype(np.float64), predicted.astype(np.float64)
    error, spread = predicted - y, y - y.mean()
    columns = np.column_stack([np.ones(len(y)), error**2, abs(error), spread, spread**2])
    formulas: dict[str, Formula] = {
        "root_mean_squared_error": lambda sums: np.sqrt(sums[:, 1] / sums[:, 0]),
        "mean_absolute_error": lambda sums: sums[:, 2] / sums[:, 0],
        "r2": lambda sums: 1 - _ratio(sums[:, 1], sums[:, 4] - sums[:, 3] ** 2 / sums[:, 0]),
    }
    return _scores(columns, formulas, resamples)


def score_quantiles(
    y: np.ndarray, found: np.ndarray, *, quantiles: tuple[float, ...],
    resamples: Resamples | None = None,
) -> Scores:  # fmt: skip
    """The pinball loss of predicted quantiles (n, q), the mean over rows and quantiles.

    Raises InputError for other shapes.
    """
    if y.ndim != 1 or found.shape != (len(y), len(quantiles)):
        raise InputError(
            f"y.shape = {y.shape} and found.shape = {found.shape}; wanted (n,) and "
            f"(n, {len(quantiles)})"
        )
    error, q = y[:, None].astype(np.float64) - found, np.array(quantiles)
    lost = np.maximum(q * error, (q - 1) * error).mean(axis=1)
    columns = np.column_stack([np.ones(len(y)), lost])
    formulas: dict[str, Formula] = {PINBALL: lambda sums: sums[:, 1] / sums[:, 0]}
    return _scores(columns, formulas, resamples or Resamples.of(len(y)))


def _scores(columns: np.ndarray, formulas: dict[str, Formula], resamples: Resamples) -> Scores:
    whole, drawn = columns.sum(axis=0, keepdims=True), resamples.sums(columns)
    return {
        name: Score.of(name, formula(whole)[0], formula(drawn))
        for name, formula in formulas.items()
    }


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """above / below, NaN where there is nothing below."""
    there = below > 0
    return np.where(there, above / np.where(there, below, 1.0), np.nan)


def _mean_share(right: np.ndarray, of: np.ndarray) -> np.ndarray:
    """The mean of right / of over the classes that are there, (draws,)."""
    there = of > 0
    shares: np.ndarray = (right / np.where(there, of, 1.0)).sum(axis=1) / there.sum(axis=1)
    return shares


def _log_losses(y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """-log p of each row's class, with p kept within its dtype's eps of 0, as scikit-learn does."""
    own = np.take_along_axis(p, y[:, None], axis=1)[:, 0] / p.sum(axis=1)
    eps = np.finfo(p.dtype).eps
    losses: np.ndarray = -np.log(np.clip(own, eps, 1 - eps).astype(np.float64))
    return losses


def _brier(own: np.ndarray, p: np.ndarray) -> np.ndarray:
    distances: np.ndarray = ((p - own) ** 2).sum(axis=1, dtype=np.float64)
    distances *= 0.5 if p.shape[1] == 2 else 1.0
    return distances


def _roc_auc(own: np.ndarray, p: np.ndarray, resamples: Resamples) -> Score:
    """The area under the ROC curve; of several classes the mean over those that have rows and lack
    some.
    """
    columns = [1] if p.shape[1] == 2 else range(p.shape[1])
    ranked = [Ranked(own[:, j], p[:, j]) for j in columns if 0 < own[:, j].sum() < len(own)]
    if not ranked:
        return Score.of("roc_auc", math.nan, np.full(resamples.count, np.nan))
    if len(own) * len(ranked) > RANKED_ANEW:
        areas = np.stack([each.areas_by_placement(resamples) for each in ranked])
    else:
        drawn = [np.stack([each.areas(w) for each in ranked]) for w in resamples.weights()]
        areas = np.concatenate(drawn, axis=1)
    value = np.mean([each.areas(np.ones((1, len(own)), np.float32)) for each in ranked])
    return Score.of("roc_auc", float(value), _mean_of_defined(areas))


def _mean_of_defined(areas: np.ndarray) -> np.ndarray:
    """The mean of areas (classes, draws) over the classes where it is not NaN, (draws,)."""
    there = ~np.isnan(areas)
    return _ratio(np.where(there, areas, 0.0).sum(axis=0), there.sum(axis=0).astype(np.float64))


class Ranked:
    """Rows in the order of a score, for areas under the ROC curve with any weights of the rows."""

    def __init__(self, positive: np.ndarray, score: np.ndarray) -> None:
        self.order = np.argsort(score, kind="stable")
        score = score[self.order]
        self.positive = positive[self.order]
        new = np.r_[True, score[1:] != score[:-1]]
        self.starts = np.flatnonzero(new)
        """Where rows of one score begin: of them, half of the pairs count."""
        self.ties = np.cumsum(new) - 1
        """Which of these each row belongs to."""

    def areas(self, weights: np.ndarray) -> np.ndarray:
        """The area for each row of `weights` (draws, n): (draws,), NaN without both kinds."""
        positive, negative = self._by_kind(weights)
        below = np.cumsum(negative, axis=1) - negative / 2
        pairs = positive.sum(axis=1) * negative.sum(axis=1)
        return _ratio((positive * below).sum(axis=1), pairs)

    def areas_by_placement(self, resamples: Resamples) -> np.ndarray:
        """The areas of the draws, but for a term that falls as 1 / n; without ranking them anew.

        Each row is placed by the share of the rows of the other kind on its right side, and a
        draw's area differs by the means of the places it has. Source: DeLong, DeLong and
        Clarke-Pearson, "Comparing the areas under two or more correlated ROC curves", 1988.
        """
        (positive,), (negative,) = self._by_kind(np.ones((1, len(self.order)), np.float32))
        below = (np.cumsum(negative) - negative / 2) / negative.sum()
        above = 1 - (np.cumsum(positive) - positive / 2) / positive.sum()
        columns = np.zeros((len(self.order), 4))
        columns[self.order] = np.column_stack(
            [self.positive, self.positive * below[self.ties], ~self.positive,
             ~self.positive * above[self.ties]]
        )  # fmt: skip
        sums = resamples.sums(columns)
        whole = columns[:, 1].sum() / columns[:, 0].sum()
        areas: np.ndarray = _ratio(sums[:, 1], sums[:, 0]) + _ratio(sums[:, 3], sums[:, 2]) - whole
        return areas

    def _by_kind(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The weights (draws, n) of the positive and the negative rows of each score."""
        weights = weights[:, self.order]
        parts = [weights * self.positive, weights * ~self.positive]
        positive, negative = (
            np.add.reduceat(part, self.starts, axis=1, dtype=np.float64) for part in parts
        )
        return positive, negative
