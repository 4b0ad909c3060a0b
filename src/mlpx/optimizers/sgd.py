"""Stochastic gradient descent, with and without momentum."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from mlpx.errors import InputError
from mlpx.optimizers.base import Optimizer
from mlpx.records import require, require_flag
from mlpx.schedules import Schedule, Steps
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class SGD(Optimizer, name="sgd"):
    """v = momentum v + (1 - dampening) g, p = p - rate v; the first v is g itself.

    With nesterov=True, p = p - rate (g + momentum v). With momentum = 0, p = p - rate g. As
    PyTorch; Keras and Sutskever put the rate inside v, which differs only while the rate changes.
    Source: Polyak, "Some methods of speeding up the convergence of iteration methods", 1964;
    Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013.
    """

    learning_rate: float | Schedule = 0.1
    _: KW_ONLY
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require("momentum", self.momentum, least=0, below=1)
        require("dampening", self.dampening, least=0, below=1)
        require_flag("nesterov", self.nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise InputError(
                f"nesterov=True with momentum = {self.momentum}, dampening = {self.dampening}; "
                "it needs momentum in (0, 1) and no dampening"
            )

    @property
    def moments(self) -> tuple[str, ...]:
        return ("v",) if self.momentum else ()

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        if not self.dampening:
            return (rate,)
        return rate, np.where(t == 1, 1.0, 1.0 - self.dampening)

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
        (rate, *share), (change,) = scalars, work
        for v in moments:
            v *= self.momentum
            if share:
                xp.multiply(g, share[0], out=change)
                v += change
            else:
                v += g
        if self.nesterov:
            xp.multiply(moments[0], self.momentum, out=change)
            change += g
            change *= rate
        else:
            xp.multiply(moments[0] if moments else g, rate, out=change)
        p -= change


@dataclass(frozen=True)
class Momentum(SGD, name="momentum"):
    """SGD with momentum = 0.9 and a rate of 0.01 unless given; see `SGD`."""

    learning_rate: float | Schedule = 0.01
    _: KW_ONLY
    momentum: float = 0.9


@dataclass(frozen=True)
class Nesterov(SGD, name="nesterov"):
    """SGD with Nesterov's momentum = 0.9 and a rate of 0.01 unless given; see `SGD`."""

    learning_rate: float | Schedule = 0.01
    _: KW_ONLY
    momentum: float = 0.9
    nesterov: bool = True
