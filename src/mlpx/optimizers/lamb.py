"""LAMB: Adam with steps in proportion to the norm of the parameter."""

from __future__ import annotations

import dataclasses
from dataclasses import KW_ONLY, dataclass

import numpy as np

from mlpx.optimizers.adam import Adam
from mlpx.optimizers.adaptive import smooth
from mlpx.optimizers.base import Optimizer, bias
from mlpx.records import require_flag
from mlpx.schedules import Schedule, Steps
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class LAMB(Adam, name="lamb"):
    """u = m^ / (sqrt(v^) + epsilon) + weight_decay p, p = p - rate (|p| / |u|) u, for each
    parameter array.

    If |p| or |u| is zero, the ratio is 1. Biases and the parameters of normalisations take u
    unscaled (adapt=False), as in the authors' code: they start at zero, and a step in proportion
    to them would leave them there. `decay_all=True` treats them as weights.
    Source: You et al., "Large batch optimization for deep learning: training BERT in 76 minutes",
    2020, algorithm 2.
    """

    learning_rate: float | Schedule = 1e-3
    _: KW_ONLY
    epsilon: float = 1e-6
    weight_decay: float | Schedule = 0.01
    adapt: bool = True

    decay = "own"
    by_parameter = True
    scratch = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        require_flag("adapt", self.adapt)

    def for_parameter(self, kind: str, shape: tuple[int, ...]) -> Optimizer:
        if kind == "weight" or self.decay_all:
            return self
        return dataclasses.replace(self, weight_decay=0.0, adapt=False)

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        root = np.sqrt(bias(self.beta2, t))
        return rate, root / bias(self.beta1, t), self.epsilon * root

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
        (m, v), (rate, unbias, epsilon), (u, size, *norms) = moments, scalars, work
        smooth(xp, m, g, self.beta1, work=u)
        smooth(xp, v, g, self.beta2, work=size, square=True)
        xp.sqrt(v, out=size)
        size += epsilon
        xp.divide(m, size, out=u)
        u *= unbias
        if self.decays:
            xp.multiply(p, self.constant_decay, out=size)
            u += size
        if self.adapt:
            trust_ratio(xp, p, u, work=(size, norms[0], norms[1]))
        u *= rate
        p -= u


def trust_ratio(xp: Namespace, p: Array, u: Array, *, work: tuple[Array, Array, Array]) -> None:
    """u = (|p| / |u|) u, or u itself if |p| or |u| is zero; work of their shape."""
    squares, *rest = (a.reshape(-1) for a in work)
    of_p, of_u = norms = tuple(a[:1] for a in rest)
    for a, norm in zip((p.reshape(-1), u.reshape(-1)), norms, strict=True):
        xp.multiply(a, a, out=squares)
        squares.sum(keepdims=True, out=norm)
        xp.sqrt(norm, out=norm)
    keep = squares[:1]
    xp.minimum(of_p, of_u, out=keep)
    xp.sign(keep, out=keep)
    for norm in norms:
        norm *= keep
    xp.subtract(1, keep, out=keep)
    for norm in norms:  # both are 1 where one was 0
        norm += keep
    of_p /= of_u
    u *= of_p
