"""Optimizers minimize: rates and budgets are given, with a schedule for those that need one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from updates import RULES, Driver

from mlpx import MLP
from mlpx.optimizers import Optimizer
from mlpx.schedules import Cosine, Warmup

QUADRATIC: dict[str, tuple[Any, int]] = {
    "sgd": (0.4, 60), "momentum": (0.1, 300), "nesterov": (0.1, 300), "adagrad": (1.0, 300),
    "rmsprop": (Cosine(0.1, 600), 600), "adadelta": (Cosine(30.0, 600), 600),
    "adam": (Cosine(0.2, 400), 400), "adamw": (Cosine(0.2, 400), 400),
    "adam_hat": (Cosine(0.2, 400), 400),
    "amsgrad": (Cosine(0.2, 400), 400), "nadam": (Cosine(0.2, 400), 400),
    "radam": (Cosine(0.2, 400), 400), "adamax": (Cosine(0.2, 400), 400),
    "lion": (Cosine(0.1, 600), 600), "lamb": (Cosine(0.1, 600), 600),
    "muon": (Cosine(0.2, 400), 400),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_minimum_of_a_least_squares_problem(name: str) -> None:
    """|A W - B|**2 / 2 with a condition number of 4 and its minimum at a W known."""
    draw = np.random.default_rng(8)
    A = np.linalg.qr(draw.normal(size=(6, 6)))[0] * np.linspace(1, 2, 6)
    least = draw.normal(size=(6, 3))
    rate, steps = QUADRATIC[name]
    driver = Driver(Optimizer.table[name](rate, weight_decay=0.0), {"0.W": least + 1.0})
    W = driver.run(lambda W, k: A.T @ (A @ (W - least)), steps)
    assert np.abs(W - least).max() < 2e-3


# Without a warm-up the first gradient, of 230, throws rectified and looking-ahead rules far off.
VALLEY: dict[str, Any] = {
    "momentum": Cosine(1e-3, 3000), "nesterov": Cosine(1e-3, 3000), "adam": Cosine(0.2, 3000),
    "adamw": Cosine(0.2, 3000), "amsgrad": Cosine(0.2, 3000), "lion": Cosine(0.02, 3000),
    "rmsprop": Warmup(50, Cosine(0.01, 4950)), "nadam": Warmup(50, Cosine(0.05, 4950)),
    "radam": Warmup(50, Cosine(0.2, 4950)), "adamax": Warmup(50, Cosine(0.5, 2950)),
}  # fmt: skip
"""Those meant for it: not the rules whose steps shrink for good, nor those for matrices."""


@pytest.mark.parametrize("name", sorted(VALLEY))
def test_rosenbrocks_valley(name: str) -> None:
    """From (-1.2, 1) to (1, 1) in 3000 steps, or 5000 of which 50 are a warm-up."""
    rule = Optimizer.table[name](VALLEY[name], weight_decay=0.0)
    driver = Driver(rule, {"0.W": np.array([[-1.2, 1.0]])})

    def slope(W: np.ndarray, k: int) -> np.ndarray:
        x, y = W[0]
        return np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])

    steps = 3000 if isinstance(VALLEY[name], Cosine) else 5000
    np.testing.assert_allclose(driver.run(slope, steps), [[1.0, 1.0]], atol=0.01)


MEMORY_RATES = {
    "sgd": 0.5, "momentum": 0.1, "nesterov": 0.1, "adagrad": 0.1, "rmsprop": 0.01, "adadelta": 10.0,
    "lion": 0.003, "lamb": 0.03, "muon": 0.05, "radam": 0.03,
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_memorises_a_batch(name: str) -> None:
    """40 random points with random labels, in 400 steps of the full batch."""
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(40, 6)), draw.integers(0, 3, size=40)
    rule = Optimizer.table[name](MEMORY_RATES.get(name, 0.02), weight_decay=0.0)
    model = MLP([6, 64, 3], dtype="float64")
    history = model.fit(x, y, optimizer=rule, epochs=400, batch_size=40, verbose=0)
    assert history["accuracy"][-1] == pytest.approx(1.0)
    assert history["loss"][-1] < 0.1
