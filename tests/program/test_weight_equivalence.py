"""Equivalent row weights and row orders: a step leads to the same parameters, to rounding.

One step of plain gradient descent over all rows, on every engine, so the parameters move by the
gradient.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx import MLP, SGD, Dense, LayerNorm
from mlpx.kernels.losses import Loss

N, D, K = 12, 4, 3
ROUNDINGS = {"float32": 40, "float64": 40}
"""How many epsilons of the largest step the sums in another order may differ by."""

every_loss = pytest.mark.parametrize("loss", sorted(Loss.table))
every_dtype = pytest.mark.parametrize("dtype", sorted(ROUNDINGS))
every_engine = pytest.mark.parametrize("engine", ["auto", "interpreter"])


def data(loss: str) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    kind = Loss.resolve(loss).target_kind(K)
    y: Any = rng.gamma(2.0, size=(N, K))
    if kind == "classes":
        y = rng.integers(0, K, size=N)
    elif kind == "binary":
        y = rng.integers(0, 2, size=(N, K)).astype(float)
    return rng.normal(size=(N, D)), y


def move(loss: str, dtype: str, engine: str, x: Any, y: Any, **weights: Any) -> np.ndarray:
    """The change of the parameters in one step over all rows at a rate of 1."""
    layers = [D, Dense(5, activation="tanh"), LayerNorm(), Dense(6, activation="silu"), K]
    model = MLP(layers, loss=loss, dtype=dtype)
    start = model.flat.astype("float64")
    model.fit(
        x, y, steps=1, batch_size=len(x), sampling="sequential", optimizer=SGD(1.0), engine=engine,
        verbose=0, **weights,
    )  # fmt: skip
    assert model.training_state is not None
    return np.asarray(model.flat.astype("float64") - start)


def assert_to_rounding(found: np.ndarray, wanted: np.ndarray, dtype: str) -> None:
    largest = max(abs(wanted).max(), 1.0)  # the parameters themselves are of about 1
    assert abs(wanted).max() > 1e-3
    assert abs(found - wanted).max() < ROUNDINGS[dtype] * np.finfo(dtype).eps * largest


@every_engine
@every_dtype
@every_loss
def test_weights_are_repeated_rows(loss: str, dtype: str, engine: str) -> None:
    x, y = data(loss)
    counts = np.array([1, 2, 3, 0, 1, 1, 4, 2, 0, 1, 1, 2])
    weighted = move(loss, dtype, engine, x, y, sample_weight=counts.astype(float))
    repeated = move(loss, dtype, engine, np.repeat(x, counts, 0), np.repeat(y, counts, 0))
    assert_to_rounding(weighted, repeated, dtype)
    assert abs(weighted - move(loss, dtype, engine, x, y)).max() > 1e-3


@every_engine
@every_dtype
@every_loss
def test_the_order_of_rows_is_rounding(loss: str, dtype: str, engine: str) -> None:
    x, y = data(loss)
    order = np.random.default_rng(4).permutation(N)
    w = np.linspace(0.5, 2, N)
    one = move(loss, dtype, engine, x, y, sample_weight=w)
    other = move(loss, dtype, engine, x[order], y[order], sample_weight=w[order])
    assert_to_rounding(other, one, dtype)
    assert abs(one - move(loss, dtype, engine, x, y[order], sample_weight=w)).max() > 1e-3


@every_engine
@every_dtype
@pytest.mark.parametrize(
    "loss", sorted(n for n in Loss.table if Loss.table[n].targets == "classes")
)
def test_class_weights_are_sample_weights(loss: str, dtype: str, engine: str) -> None:
    x, y = data(loss)
    y = y if y.ndim == 1 else y.argmax(axis=1)
    each = np.array([1.0, 2.5, 0.25])
    by_class = move(loss, dtype, engine, x, y, class_weight=dict(enumerate(each)))
    by_row = move(loss, dtype, engine, x, y, sample_weight=each[y])
    assert_to_rounding(by_class, by_row, dtype)
    assert abs(by_class - move(loss, dtype, engine, x, y)).max() > 1e-3
