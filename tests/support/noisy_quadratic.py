"""A quadratic of twelve parameters: its start, and a noisy gradient for each of fifty steps."""

from __future__ import annotations

from typing import Any

import numpy as np

STEPS = 50
SHAPE = (3, 4)
rng = np.random.default_rng(3)
START = rng.normal(size=SHAPE)
SLOPES = rng.uniform(0.5, 2.0, size=START.size)
NOISE = rng.normal(size=(STEPS, START.size))


def gradient(p: Any, k: int) -> np.ndarray:
    """Of a quadratic, and noise that differs from step to step, with zeros now and then."""
    return np.where(NOISE[k] > 1.5, 0.0, SLOPES * np.ravel(p) + NOISE[k])
