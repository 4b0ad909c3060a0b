"""Adam and its relatives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlpx.optimizers.base import Optimizer, Steps
from mlpx.records import require
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class Adam(Optimizer, name="adam"):
    """m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g**2, p = p - rate m^ / (sqrt(v^) + epsilon).

    m^ = m / (1 - b1**t) and v^ = v / (1 - b2**t) undo the bias of their zero start.
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1.
    """

    learning_rate: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    moments = ("m", "v")
    scratch = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require("beta1", self.beta1, least=0, below=1)
        require("beta2", self.beta2, least=0, below=1)
        require("epsilon", self.epsilon, above=0)

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        return rate / bias(self.beta1, t), 1.0 / np.sqrt(bias(self.beta2, t))

    def update(
        self,
        xp: Namespace,
        p: Array,
        g: Array,
        *,
        moments: tuple[Array, ...],
        scalars: tuple[Array, ...],
        work: tuple[Array, ...],
    ) -> None:
        (m, v), (rate, unbias_v), (change, size) = moments, scalars, work
        m *= self.beta1
        xp.multiply(g, 1.0 - self.beta1, out=change)
        m += change
        v *= self.beta2
        xp.multiply(g, g, out=size)
        size *= 1.0 - self.beta2
        v += size
        xp.sqrt(v, out=size)
        size *= unbias_v
        size += self.epsilon  # sqrt(v^) + epsilon
        xp.multiply(m, rate, out=change)
        change /= size
        p -= change


def bias(beta: float, t: Steps) -> Steps:
    """1 - beta**t, exact for small t too; a beta of 0 gives 1."""
    return -np.expm1(t * np.log(beta)) if beta > 0 else np.ones_like(t)
