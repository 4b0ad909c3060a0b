"""What the sections train: random bytes like MNIST's, from a seed; and models of it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

import mlpx
from gpu.section import Row
from mlpx.random import Purpose, normal, words


@lru_cache(maxsize=2)
def images(n: int) -> tuple[np.ndarray, np.ndarray]:
    """MNIST-shaped bytes (n, 784) and labels (n,): ten blurred prototypes with noise."""
    prototypes = normal(words(1, Purpose.SPLIT, count=7840)).reshape(10, 784)
    labels = (words(2, Purpose.SPLIT, count=n) % np.uint64(10)).astype(np.int64)
    noise = normal(words(3, Purpose.SPLIT, count=n * 784)).reshape(n, 784)
    return np.clip(128 + 32 * (prototypes[labels] + noise), 0, 255).astype(np.uint8), labels


def network(hidden: tuple[Any, ...], activation: str, device: str, dtype: str) -> mlpx.MLP:
    return mlpx.MLP(
        [784, mlpx.Rescale(1 / 255), *hidden, 10], activation=activation, device=device, dtype=dtype
    )


def forced(model: mlpx.MLP, engine: str = "cuda") -> Row:
    """Whether the model trained on the engine that was asked for, all of it; else why not."""
    passed = model.engine == engine and model.engine_reason == "asked for"
    why = {} if passed else {"why": f"{model.engine}: {model.engine_reason}"}
    return {"passed": passed} | why
