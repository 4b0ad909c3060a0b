"""How much a model leans on each column of the table: its score when the column is shuffled."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mlpx.random import Purpose, permutation, words
from mlpx.tables.scoring import loss

REPEATS = 5
MOST_ROWS = 10_000
"""Rows that are shuffled: each column takes as many predictions, five times."""


@dataclass(frozen=True)
class Importance:
    """How much worse the score of a model gets when the values of a column are shuffled.

    `rise` is the mean rise of the log loss, or of the root mean squared error, over the repeats;
    `spread` its standard deviation.
    """

    column: str
    rise: float
    spread: float


def importances(
    predict: Callable[[np.ndarray], np.ndarray],
    x: np.ndarray,
    y: np.ndarray,
    *,
    columns: Mapping[str, Sequence[int]],
    repeats: int = REPEATS,
    seed: int = 0,
) -> list[Importance]:
    """The importance of each column of the table, the greatest first.

    predict: encoded rows x (n, width) -> probabilities (n, k) or values (n,). columns: which
    columns of x each column of the table became; they are shuffled together. Of more than 10,000
    rows a random part is used. Columns that say the same share their importance: each alone can be
    shuffled without much harm.
    """
    rows = np.sort(_shuffled(len(y), seed, item=1)[:MOST_ROWS])
    x, y = x[rows], y[rows]
    before, found = loss(y, predict(x)), []
    for j, (name, places) in enumerate(columns.items()):
        rises = [
            loss(y, predict(_with_shuffled(x, places, _shuffled(len(y), seed, j, i)))) - before
            for i in range(repeats)
        ]
        found.append(Importance(name, float(np.mean(rises)), float(np.std(rises))))
    return sorted(found, key=lambda each: -each.rise)


def _shuffled(n: int, seed: int, column: int = 0, repeat: int = 0, *, item: int = 0) -> np.ndarray:
    raw = words(seed, Purpose.PERMUTE, count=n, step=repeat, epoch=column, item=item)
    return permutation(raw)


def _with_shuffled(x: np.ndarray, places: Sequence[int], order: np.ndarray) -> np.ndarray:
    x = x.copy()
    x[:, places] = x[order][:, places]
    return x
