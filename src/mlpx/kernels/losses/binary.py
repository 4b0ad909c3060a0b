"""Losses of yes-or-no outputs from logits: one column, or one for each of several labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlpx.errors import InputError
from mlpx.kernels.losses.base import ColumnLoss, Work, check_labels, freeze
from mlpx.records import require
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class BinaryCrossEntropy(ColumnLoss, name="binary_cross_entropy"):
    """rows_i = mean_j c t softplus(-z) + (1 - t) softplus(z), dz = r ((1 - t) s(z) - c t s(-z)) /
    k.

    softplus(z) = log(1 + exp(z)), s is the sigmoid; targets t are 0 or 1, or between.
    `positive_weight` c is one number, or one for each label. `reduction="sum"` adds up the
    labels' losses instead, as scikit-learn's MLPClassifier does. Stable for all finite logits.
    """

    positive_weight: float | tuple[float, ...] = 1.0
    reduction: Literal["mean", "sum"] = "mean"

    targets = "binary"
    link = "sigmoid"
    scratch = 3

    def __post_init__(self) -> None:
        freeze(self, "positive_weight")
        for c in np.ravel(self.positive_weight).tolist():
            require("positive_weight", c, above=0)
        if self.reduction not in ("mean", "sum"):
            raise InputError(f"reduction = {self.reduction!r}; it must be 'mean' or 'sum'")

    def check_outputs(self, k: int) -> None:
        check_labels("positive_weight", self.positive_weight, k)

    def share(self, k: int) -> float:
        return 1.0 if self.reduction == "sum" else 1.0 / k

    def constants(self, k: int) -> tuple[np.ndarray, ...]:
        return (np.broadcast_to(np.array(self.positive_weight, np.float64), (1, k)),)

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        part, tail, c = work
        softplus(xp, z, out=out, work=(tail,))
        xp.subtract(1, t, out=part)
        out *= part
        xp.negative(z, out=part)
        softplus(xp, part, out=tail, work=(part,))
        tail *= t
        tail *= c
        out += tail  # no term is negative: nothing cancels

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        part, tail, rest, c = work
        sigmoids(xp, z, out=out, other=tail, work=(part,))
        xp.subtract(1, t, out=rest)
        out *= rest
        tail *= t
        tail *= c
        out -= tail


@dataclass(frozen=True)
class BinaryFocal(ColumnLoss, name="binary_focal"):
    """rows_i = mean_j a t s(-z)**gamma softplus(-z) + (1 - a) (1 - t) s(z)**gamma softplus(z).

    Binary cross-entropy with less weight on rows that are already right; `alpha` a weighs positives
    against negatives, None gives both weight one. dz = r (a t f(z) - (1 - a) (1 - t) f(-z)) / k
    with f(z) = -s(-z)**gamma (gamma s(z) softplus(-z) + s(-z)).
    Source: Lin et al., Focal loss for dense object detection, 2017.
    """

    gamma: float = 2.0
    alpha: float | None = None

    targets = "binary"
    link = "sigmoid"
    scratch = 5

    def __post_init__(self) -> None:
        require("gamma", self.gamma, least=0)
        if self.alpha is not None:
            require("alpha", self.alpha, above=0, below=1)

    @property
    def weights(self) -> tuple[float, float]:
        """The weights of positives and negatives."""
        return (1.0, 1.0) if self.alpha is None else (self.alpha, 1.0 - self.alpha)

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        part, p, q, term = work
        positive, negative = self.weights
        sigmoids(xp, z, out=p, other=q, work=(part,))
        xp.subtract(1, t, out=part)
        part *= negative
        self._modulated(xp, z, p, out=out, work=(term,))
        out *= part
        xp.negative(z, out=part)
        self._modulated(xp, part, q, out=p, work=(term,))
        p *= t
        p *= positive
        out += p

    def _modulated(self, xp: Namespace, z: Array, p: Array, *, out: Array, work: Work) -> None:
        """out = p**gamma softplus(z)."""
        (power,) = work
        softplus(xp, z, out=out, work=work)
        xp.power(p, self.gamma, out=power)
        out *= power

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        part, p, q, term, rest = work
        positive, negative = self.weights
        sigmoids(xp, z, out=p, other=q, work=(part,))
        self._steepness(xp, z, p, q, out=out, work=(part,))
        xp.subtract(1, t, out=rest)
        rest *= negative
        out *= rest
        xp.negative(z, out=rest)
        self._steepness(xp, rest, q, p, out=term, work=(part,))
        term *= t
        term *= positive
        out -= term

    def _steepness(
        self, xp: Namespace, z: Array, p: Array, q: Array, *, out: Array, work: Work
    ) -> None:
        """out = p**gamma (gamma q softplus(z) + p): the derivative of p**gamma softplus(z)."""
        (power,) = work
        softplus(xp, z, out=out, work=work)
        out *= q
        out *= self.gamma
        out += p
        xp.power(p, self.gamma, out=power)
        out *= power


def softplus(xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
    """out = log(1 + exp(z)) = max(z, 0) + log1p(exp(-|z|)), exact in both tails; all of one shape.

    The one array of `work` may be z itself.
    """
    (e,) = work
    xp.maximum(z, 0, out=out)
    xp.abs(z, out=e)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    xp.log1p(e, out=e)
    out += e


def sigmoids(xp: Namespace, z: Array, *, out: Array, other: Array, work: Work) -> None:
    """out = 1 / (1 + exp(-z)) and other = 1 / (1 + exp(z)), each exact in both tails."""
    (e,) = work
    xp.abs(z, out=e)
    xp.negative(e, out=e)
    xp.exp(e, out=e)
    xp.greater_equal(z, 0, out=out)
    xp.maximum(out, e, out=out)  # 1 where z >= 0, else exp(z)
    xp.less_equal(z, 0, out=other)
    xp.maximum(other, e, out=other)
    e += 1
    out /= e
    other /= e
