"""Losses that demand a margin, as support vector machines do."""

from __future__ import annotations

from dataclasses import dataclass

from mlpx.kernels.losses.base import ColumnLoss, TargetKind, Work, step
from mlpx.types import Array, Namespace


class MarginLoss(ColumnLoss):
    """A loss of the margin s z, with s = 2 t - 1: 1 where the output should be positive, else -1.

    One output takes labels 0 and 1 and predicts 1 where z > 0. Several outputs take class labels,
    each class against the rest, and predict the largest. There are no probabilities.
    """

    targets = "classes"
    scratch = 2

    def target_kind(self, k: int) -> TargetKind:
        return "binary" if k == 1 else "classes"

    def margins(self, z: Array, t: Array) -> tuple[Array, ...]:
        return ((2 * t - 1) * z - 1,)


@dataclass(frozen=True)
class Hinge(MarginLoss, name="hinge"):
    """rows_i = mean_j max(0, 1 - s_ij z_ij), dz = -r s / k where s z < 1, else 0.

    s = 2 t - 1; several outputs are classes, each against the rest (Keras' hinge, not Crammer and
    Singer's).
    Source: Cortes and Vapnik, Support-vector networks, 1995.
    """

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        (s,) = work
        shortfall(xp, z, t, out=out, work=(s,))

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        s, _ = work
        shortfall(xp, z, t, out=out, work=(s,))
        step(xp, out, lowest=0, out=out)
        out *= s
        xp.negative(out, out=out)


@dataclass(frozen=True)
class SquaredHinge(MarginLoss, name="squared_hinge"):
    """rows_i = mean_j max(0, 1 - s_ij z_ij)**2, dz = -r 2 s max(0, 1 - s z) / k; smooth where hinge
    is not.

    s = 2 t - 1; several outputs are classes, each against the rest.
    """

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        (s,) = work
        shortfall(xp, z, t, out=out, work=(s,))
        xp.multiply(out, out, out=out)

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        s, _ = work
        shortfall(xp, z, t, out=out, work=(s,))
        out *= s
        out *= -2.0


def shortfall(xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
    """out = max(0, 1 - s z) with s = 2 t - 1 left in the one array of `work`."""
    (s,) = work
    xp.multiply(t, 2, out=s)
    s -= 1
    xp.multiply(s, z, out=out)
    xp.subtract(1, out, out=out)
    xp.maximum(out, 0, out=out)
