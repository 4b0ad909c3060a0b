"""Activations: one record each, forward beside backward.

`forward` writes y = f(z); `backward` writes dz = dy f'(z), computed from what the record `keeps`: its
`"input"` z or its `"output"` y. All arrays have one shape. `out` may be z itself in `forward` when the
output is kept, and may be dy itself in `backward`. `work` holds as many arrays of that shape as `scratch`
says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mlpx.records import Record
from mlpx.types import Array, Namespace

Work = tuple[Array, ...]


class Activation(Record, kind="activation"):
    """An elementwise nonlinearity."""

    keeps: ClassVar[Literal["input", "output"]] = "output"
    scratch: ClassVar[int] = 0
    kinks: ClassVar[tuple[float, ...]] = ()
    """Inputs at which f has no derivative: gradient checks stay away from them."""
    initializer: ClassVar[str] = "glorot_uniform"
    """The rule for the weights in front of it, unless the user says otherwise."""

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        """out = f(z)."""
        raise NotImplementedError

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        """out = dy f'(z), with `kept` the input z or the output y as `keeps` says."""
        raise NotImplementedError


@dataclass(frozen=True)
class Identity(Activation, name="identity"):
    """f(z) = z."""

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        if out is not z:
            xp.copyto(out, z)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        if out is not dy:
            xp.copyto(out, dy)


@dataclass(frozen=True)
class Sigmoid(Activation, name="sigmoid"):
    """f(z) = 1 / (1 + exp(-z)), f' = y (1 - y)."""

    scratch = 1

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        (e,) = work
        xp.abs(z, out=e)
        xp.negative(e, out=e)
        xp.exp(e, out=e)  # exp(-|z|) cannot overflow, and keeps the tails exact
        xp.greater_equal(z, 0, out=out)
        xp.maximum(out, e, out=out)  # 1 where z >= 0, else exp(z)
        e += 1
        out /= e

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (slope,) = work
        xp.subtract(1, kept, out=slope)
        slope *= kept
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class Tanh(Activation, name="tanh"):
    """f(z) = tanh(z), f' = 1 - y**2."""

    scratch = 1

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        xp.tanh(z, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (slope,) = work
        xp.multiply(kept, kept, out=slope)
        xp.subtract(1, slope, out=slope)
        xp.multiply(dy, slope, out=out)


@dataclass(frozen=True)
class ReLU(Activation, name="relu"):
    """f(z) = max(z, 0), f' = 1 where y > 0, else 0."""

    scratch = 1
    kinks = (0.0,)
    initializer = "he_normal"

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        xp.maximum(z, 0, out=out)

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        (slope,) = work
        xp.greater(kept, 0, out=slope)  # a multiplication by 0 or 1 is faster than a masked copy
        xp.multiply(dy, slope, out=out)
