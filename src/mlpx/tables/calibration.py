"""What validation rows say of how sure a model is: the temperature of its probabilities, and the
width of its intervals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mlpx.errors import InputError
from mlpx.records import is_whole, require

COLDEST, HOTTEST = 0.05, 20.0
"""The temperatures tried."""
SPREAD = 0.5
"""How far the logarithm of a temperature is from 0 usually, before any row is seen."""
ITERATIONS = 50
"""Halvings of an interval of logarithms that is 6 wide."""
MOST_KEPT = 1001
"""How many scores of validation rows are kept."""
MOST_ROWS = 2**53
"""Of a file: floats hold as many exactly."""


def temperature(z: np.ndarray, y: np.ndarray, w: np.ndarray | None = None) -> float:
    """The T that makes softmax(z / T) as sure as the classes y (n,) say; logits z (n, k).

    One output (n, 1) is the logit of the second class of two. `w` (n,) are weights of the rows,
    None for all the same. T is between 0.05 and 20.

    It minimises the sum of the log losses plus (log T)^2 / (2 s^2), s = 0.5: the posterior's mode
    if log T is N(0, s^2) beforehand. Of many rows the loss decides alone; 20 rows that are all
    right do not make a model twenty times as sure. Halving an interval finds the zero of the slope
    in log (1 / T): that of a row's loss is sum_j p_j z_j - z_y, over T.
    Source: Guo et al., On calibration of modern neural networks, 2017, without the second term.
    """
    z = z.astype(np.float64)
    z = np.hstack([np.zeros_like(z), z]) if z.shape[1] == 1 else z
    z = z - z.max(axis=1, keepdims=True)
    own = np.take_along_axis(z, y[:, None], axis=1)[:, 0]
    share = np.full(len(y), 1 / len(y)) if w is None else w.astype(np.float64) / w.sum()
    prior = (share @ share) / SPREAD**2  # over the rows, as the slope is: a mean

    def slope(log_beta: float) -> float:
        beta = math.exp(log_beta)
        p = np.exp(beta * z)
        p /= p.sum(axis=1, keepdims=True)
        return float(beta * (share @ ((p * z).sum(axis=1) - own)) + prior * log_beta)

    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    for _ in range(ITERATIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) < 0 else (low, middle)
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
            needed = math.ceil(coverage / (1 - coverage) * (1 - 1e-12))
            raise InputError(
                f"coverage = {coverage:g} needs at least {needed} validation rows; there were "
                f"{self.rows}"
            )
        return self.scores[int(np.searchsorted(self.ranks, rank))]

    def widen(self, low: np.ndarray, high: np.ndarray, *, coverage: float) -> np.ndarray:
        """The intervals (n, 2) of values that low and high (n,) are widened to.

        Raises InputError as `margin`. What a margin below 0 would turn round is its middle alone.
        """
        margin, middle = self.margin(coverage), (low + high) / 2
        ends = np.minimum(low - margin, middle), np.maximum(high + margin, middle)
        return np.stack(ends, axis=1)

    def config(self) -> dict[str, Any]:
        """Plain values."""
        return {"rows": self.rows, "scores": list(self.scores), "ranks": list(self.ranks)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The inverse of `config`. Raises ValueError, TypeError or LookupError for other values."""
        rows, scores, ranks = config["rows"], config["scores"], config["ranks"]
        if not all(map(is_whole, (rows, *ranks))):
            raise TypeError(f"rows = {rows!r} or a rank is no whole number")
        if rows > MOST_ROWS:
            raise ValueError(f"rows = {rows}; wanted at most {MOST_ROWS}")
        made = cls(int(rows), tuple(map(float, scores)), tuple(map(int, ranks)))
        falls = np.diff(made.scores) < 0
        if len(made.scores) != len(made.ranks) or falls.any() or not np.isfinite(scores).all():
            raise ValueError("scores and ranks do not ascend together")
        if (np.diff((0, *made.ranks)) < 1).any() or made.ranks[-1:] != (made.rows,):
            raise ValueError(f"ranks do not rise to {made.rows}")
        return made
