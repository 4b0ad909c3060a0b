"""Stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass

from mlpx.optimizers.base import Optimizer
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class SGD(Optimizer, name="sgd"):
    """p = p - rate g."""

    learning_rate: float = 0.1

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
        (rate,), (change,) = scalars, work
        xp.multiply(g, rate, out=change)
        p -= change
