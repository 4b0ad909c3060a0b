"""Targets of losses: smoothed labels, one-hot labels, a column per quantile."""

from __future__ import annotations

import numpy as np
from loss_cases import buffer

from mlpx.kernels import losses
from mlpx.kernels.losses import Quantile


def test_quantiles_belong_to_targets_in_turn() -> None:
    (q, below, centre) = Quantile((0.1, 0.9)).constants(4)
    np.testing.assert_array_equal(q, [[0.1, 0.9, 0.1, 0.9]])
    np.testing.assert_allclose(below, q - 1)
    np.testing.assert_allclose(centre, 0.5 - q)
    y = np.array([[1.0, 2.0], [3.0, 4.0]])
    out = buffer(2, 4, float)
    losses.repeat(np, y, out=out)
    np.testing.assert_array_equal(out, [[1, 1, 2, 2], [3, 3, 4, 4]])
    assert Quantile((0.1, 0.9)).target_columns(4) == 2


def test_smoothing_keeps_distributions() -> None:
    t = np.eye(4)[[1, 3]]
    losses.smooth(np, t, amount=0.2)
    np.testing.assert_allclose(t.sum(axis=1), 1)
    np.testing.assert_allclose(t[0], [0.05, 0.85, 0.05, 0.05])


def test_one_hot_of_a_label_outside_is_zero() -> None:
    out = buffer(3, 2, float)
    losses.one_hot(np, np.array([1, -100, 0]), np.arange(2), out=out)
    np.testing.assert_array_equal(out, [[0, 1], [0, 0], [1, 0]])
