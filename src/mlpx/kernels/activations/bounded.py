"""The identity and the activations that saturate on both sides."""

from __future__ import annotations

from dataclasses import dataclass

from mlpx.kernels.activations.base import Activation, Work
from mlpx.kernels.special import logistic
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class Identity(Activation, name="identity"):
    """f(z) = z, f' = 1.

    Known to: `engines/formulas.h`, `engines/lowering/batches.py` (a bias alone),
    `engines/cuda/epilogues.py` (fused into products), `engines/cuda/heads.py`, `layers/dense.py`
    (left out).
    """

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        if out is not z:
            xp.copyto(out, z)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        if out is not dy:
            xp.copyto(out, dy)


@dataclass(frozen=True)
class Sigmoid(Activation, name="sigmoid"):
    """f(z) = 1 / (1 + exp(-z)), f' = y (1 - y).

    Never clipped: sigmoid(-30) is 9.36e-14. Source: Verhulst, "Notice sur la loi que la population
    suit dans son accroissement", 1838.

    Known to: `engines/formulas.h`, `kernels/losses/base.py` (a link), `estimators/settings.py`
    ("logistic", initial weights), `benchmark/workloads.py`.
    """

    scratch = 1

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        (e,) = work
        xp.abs(z, out=e)
        logistic(xp, z, e, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (slope,) = work
        xp.subtract(1, kept, out=slope)
        slope *= kept
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class HardSigmoid(Activation, name="hard_sigmoid"):
    """f(z) = relu6(z + 3) / 6, f' = 1/6 where -3 < z < 3, else 0.

    The line of slope 1/6 of PyTorch and Keras 3; Keras 2 and Theano had max(0, min(1, 0.2 z +
    0.5)). Source: Howard et al., "Searching for MobileNetV3", 2019.

    Known to: `engines/formulas.h`.
    """

    scratch = 2
    kinks = (-3.0, 3.0)

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        xp.add(z, 3, out=out)
        out.clip(0, 6, out=out)
        out /= 6

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        slope, below = work
        xp.greater(kept, 0, out=slope)
        xp.less(kept, 1, out=below)
        slope *= below
        slope /= 6
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class Tanh(Activation, name="tanh"):
    """f(z) = tanh(z), f' = 1 - y**2.

    Source: LeCun et al., "Efficient BackProp", 1998, on why it learns faster than the sigmoid.

    Known to: `engines/formulas.h`.
    """

    scratch = 1

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        xp.tanh(z, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (factor,) = work
        xp.subtract(1, kept, out=factor)  # (1 - y)(1 + y): 1 - y**2 would cancel near the ends
        xp.multiply(dy, factor, out=out)
        xp.add(kept, 1, out=factor)
        out *= factor


@dataclass(frozen=True)
class Softsign(Activation, name="softsign"):
    """f(z) = z / (1 + |z|), f' = (1 - |y|)**2 = 1 / (1 + |z|)**2.

    Source: Turian, Bergstra and Bengio, "Quadratic features and deep architectures for chunking",
    2009.

    Known to: `engines/formulas.h`.
    """

    scratch = 1

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        (size,) = work
        largest = float(xp.finfo(z.dtype).max)
        z.clip(-largest, largest, out=out)  # inf / inf would be NaN
        xp.abs(out, out=size)
        size += 1
        out /= size

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (root,) = work
        xp.abs(kept, out=root)
        xp.subtract(1, root, out=root)
        root *= root
        xp.multiply(dy, root, out=out)
