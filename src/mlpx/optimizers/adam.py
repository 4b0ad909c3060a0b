"""Adam and its relatives."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass

import numpy as np

from mlpx.optimizers.adaptive import smooth
from mlpx.optimizers.base import Optimizer, bias
from mlpx.records import require
from mlpx.schedules import Schedule, Steps
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class Adam(Optimizer, name="adam"):
    """m = b1 m + (1 - b1) g, v = b2 v + (1 - b2) g**2, p = p - rate m^ / (sqrt(v^) + epsilon).

    m^ = m / (1 - b1**t) and v^ = v / (1 - b2**t) undo the bias of their zero start. As PyTorch. The
    corrections are folded into the rate and epsilon of the step, as the paper suggests, with
    epsilon still standing beside sqrt(v^) (Keras adds its 1e-7 to sqrt(v)).
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 1 and
    section 2.
    """

    learning_rate: float | Schedule = 1e-3
    _: KW_ONLY
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8

    scratch = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        require("beta1", self.beta1, least=0, below=1)
        require("beta2", self.beta2, least=0, below=1)
        require("epsilon", self.epsilon, above=0)

    @property
    def moments(self) -> tuple[str, ...]:
        return ("m", "v")

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        root = np.sqrt(bias(self.beta2, t))
        return rate * root / bias(self.beta1, t), self.epsilon * root

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
        (m, v), (rate, epsilon), (change, size) = moments, scalars, work
        smooth(xp, m, g, self.beta1, work=change)
        smooth(xp, v, g, self.beta2, work=size, square=True)
        xp.sqrt(v, out=size)
        size += epsilon
        xp.divide(m, size, out=change)
        change *= rate
        p -= change


@dataclass(frozen=True)
class AdamHat(Adam, name="adam_hat"):
    """Adam with the paper's epsilon-hat: p = p - rate c m / (sqrt(v) + epsilon).

    c = sqrt(1 - b2**t) / (1 - b1**t) undoes the bias of m and v, but not that of sqrt(v) beside
    epsilon, which therefore weighs more in the first steps. As scikit-learn and Keras.
    Source: Kingma and Ba, 2015, end of section 2.
    """

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        corrected, _ = super().scalars(t, rate)
        return corrected, np.full_like(t, self.epsilon)


@dataclass(frozen=True)
class AdamW(Adam, name="adamw"):
    """Adam with decoupled weight decay: p = (1 - rate weight_decay) p before Adam's step.

    As PyTorch, weight_decay = 0.01 included.
    Source: Loshchilov and Hutter, "Decoupled weight decay regularization", 2019, algorithm 2.
    """

    learning_rate: float | Schedule = 1e-3
    _: KW_ONLY
    weight_decay: float | Schedule = 0.01

    decay = "decoupled"


@dataclass(frozen=True)
class AMSGrad(Adam, name="amsgrad"):
    """Adam with the largest v so far: h = max(h, v), p = p - rate m^ / (sqrt(h^) + epsilon).

    As PyTorch, where h is corrected for bias by the step's 1 - b2**t; the paper corrects nothing.
    Source: Reddi, Kale and Kumar, "On the convergence of Adam and beyond", 2018, algorithm 2.
    """

    @property
    def moments(self) -> tuple[str, ...]:
        return ("m", "v", "h")

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
        (m, v, h), (rate, epsilon), (change, size) = moments, scalars, work
        smooth(xp, m, g, self.beta1, work=change)
        smooth(xp, v, g, self.beta2, work=size, square=True)
        xp.maximum(h, v, out=h)
        xp.sqrt(h, out=size)
        size += epsilon
        xp.divide(m, size, out=change)
        change *= rate
        p -= change


@dataclass(frozen=True)
class NAdam(Adam, name="nadam"):
    """Adam with Nesterov's look ahead: m^ = c_{t+1} m / (1 - C_{t+1}) + (1 - c_t) g / (1 - C_t).

    c_t = b1 (1 - 0.96**(t momentum_decay) / 2) and C_t is the product of c_1 to c_t. As PyTorch;
    Keras fixes momentum_decay at the same 0.004.
    Source: Dozat, "Incorporating Nesterov momentum into Adam", 2016, algorithm 2.
    """

    learning_rate: float | Schedule = 2e-3
    _: KW_ONLY
    momentum_decay: float = 0.004

    def __post_init__(self) -> None:
        super().__post_init__()
        require("momentum_decay", self.momentum_decay, least=0)

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        steps = np.arange(1, int(t.max(initial=1)) + 2, dtype=np.float64)
        c = self.beta1 * (1 - 0.5 * 0.96 ** (steps * self.momentum_decay))
        C, now = np.cumprod(c), t.astype(np.int64) - 1
        root = np.sqrt(bias(self.beta2, t))
        ahead = rate * root * c[now + 1] / (1 - C[now + 1])
        return ahead, rate * root * (1 - c[now]) / (1 - C[now]), self.epsilon * root

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
        (m, v), (ahead, rate, epsilon), (change, size) = moments, scalars, work
        smooth(xp, m, g, self.beta1, work=change)
        smooth(xp, v, g, self.beta2, work=size, square=True)
        xp.sqrt(v, out=size)
        size += epsilon
        xp.multiply(m, ahead, out=change)
        change /= size
        p -= change
        xp.multiply(g, rate, out=change)
        change /= size
        p -= change


@dataclass(frozen=True)
class RAdam(Adam, name="radam"):
    """p = p - rate r l m^ once the variance of l is bounded, at R_t > 5; before, p = p - rate m^.

    l = sqrt(1 - b2**t) / (sqrt(v) + epsilon),
    r = sqrt((R_t - 4) (R_t - 2) R / ((R - 4) (R - 2) R_t)),
    R = 2 / (1 - b2) - 1, R_t = R - 2 t b2**t / (1 - b2**t). As PyTorch; the paper's bound is 4, and
    t is 1 in the first step.
    Source: Liu et al., "On the variance of the adaptive learning rate and beyond", 2020, algorithm
    2.
    """

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        unbiased, known = rate / bias(self.beta1, t), bias(self.beta2, t)
        R = 2 / (1 - self.beta2) - 1
        R_t = R - 2 * t * self.beta2**t / known
        adaptive = R_t > 5
        R_t = np.where(adaptive, R_t, R)  # unused values must not give roots of negative numbers
        with np.errstate(all="ignore"):
            r = np.sqrt((R_t - 4) * (R_t - 2) * R / ((R - 4) * (R - 2) * R_t))
        return np.where(adaptive, 0, unbiased), np.where(adaptive, unbiased * r * np.sqrt(known), 0)

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
        (m, v), (plain, adaptive), (change, size) = moments, scalars, work
        smooth(xp, m, g, self.beta1, work=change)
        smooth(xp, v, g, self.beta2, work=size, square=True)
        xp.sqrt(v, out=size)
        size += self.epsilon
        xp.divide(adaptive, size, out=size)
        size += plain  # one of the two is zero
        xp.multiply(m, size, out=change)
        p -= change


@dataclass(frozen=True)
class Adamax(Adam, name="adamax"):
    """m = b1 m + (1 - b1) g, u = max(b2 u, abs(g)), p = p - rate / (1 - b1**t) m / (u + epsilon).

    As Keras; PyTorch adds epsilon to abs(g), the paper has none.
    Source: Kingma and Ba, "Adam: a method for stochastic optimization", 2015, algorithm 2.
    """

    learning_rate: float | Schedule = 2e-3
    _: KW_ONLY

    @property
    def moments(self) -> tuple[str, ...]:
        return ("m", "u")

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        return (rate / bias(self.beta1, t),)

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
        (m, u), (rate,), (change, size) = moments, scalars, work
        smooth(xp, m, g, self.beta1, work=change)
        u *= self.beta2
        xp.abs(g, out=size)
        xp.maximum(u, size, out=u)
        xp.add(u, self.epsilon, out=size)
        xp.divide(m, size, out=change)
        change *= rate
        p -= change
