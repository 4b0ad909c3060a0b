"""What a network has to beat: the most frequent class or the mean, and a linear model."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.random import Purpose, permutation, words
from mlpx.tables.resampling import Resamples
from mlpx.tables.scoring import Scores, score

MOST_ROWS = 100_000
"""Training rows of a linear model; with more it takes minutes and hardly gets better."""
ITERATIONS = 500

Part = tuple[np.ndarray, np.ndarray]
"""Encoded rows x (n, width), and y (n,): the numbers of classes, or values."""


@dataclass(frozen=True)
class Baseline:
    """A simple model's scores on held-out rows; `note` says what was done otherwise than named."""

    name: str
    scores: Scores
    note: str = ""


def baselines(
    train: Part,
    held: Part,
    *,
    classes: int | None,
    sizes: tuple[int, ...] = (),
    resamples: Resamples | None = None,
    seed: int = 0,
) -> list[Baseline]:
    """The scores of simple models on the rows `held`, trained on the rows `train`.

    classes: how many, None for values. sizes: of the coded categories, the last columns of x; to
    the linear model each code is a column of its own.
    """
    resamples = resamples or Resamples.of(len(held[1]))
    constant, linear = (
        (_ShareOfEach(classes), _Logistic(classes)) if classes else (_Mean(), _Ridge())
    )
    found = [Baseline(constant.name, score(held[1], constant.of(train, held), resamples=resamples))]
    (x, y), note = _fewer(train, seed)
    parts = (one_hot_codes(x, sizes), y), (one_hot_codes(held[0], sizes), held[1])
    predicted = linear.of(*parts)
    notes = "; ".join(filter(None, (note, linear.note)))
    return [*found, Baseline(linear.name, score(held[1], predicted, resamples=resamples), notes)]


def one_hot_codes(x: np.ndarray, sizes: tuple[int, ...]) -> Any:
    """x (n, width) with each code, in the last columns, as columns of 0 and 1; sparse if any."""
    if not sizes:
        return x
    from scipy.sparse import csr_array, hstack

    numbers, codes = x[:, : -len(sizes)], x[:, -len(sizes) :].astype(np.int64)
    columns = codes + np.r_[0, np.cumsum(sizes)[:-1]]
    n, k = columns.shape
    ends = np.arange(0, n * k + 1, k)
    ones = np.ones(n * k, x.dtype)
    spread = csr_array((ones, columns.reshape(-1), ends), shape=(n, sum(sizes)))
    return hstack([csr_array(numbers), spread], format="csr")


def _fewer(train: Part, seed: int) -> tuple[Part, str]:
    """At most so many of the rows, and what to say of it."""
    x, y = train
    if len(y) <= MOST_ROWS:
        return train, ""
    rows = np.sort(permutation(words(seed, Purpose.SPLIT, count=len(y), item=1))[:MOST_ROWS])
    return (x[rows], y[rows]), f"learnt from {MOST_ROWS:,} of the rows, drawn at random"


class _ShareOfEach:
    """Each row gets the share that each class has in training: the most frequent is predicted."""

    name = "most frequent class"

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def of(self, train: Part, held: Part) -> np.ndarray:
        counts = np.bincount(train[1], minlength=self.classes)
        return np.tile(counts / counts.sum(), (len(held[1]), 1))


class _Mean:
    name = "mean"

    def of(self, train: Part, held: Part) -> np.ndarray:
        return np.full(len(held[1]), train[1].mean(dtype=np.float64))


class _Logistic:
    """scikit-learn's logistic regression."""

    name, note = "logistic regression", ""

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def of(self, train: tuple[Any, np.ndarray], held: tuple[Any, np.ndarray]) -> np.ndarray:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        model = LogisticRegression(max_iter=ITERATIONS)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(*train)
        if any(issubclass(each.category, ConvergenceWarning) for each in warned):
            self.note = f"not converged after {ITERATIONS} iterations"
        p = np.zeros((len(held[1]), self.classes))
        p[:, model.classes_] = model.predict_proba(held[0])
        return p


class _Ridge:
    """scikit-learn's ridge regression."""

    name, note = "ridge regression", ""

    def of(self, train: tuple[Any, np.ndarray], held: tuple[Any, np.ndarray]) -> np.ndarray:
        from sklearn.linear_model import Ridge

        x, y = train  # in float64: a target far from 0 leaves float32 no digits for its changes
        model = Ridge().fit(x.astype(np.float64), y.astype(np.float64))
        predicted: np.ndarray = model.predict(held[0].astype(np.float64))
        return predicted
