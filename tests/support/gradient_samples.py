"""Networks and data for gradient checks, and an activation with a wrong derivative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx import MLP
from mlpx.kernels.activations import Tanh


def data(n: int = 9, d: int = 4, k: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.integers(0, k, size=n)


def net(**options: Any) -> MLP:
    return MLP([4, 5, 3], **{"activation": "tanh", "dtype": "float64", **options})


@dataclass(frozen=True)
class SteepTanh(Tanh):
    """A derivative that is wrong by a factor of 1 + 1e-6."""

    def backward(self, xp: Any, dy: Any, kept: Any, *, out: Any, work: Any) -> None:
        super().backward(xp, dy, kept, out=out, work=work)
        out *= 1 + 1e-6
