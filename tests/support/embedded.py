"""Embeddings as tests of every layer take them, and x with codes for a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpx import Embedding, Layer, PeriodicEmbedding, PiecewiseLinearEmbedding
from mlpx.network.architecture import codes_of, specify

EMBEDDINGS: dict[str, Layer] = {
    "embedding": Embedding((3, 2), width=3),
    "periodic_embedding": PeriodicEmbedding(2, frequencies=5),
    "piecewise_embedding": PiecewiseLinearEmbedding(((-0.6, 0.07, 0.9), (-2, 2)), width=3),
}
"""Of two columns each."""


def with_codes(x: np.ndarray, layers: Sequence[Any]) -> np.ndarray:
    """x, with codes in the columns where a model of these layers wants them."""
    d_in, made = specify(layers, "relu", None)
    sizes, x = codes_of(d_in, made), x.copy()
    if sizes:
        rng = np.random.default_rng(len(x))
        x[:, -len(sizes) :] = rng.integers(0, sizes, size=(len(x), len(sizes)))
    return x
