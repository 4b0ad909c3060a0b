"""Probabilities and predictions from logits."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx.errors import InputError
from mlpx.kernels import losses
from mlpx.kernels.losses import BinaryCrossEntropy, Loss, SoftmaxCrossEntropy


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_sum_to_one_and_keep_their_tails(dtype: str) -> None:
    z = np.array([[-30.0], [0.0], [30.0], [1e4]], dtype)
    p = losses.probabilities(np, BinaryCrossEntropy(), z)
    assert p.shape == (4, 2)
    np.testing.assert_allclose(p[0, 1], 9.357622968839299e-14, rtol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    several = losses.probabilities(np, BinaryCrossEntropy(), np.hstack([z, -z]))
    np.testing.assert_array_equal(several, np.hstack([p[:, 1:], p[:, :1]]))
    soft = losses.probabilities(np, SoftmaxCrossEntropy(), np.hstack([z, -z, z]))
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(soft[-1], [0.5, 0, 0.5])


def test_predictions_follow_the_kind_of_targets() -> None:
    z = np.array([[0.0, 2.0, -1.0], [3.0, -0.5, 1e-30]])
    assert losses.predictions(np, Loss.resolve("focal"), z).tolist() == [1, 0]
    assert losses.predictions(np, Loss.resolve("hinge"), z).tolist() == [1, 0]
    assert losses.predictions(np, Loss.resolve("hinge"), z[:, :1]).tolist() == [0, 1]
    two = losses.predictions(np, Loss.resolve("binary_cross_entropy"), z[:, :2])
    assert two.tolist() == (z[:, :2] > 0).astype(int).tolist()
    several = losses.predictions(np, BinaryCrossEntropy(), z)
    assert several.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert losses.predictions(np, Loss.resolve("huber"), z) is z
    np.testing.assert_allclose(losses.predictions(np, Loss.resolve("poisson"), z), np.exp(z))


def test_only_some_losses_speak_of_probabilities() -> None:
    for name in Loss.table:
        loss = Loss.resolve(name)
        if loss.link in ("softmax", "sigmoid"):
            losses.require_probabilities(loss)
        else:
            with pytest.raises(InputError, match=f"this model's is '{name}'"):
                losses.require_probabilities(loss)
