"""Muon orthogonalizes steps of matrices, and leaves all else to AdamW."""

from __future__ import annotations

import numpy as np
import pytest
from noisy_quadratic import NOISE, SHAPE, START
from reference import optimizers as loops
from updates import Driver

from mlpx.optimizers import AdamW, Muon


def test_muon_steps_are_nearly_orthogonal() -> None:
    for shape in ((5, 3), (3, 5), (4, 4)):
        driver = Driver(Muon(1.0), {"0.W": np.zeros(shape)})
        driver.step(W0=np.random.default_rng(1).normal(size=shape))
        scale = max(1.0, shape[1] / shape[0]) ** 0.5
        values = np.linalg.svd(driver.arrays["0.W"] / scale, compute_uv=False)
        assert 0.6 < values.min() <= values.max() < 1.3


@pytest.mark.parametrize("shape", [(4, 3), (6, 2), (3, 3), (10, 11)])
def test_muon_against_loops_in_other_shapes(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(9)
    start, noise = draw.normal(size=shape), draw.normal(size=(3, *shape))
    driver = Driver(Muon(0.05, weight_decay=0.1), {"0.W": start})
    found = driver.run(lambda W, k: noise[k], 3)
    pushes = [lambda p, k: noise[k].ravel()] * 3
    wanted = loops.muon(start.ravel(), pushes, 0.05, shape=shape, decay=0.1)
    np.testing.assert_allclose(found, np.reshape(wanted, shape), rtol=1e-11, atol=1e-11)


def test_muon_is_for_matrices_of_weights_and_has_one_moment_there() -> None:
    assert Muon().for_parameter("weight", (3, 2)) == Muon()
    for kind, shape in (("weight", (3,)), ("norm", (3, 2)), ("bias", (3,))):
        assert isinstance(Muon().for_parameter(kind, shape), AdamW)
    driver = Driver(Muon(), {"0.W": START})
    driver.step(W0=NOISE[0].reshape(SHAPE))
    assert driver.moments["m"].any()
    assert not driver.moments["v"].any()
