"""A small training on CUDA: MNIST-like images, a network for them, and its fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx import MLP, Dense, Rescale


def images(n: int = 230, d: int = 49) -> tuple[np.ndarray, np.ndarray]:
    """MNIST-like bytes and labels."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 10, size=n)
    prototypes = rng.integers(0, 256, size=(10, d))
    noise = rng.integers(-40, 40, size=(n, d))
    return np.clip(prototypes[y] + noise, 0, 255).astype(np.uint8), y


def network(device: str = "cuda", **options: Any) -> MLP:
    layers = [49, Rescale(1 / 255), Dense(13, activation="relu"), Dense(9, activation="relu"), 10]
    return MLP(layers, device=device, **options)


def train(engine: str = "auto", *, model: MLP | None = None, **options: Any) -> tuple[MLP, Any]:
    model = model or network()
    x, y = images()
    given = {"epochs": 3, "batch_size": 8, "optimizer": "adam", "verbose": 0} | options
    return model, model.fit(x, y, engine=engine, **given)
