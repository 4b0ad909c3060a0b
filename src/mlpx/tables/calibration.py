"""What validation rows say of how sure a model is: the temperature of its probabilities, and the
width of its intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mlpx.errors import InputError
from mlpx.records import require

COLDEST, HOTTEST = 0.05, 20.0
"""The temperatures tried: of rows that are all right, or all wrong, none is the best."""
ITERATIONS = 100
MOST_KEPT = 1001
"""How many scores of validation rows are kept."""


def temperature(z: np.ndarray, y: np.ndarray) -> float:
    """The T with the least log loss of softmax(z / T) on the classes y (n,); logits z (n, k).

    The loss is convex in 1 / T, so that halving an interval around the zero of its slope finds it:
    the slope is the mean of sum_j p_j z_j - z_y. Between 0.05 and 20.
    Source: Guo et al., On calibration of modern neural networks, 2017.
    """
    z = z.astype(np.float64) - z.max(axis=1, keepdims=True)
    own = np.take_along_axis(z, y[:, None], axis=1)[:, 0]

    def slope(beta: float) -> float:
        p = np.exp(beta * z)
        p /= p.sum(axis=1, keepdims=True)
        return float(((p * z).sum(axis=1) - own).mean())

    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(ITERATIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) < 0 else (low, middle)
    return math.exp(-high)


@dataclass(frozen=True)
class Conformal:
    """How far off predictions were on validation rows, for intervals that hold for new ones.

    A score is how far a value lay outside of its interval before it is widened, below 0 inside.
    `scores` are the smallest kept ones of `rows` in ascending order, and `ranks` their places among
    all, from 1. If new rows are like those, a share of at least `coverage` of the values will lie
    within intervals that are widened by `margin(coverage)`.
    Source: split conformal prediction, Lei et al., Distribution-free predictive inference for
    regression, 2018; around quantiles, Romano et al., Conformalized quantile regression, 2019.
    """

    rows: int
    scores: tuple[float, ...]
    ranks: tuple[int, ...]

    @classmethod
    def of(cls, y: np.ndarray, low: np.ndarray, high: np.ndarray) -> Self:
        """From values y (n,) and their intervals; low and high are the prediction itself, or
        quantiles.
        """
        scores = np.sort(np.maximum(low - y, y - high).astype(np.float64))
        n = len(scores)
        ranks = np.unique(np.ceil(np.linspace(1, n, min(n, MOST_KEPT))).astype(int))
        return cls(n, tuple(scores[ranks - 1].tolist()), tuple(ranks.tolist()))

    def margin(self, coverage: float) -> float:
        """By how much to widen intervals, so that they hold with this probability.

        Of those between two kept scores it is the larger one's. Raises InputError if there were too
        few rows to say.
        """
        require("coverage", coverage, above=0, below=1)
        rank = math.ceil((self.rows + 1) * coverage * (1 - 1e-12))
        if rank > self.rows:
            raise InputError(
                f"coverage = {coverage:g} needs at least {math.ceil(coverage / (1 - coverage))} "
                f"validation rows; there were {self.rows}"
            )
        return self.scores[int(np.searchsorted(self.ranks, rank))]

    def config(self) -> dict[str, Any]:
        """Plain values."""
        return {"rows": self.rows, "scores": list(self.scores), "ranks": list(self.ranks)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `config`. Raises ValueError, TypeError or LookupError for other values."""
        rows, scores, ranks = config["rows"], config["scores"], config["ranks"]
        made = cls(int(rows), tuple(map(float, scores)), tuple(map(int, ranks)))
        falls = np.diff(made.scores) < 0
        if len(made.scores) != len(made.ranks) or falls.any() or not np.isfinite(scores).all():
            raise ValueError("scores and ranks do not ascend together")
        if (np.diff((0, *made.ranks)) < 1).any() or made.ranks[-1:] != (made.rows,):
            raise ValueError(f"ranks do not rise to {made.rows}")
        return made
