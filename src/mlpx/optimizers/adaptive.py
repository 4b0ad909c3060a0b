"""Rules that divide by a running size of the gradient, without Adam's first moment."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

from mlpx.optimizers.base import Optimizer
from mlpx.records import require, require_flag
from mlpx.schedules import Schedule
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class AdaGrad(Optimizer, name="adagrad"):
    """G = G + g**2, p = p - rate g / (sqrt(G) + epsilon).

    As PyTorch; Keras starts G at 0.1 and adds its epsilon (1e-7) inside the root.
    Source: Duchi, Hazan and Singer, "Adaptive subgradient methods", 2011.
    """

    learning_rate: float | Schedule = 1e-2
    _: KW_ONLY
    epsilon: float = 1e-10

    scratch = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require("epsilon", self.epsilon, above=0)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("G",)

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
        (G,), (rate,), (change, size) = moments, scalars, work
        xp.multiply(g, g, out=size)
        G += size
        xp.sqrt(G, out=size)
        size += self.epsilon
        xp.multiply(g, rate, out=change)
        change /= size
        p -= change


@dataclass(frozen=True)
class RMSProp(Optimizer, name="rmsprop"):
    """v = rho v + (1 - rho) g**2, p = p - rate g / (sqrt(v) + epsilon).

    With centered=True, v - a**2 is under the root, where a = rho a + (1 - rho) g; a difference
    rounded below zero counts as zero. With momentum, u = momentum u + g / (...) and p = p - rate u.
    As PyTorch (where rho is called alpha); Keras has rho = 0.9 and its epsilon (1e-7) inside the
    root. Source: Tieleman and Hinton, lecture 6.5, 2012; centred: Graves, "Generating sequences
    with recurrent neural networks", 2013.
    """

    learning_rate: float | Schedule = 1e-2
    _: KW_ONLY
    rho: float = 0.99
    epsilon: float = 1e-8
    momentum: float = 0.0
    centered: bool = False

    scratch = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require("rho", self.rho, least=0, below=1)
        require("epsilon", self.epsilon, above=0)
        require("momentum", self.momentum, least=0, below=1)
        require_flag("centered", self.centered)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("v", *("a" for _ in range(self.centered)), *("u" for _ in range(self.momentum > 0)))

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
        (v, *rest), (rate,), (change, size) = moments, scalars, work
        smooth(xp, v, g, self.rho, work=size, square=True)
        if self.centered:
            a = rest[0]
            smooth(xp, a, g, self.rho, work=change)
            xp.multiply(a, a, out=change)
            xp.subtract(v, change, out=size)
            xp.maximum(size, 0, out=size)
            xp.sqrt(size, out=size)
        else:
            xp.sqrt(v, out=size)
        size += self.epsilon
        xp.divide(g, size, out=change)
        if self.momentum:
            u = rest[-1]
            u *= self.momentum
            u += change
            xp.multiply(u, rate, out=change)
        else:
            change *= rate
        p -= change


@dataclass(frozen=True)
class AdaDelta(Optimizer, name="adadelta"):
    """v = rho v + (1 - rho) g**2, d = sqrt(D + epsilon) / sqrt(v + epsilon) g,
    D = rho D + (1 - rho) d**2, p = p - rate d.

    As PyTorch; Keras has rho = 0.95, epsilon = 1e-7 and a rate of 0.001.
    Source: Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1.
    """

    learning_rate: float | Schedule = 1.0
    _: KW_ONLY
    rho: float = 0.9
    epsilon: float = 1e-6

    scratch = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require("rho", self.rho, least=0, below=1)
        require("epsilon", self.epsilon, above=0)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("v", "D")

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
        (v, D), (rate,), (change, size) = moments, scalars, work
        smooth(xp, v, g, self.rho, work=size, square=True)
        xp.add(v, self.epsilon, out=size)
        xp.add(D, self.epsilon, out=change)
        change /= size
        xp.sqrt(change, out=change)
        change *= g
        smooth(xp, D, change, self.rho, work=size, square=True)
        change *= rate
        p -= change


def smooth(
    xp: Namespace, m: Array, g: Array, beta: float, *, work: Array, square: bool = False
) -> None:
    """m = beta m + (1 - beta) g, or of g**2."""
    m *= beta
    if square:
        xp.multiply(g, g, out=work)
        work *= 1.0 - beta
    else:
        xp.multiply(g, 1.0 - beta, out=work)
    m += work
