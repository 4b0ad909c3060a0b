"""Activations that are an exponential or a logarithm on one side and a line on the other."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from mlpx.kernels.activations.base import Activation, Work
from mlpx.records import require
from mlpx.types import Array, Namespace

SELU_SCALE = 1.0507009873554804934193349852946
SELU_ALPHA = 1.6732632423543772848170429916717


@dataclass(frozen=True)
class ELU(Activation, name="elu"):
    """f(z) = z where z > 0, else alpha (exp(z) - 1); f' = 1, or alpha exp(z) = y + alpha. alpha >=
    0.

    Source: Clevert, Unterthiner and Hochreiter, "Fast and accurate deep network learning by
    exponential linear units", 2016.

    Known to: `engines/formulas.h`.
    """

    alpha: float = 1.0

    scratch = 2
    kinks = (0.0,)
    initializer = "he_normal"

    def __post_init__(self) -> None:
        require("alpha", self.alpha, least=0)

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        e = work[0]
        below(xp, z, out=e)
        e *= self.alpha
        z.clip(0, inf, out=out)
        out += e

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        one_sided(xp, kept, alpha=self.alpha, scale=1.0, work=work)
        xp.multiply(dy, work[0], out=out)


@dataclass(frozen=True)
class SELU(Activation, name="selu"):
    """f(z) = scale (z where z > 0, else alpha (exp(z) - 1)); f' = scale, or y + scale alpha.

    alpha = 1.67326 and scale = 1.05070 keep mean 0 and variance 1 from layer to layer, with LeCun
    normal weights and alpha dropout. Source: Klambauer et al., "Self-normalizing neural networks",
    2017.

    Known to: `engines/formulas.h`, `kernels/dropout.py` (alpha dropout).
    """

    scratch = 2
    kinks = (0.0,)
    initializer = "lecun_normal"

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        e = work[0]
        below(xp, z, out=e)
        e *= SELU_SCALE * SELU_ALPHA
        z.clip(0, inf, out=out)
        out *= SELU_SCALE
        out += e

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        one_sided(xp, kept, alpha=SELU_SCALE * SELU_ALPHA, scale=SELU_SCALE, work=work)
        xp.multiply(dy, work[0], out=out)


@dataclass(frozen=True)
class CELU(Activation, name="celu"):
    """f(z) = z where z > 0, else alpha (exp(z / alpha) - 1); f' = 1, or exp(z / alpha) = 1 + y /
    alpha.

    alpha > 0; unlike ELU's, its derivative has no jump at 0 for any alpha. Source: Barron,
    "Continuously differentiable exponential linear units", 2017.

    Known to: `engines/formulas.h`.
    """

    alpha: float = 1.0

    scratch = 1
    initializer = "he_normal"

    def __post_init__(self) -> None:
        require("alpha", self.alpha, above=0)

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        (e,) = work
        # beyond -100 alpha, exp is 0 after rounding and z / alpha may overflow
        z.clip(-100 * self.alpha, 0, out=e)
        e /= self.alpha
        xp.expm1(e, out=e)
        e *= self.alpha
        z.clip(0, inf, out=out)
        out += e

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (slope,) = work
        kept.clip(-inf, 0, out=slope)
        slope /= self.alpha
        slope += 1
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class Softplus(Activation, name="softplus"):
    """f(z) = log(1 + exp(z)), f' = sigmoid(z) = 1 - exp(-y).

    Source: Dugas et al., "Incorporating second-order functional knowledge for better option
    pricing", 2001.

    Known to: `engines/formulas.h`.
    """

    scratch = 1

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        (e,) = work
        xp.abs(z, out=e)
        xp.negative(e, out=e)
        xp.exp(e, out=e)
        xp.log1p(e, out=e)
        z.clip(0, inf, out=out)
        out += e  # max(z, 0) + log(1 + exp(-|z|))

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (slope,) = work
        xp.negative(kept, out=slope)
        xp.expm1(slope, out=slope)
        xp.negative(slope, out=slope)
        xp.multiply(dy, slope, out=out)


def below(xp: Namespace, z: Array, *, out: Array) -> None:
    """out = exp(min(z, 0)) - 1, without cancellation."""
    z.clip(-inf, 0, out=out)
    xp.expm1(out, out=out)


def one_sided(xp: Namespace, y: Array, *, alpha: float, scale: float, work: Work) -> None:
    """work[0] = scale where y > 0, else y + alpha; work[1] is overwritten."""
    slope, side = work
    y.clip(-inf, 0, out=slope)
    slope += alpha
    if alpha == scale:
        return  # no jump: y + alpha is the slope at 0 already
    xp.less_equal(y, 0, out=side)
    slope *= side
    xp.greater(y, 0, out=side)
    side *= scale
    slope += side
