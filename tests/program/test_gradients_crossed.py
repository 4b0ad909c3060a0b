"""Every activation under every layer and every loss: backpropagation against central differences.

Along random directions, which look at every element at once, in float64 and in float32; elements
one by one are checked in test_gradients.py. All of them are slow; every activation under every
layer, and every layer under every loss, is not. Directions and batches whose differences
would reach over a kink are drawn again, never excused.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from embedded import EMBEDDINGS

from mlpx import MLP, Dense, Layer
from mlpx.gradcheck import check_gradients
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss

ROWS, COLUMNS, HIDDEN, OUTPUTS = 6, 3, 4, 3
LAYERS: dict[str, Any] = {
    "activation": "tanh",
    "alpha_dropout": Layer.table["alpha_dropout"](0.3),
    "dense": Dense(HIDDEN),
    "dropout": Layer.table["dropout"](0.3),
    **EMBEDDINGS,
    "gaussian_noise": Layer.table["gaussian_noise"](0.1),
    "rescale": Layer.table["rescale"](0.5, 0.1),
    "residual": Layer.table["residual"]((Dense(HIDDEN, activation="tanh"),)),
}
"""What stands for a layer that its defaults make empty or dull."""


def targets(loss: Loss, rng: np.random.Generator) -> np.ndarray:
    kind = loss.target_kind(OUTPUTS)
    if kind == "classes":
        return rng.integers(0, OUTPUTS, size=ROWS)
    if kind == "binary":
        return rng.integers(0, 2, size=(ROWS, OUTPUTS)).astype(float)
    return rng.uniform(0.1, 2, size=(ROWS, loss.target_columns(OUTPUTS)))


def report(layer: str, activation: str, loss: Loss, dtype: str) -> Any:
    """The check on the first of several random batches that leaves no parameter out."""
    between = LAYERS.get(layer) or Layer.resolve(layer)
    hidden = Dense(HIDDEN, activation=activation)
    for seed in range(60):
        rng = np.random.default_rng(seed)
        layers = [COLUMNS, hidden, between, Dense(OUTPUTS)]
        model = MLP(layers, loss=loss, dtype=dtype, seed=seed)
        x = rng.normal(size=(ROWS, COLUMNS)).astype(dtype)
        found = check_gradients(model, x, targets(loss, rng), method="directions", directions=1)
        if all(row.checked for row in found.rows):
            return found
    raise AssertionError("no batch away from kinks")


ACTIVATIONS, LOSSES = sorted(Activation.table), sorted(Loss.table)
LAYER_NAMES, DTYPES = sorted(Layer.table), ["float64", "float32"]


@pytest.mark.parametrize("layer", LAYER_NAMES)
def test_every_pair(layer: str) -> None:
    """The losses and the dtypes take turns."""
    failed = {}
    j = LAYER_NAMES.index(layer)
    assert len(ACTIVATIONS) >= len(LOSSES)
    for i, activation in enumerate(ACTIVATIONS):
        loss, dtype = LOSSES[(i + 5 * j) % len(LOSSES)], DTYPES[(i + j) % 2]
        found = report(layer, activation, Loss.resolve(loss), dtype)
        if not found.passed:
            failed[activation, loss, dtype] = str(found)
    assert failed == {}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("layer", LAYER_NAMES)
def test_crossed(layer: str, dtype: str) -> None:
    failed = {}
    for activation in ACTIVATIONS:
        for loss in LOSSES:
            found = report(layer, activation, Loss.resolve(loss), dtype)
            if not found.passed:
                failed[activation, loss] = str(found)
    assert failed == {}
