"""A network around one layer, and a batch for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx import MLP, Dense


def batch(n: int = 13, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.normal(size=(n, 4)), rng.integers(0, k, size=n)


def network(layer: Any, **options: Any) -> MLP:
    """Dense, the layer, Dense: gradients of the first Dense come through the layer's dx."""
    return MLP(
        [4, Dense(5, activation="tanh"), layer, 3],
        **{"dtype": "float64", "seed": 7} | options,
    )
