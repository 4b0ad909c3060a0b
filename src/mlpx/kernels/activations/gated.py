"""Smooth activations z G(z) with a gate G that opens from 0 to 1.

All keep their input: they are not monotonic, so the output does not determine the slope.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, pi, sqrt

from mlpx.kernels.activations.base import Activation, Work
from mlpx.kernels.special import gauss, logistic, scaled_tail
from mlpx.types import Array, Namespace

FAR = 40.0
"""Beyond this exp(-z**2 / 2) is 0 in either dtype."""
OPEN = 1e4
"""Beyond this exp(-z) is 0 in either dtype."""
CURVE = 0.044715
STEEP = 2 * sqrt(2 / pi)


@dataclass(frozen=True)
class SiLU(Activation, name="silu"):
    """f(z) = z sigmoid(z), f' = s + z s (1 - s) with s = sigmoid(z). Also called swish.

    Source: Elfwing, Uchibe and Doya, "Sigmoid-weighted linear units", 2017.

    Known to: `engines/formulas.h`.
    """

    keeps = "input"
    scratch = 3
    initializer = "he_normal"

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        e = work[0]
        xp.abs(z, out=e)
        logistic(xp, z, e, out=out)
        gate(xp, z, e, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        e, bend, slope = work
        xp.abs(kept, out=e)
        kept.clip(-OPEN, OPEN, out=bend)
        logistic_slope(xp, kept, e, bend, out=slope)
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class GELUTanh(Activation, name="gelu_tanh"):
    """f(z) = z (1 + tanh(sqrt(2/pi) (z + 0.044715 z**3))) / 2 = z s, s = sigmoid(u).

    u = sqrt(8/pi) (z + 0.044715 z**3), f' = s + z s (1 - s) u'. An approximation of GELU to 5e-4,
    the form of GPT-2. Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    Known to: `engines/formulas.h`, `engines/cuda/epilogues.py` (fused into products).
    """

    keeps = "input"
    scratch = 4
    initializer = "he_normal"

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        u, t = work[:2]
        self._argument(xp, z, t, CURVE, out=u)
        u *= t
        logistic(xp, z, u, out=out)
        gate(xp, z, u, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        u, t, bend, slope = work
        self._argument(xp, kept, t, 3 * CURVE, out=bend)  # u'
        kept.clip(-FAR, FAR, out=slope)
        bend *= slope
        self._argument(xp, kept, t, CURVE, out=u)
        u *= t
        logistic_slope(xp, kept, u, bend, out=slope)
        xp.multiply(dy, slope, out=out)

    @staticmethod
    def _argument(xp: Namespace, z: Array, t: Array, curve: float, *, out: Array) -> None:
        """out = sqrt(8/pi) (1 + curve t**2), t = |z|, limited to where the gate is shut or open."""
        xp.abs(z, out=t)
        t.clip(0, FAR, out=t)
        xp.multiply(t, t, out=out)
        out *= curve * STEEP
        out += STEEP


@dataclass(frozen=True)
class GELU(Activation, name="gelu"):
    """f(z) = z Phi(z), f' = Phi(z) + z phi(z), with the normal distribution's Phi and density phi.

    Phi(-t) = phi(t) times Mills' ratio, so that the tail has full relative precision: gelu(-10) is
    -7.6e-23. Source: Hendrycks and Gimpel, "Gaussian error linear units", 2016.

    Known to: `engines/formulas.h`.
    """

    keeps = "input"
    scratch = 4
    initializer = "he_normal"

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        t, e, tail, spare = work
        xp.abs(z, out=t)
        t.clip(0, FAR, out=t)
        gauss(xp, t, square=0.5, out=e, work=(tail, spare))
        scaled_tail(xp, t, out=tail, work=(spare,))
        tail *= e  # Phi(-|z|)
        xp.greater_equal(z, 0, out=out)
        out -= tail
        xp.abs(out, out=out)  # 1 - tail on the right, tail on the left
        gate(xp, z, t, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        t, e, tail, spare = work
        xp.abs(kept, out=t)
        t.clip(0, FAR, out=t)
        gauss(xp, t, square=0.5, out=e, work=(tail, spare))
        scaled_tail(xp, t, out=tail, work=(spare,))
        t *= 1 / sqrt(2 * pi)
        tail -= t
        tail *= e  # Phi(-|z|) - |z| phi(z): the slope on the left
        xp.greater_equal(kept, 0, out=e)
        xp.multiply(e, -2, out=t)
        t += 1
        tail *= t
        tail += e  # 1 - it on the right
        xp.multiply(dy, tail, out=out)


@dataclass(frozen=True)
class Mish(Activation, name="mish"):
    """f(z) = z tanh(softplus(z)), f' = T + z T' with T = tanh(softplus(z)).

    With e = exp(z), T = (e**2 + 2 e) / (e**2 + 2 e + 2) and T' = 4 e (1 + e) / (e**2 + 2 e + 2)**2;
    on the right the same in exp(-z). Source: Misra, "Mish: a self regularized non-monotonic
    activation function", 2019.

    Known to: `engines/formulas.h`.
    """

    keeps = "input"
    scratch = 4
    initializer = "he_normal"

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        e, top, bottom, _ = work
        self._fraction(xp, z, e, top, bottom, spare=out)
        xp.divide(top, bottom, out=out)
        gate(xp, z, e, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        e, top, bottom, side = work
        self._fraction(xp, kept, e, top, bottom, spare=side)
        top /= bottom  # T
        xp.less(kept, 0, out=side)
        xp.maximum(side, e, out=side)
        e *= side  # exp(z) on the left, exp(-2 z) on the right
        kept.clip(-OPEN, OPEN, out=side)
        e *= side
        xp.abs(kept, out=side)
        xp.negative(side, out=side)
        xp.exp(side, out=side)
        side += 1
        e *= side
        e /= bottom
        e /= bottom
        e *= 4  # z T'
        top += e
        xp.multiply(dy, top, out=out)

    @staticmethod
    def _fraction(
        xp: Namespace, z: Array, e: Array, top: Array, bottom: Array, *, spare: Array
    ) -> None:
        """e = exp(-|z|), tanh(softplus(z)) = top / bottom."""
        xp.abs(z, out=e)
        xp.negative(e, out=e)
        xp.exp(e, out=e)
        xp.multiply(e, e, out=spare)
        xp.greater_equal(z, 0, out=top)
        xp.maximum(top, spare, out=top)  # 1 on the right, e**2 on the left
        xp.less(z, 0, out=bottom)
        xp.maximum(bottom, spare, out=bottom)  # and the other way round
        top += e
        top += e
        bottom *= 2
        bottom += top


def gate(xp: Namespace, z: Array, spare: Array, *, out: Array) -> None:
    """out *= z, where 0 times -inf is 0; `spare` is overwritten."""
    z.clip(-float(xp.finfo(z.dtype).max), inf, out=spare)
    out *= spare


def logistic_slope(xp: Namespace, z: Array, u: Array, bend: Array, *, out: Array) -> None:
    """out = s + bend s (1 - s), s = sigmoid of u >= 0 with z's sign; u, bend are overwritten."""
    xp.negative(u, out=u)
    xp.exp(u, out=u)
    xp.add(u, 1, out=out)
    u /= out  # sigmoid(-u)
    bend *= u
    bend /= out
    xp.greater_equal(z, 0, out=out)
    out -= u
    xp.abs(out, out=out)  # s: 1 - sigmoid(-u) on the right
    out += bend
