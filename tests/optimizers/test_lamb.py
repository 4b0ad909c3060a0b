"""LAMB scales its steps by the norm of the weights."""

from __future__ import annotations

import numpy as np
from noisy_quadratic import NOISE, SHAPE, START
from updates import Driver

from mlpx.optimizers import Optimizer


def test_lamb_takes_steps_in_proportion_to_weights() -> None:
    driver = Driver(
        Optimizer.table["lamb"](0.1, weight_decay=0.0), {"0.W": 7 * START, "0.b": np.full(4, 3.0)}
    )
    driver.step(W0=NOISE[0].reshape(SHAPE), b0=np.ones(4))
    moved = np.linalg.norm(driver.arrays["0.W"] - 7 * START)
    np.testing.assert_allclose(moved, 0.1 * np.linalg.norm(7 * START), rtol=1e-12)
    np.testing.assert_allclose(driver.arrays["0.b"], 2.9, rtol=1e-5)


def test_lamb_leaves_zero_weights_and_one_of_a_huge_step() -> None:
    rule = Optimizer.table["lamb"](0.1, weight_decay=0.0)
    driver = Driver(rule, {"0.W": np.zeros((1, 1))})
    driver.step(W0=np.array([[3.0]]))
    np.testing.assert_allclose(driver.arrays["0.W"], -0.1, rtol=1e-6)


def test_lamb_adapts_weights_alone() -> None:
    rule = Optimizer.resolve("lamb")
    assert rule.for_parameter("weight", (3, 4)) is rule
    for kind in ("bias", "norm"):
        changed = rule.for_parameter(kind, (4,)).config()
        assert (changed["adapt"], changed["weight_decay"]) == (False, 0.0)
