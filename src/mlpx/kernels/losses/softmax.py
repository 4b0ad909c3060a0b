"""Losses of a distribution over k classes, from logits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mlpx.errors import InputTypeError
from mlpx.kernels.losses.base import Loss, Work, check_labels, freeze
from mlpx.records import is_whole, require
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss, name="softmax_cross_entropy"):
    """rows_i = -sum_j t_ij log softmax(z_i)_j, dz = r (softmax(z) sum_j t_j - t).

    Targets are labels, one-hot, or any distribution. `label_smoothing` a replaces t by (1 - a) t +
    a / k. Rows with the label `ignore_label` are left out of the loss, the gradient, the metrics
    and the sum of weights. Stable for all finite logits, up to the dtype's largest, within eps of
    the loss + 1. A row of t that is all zero adds nothing. Source for smoothing:
    Szegedy et al., Rethinking the inception architecture, 2016.
    """

    label_smoothing: float = 0.0
    ignore_label: int | None = None

    targets = "classes"
    link = "softmax"
    scratch = 2
    columns = 3

    def __post_init__(self) -> None:
        require("label_smoothing", self.label_smoothing, least=0, below=1)
        label = self.ignore_label
        if label is not None and not is_whole(label):
            raise InputTypeError(
                f"ignore_label = {label!r} is a {type(label).__name__}; "
                "it must be a whole number or None"
            )

    def ignored_label(self) -> int | None:
        return self.ignore_label

    def smoothing(self) -> float:
        return self.label_smoothing

    def value(self, xp: Namespace, z: Array, t: Array, *, rows: Array, work: Work) -> None:
        e, shifted, total, mass, m = work
        shift(xp, z, out=shifted, columns=(m, total))
        xp.exp(shifted, out=e)
        e.sum(axis=1, keepdims=True, out=total)
        t.sum(axis=1, keepdims=True, out=mass)
        shifted *= t
        shifted.sum(axis=1, keepdims=True, out=m)
        xp.log(total, out=rows)
        rows *= mass
        rows -= m  # sum(t) log(sum exp) - sum(t shifted)

    def gradient(
        self, xp: Namespace, z: Array, t: Array, r: Array, *, rows: Array, out: Array, work: Work
    ) -> None:
        e, _, total, mass, _ = work
        self.value(xp, z, t, rows=rows, work=work)
        xp.divide(mass, total, out=total)
        xp.multiply(e, total, out=out)  # softmax(z) sum(t)
        out -= t
        out *= r


@dataclass(frozen=True)
class KLDivergence(Loss, name="kl_divergence"):
    """rows_i = sum_j t_ij log(t_ij / softmax(z_i)_j), dz = r (softmax(z) sum_j t_j - t), with 0 log
    0 = 0.

    Cross-entropy minus the entropy of the targets: the same gradient, and 0 where the outputs are
    right. Targets are distributions; labels count as one-hot. Source: Kullback and Leibler, 1951.
    """

    targets = "classes"
    link = "softmax"
    scratch = 2
    columns = 2

    def value(self, xp: Namespace, z: Array, t: Array, *, rows: Array, work: Work) -> None:
        L, log_t, m, total = work
        log_softmax(xp, z, out=L, scratch=log_t, columns=(m, total))
        xp.maximum(t, float(xp.finfo(t.dtype).tiny), out=log_t)
        xp.log(log_t, out=log_t)
        log_t -= L
        log_t *= t
        log_t.sum(axis=1, keepdims=True, out=rows)

    def gradient(
        self, xp: Namespace, z: Array, t: Array, r: Array, *, rows: Array, out: Array, work: Work
    ) -> None:
        L, _, mass, _ = work
        self.value(xp, z, t, rows=rows, work=work)
        t.sum(axis=1, keepdims=True, out=mass)
        xp.exp(L, out=out)
        out *= mass
        out -= t
        out *= r


@dataclass(frozen=True)
class Focal(Loss, name="focal"):
    """rows_i = -sum_j a_j t_ij (1 - p_ij)**gamma log p_ij with p = softmax(z).

    Cross-entropy with less weight on rows that are already right; gamma = 0 is cross-entropy.
    `alpha` a is one weight, or one for each class. dz = r (g - p sum_j g_j) with
    g = a t (1 - p)**gamma (gamma p log(p) / (1 - p) - 1). For yes-or-no outputs there is
    `BinaryFocal`. Source: Lin et al., Focal loss for dense object detection, 2017.
    """

    gamma: float = 2.0
    alpha: float | tuple[float, ...] = 1.0

    targets = "classes"
    link = "softmax"
    scratch = 4
    columns = 2

    def __post_init__(self) -> None:
        freeze(self, "alpha")
        require("gamma", self.gamma, least=0)
        for a in np.ravel(self.alpha).tolist():
            require("alpha", a, above=0)

    def check_outputs(self, k: int) -> None:
        check_labels("alpha", self.alpha, k)

    def constants(self, k: int) -> tuple[np.ndarray, ...]:
        return (np.broadcast_to(np.array(self.alpha, np.float64), (1, k)),)

    def value(self, xp: Namespace, z: Array, t: Array, *, rows: Array, work: Work) -> None:
        L, u, power, g, m, total, alpha = work
        log_softmax(xp, z, out=L, scratch=u, columns=(m, total))
        xp.expm1(L, out=u)
        xp.negative(u, out=u)  # 1 - p, exact where p is near 1
        xp.power(u, self.gamma, out=power)
        power *= t
        power *= alpha
        xp.multiply(power, L, out=g)
        g.sum(axis=1, keepdims=True, out=rows)
        xp.negative(rows, out=rows)

    def gradient(
        self, xp: Namespace, z: Array, t: Array, r: Array, *, rows: Array, out: Array, work: Work
    ) -> None:
        L, u, power, g, m, _, _ = work
        self.value(xp, z, t, rows=rows, work=work)
        xp.exp(L, out=out)
        xp.multiply(L, out, out=g)
        xp.maximum(u, float(xp.finfo(u.dtype).tiny), out=u)
        g /= u
        g *= self.gamma
        g -= 1
        g *= power
        g.sum(axis=1, keepdims=True, out=m)
        out *= m
        xp.subtract(g, out, out=out)
        out *= r


def shift(xp: Namespace, z: Array, *, out: Array, columns: tuple[Array, Array]) -> None:
    """out = z - max of its row, without overflow; z and out (n, k), both columns (n, 1) are
    overwritten.

    Differences beyond the dtype's largest number are limited to it.
    """
    m, lowest = columns
    info = xp.finfo(z.dtype)
    most = float(info.max) * (1.0 - 4.0 * float(info.eps))  # room for two roundings
    z.max(axis=1, keepdims=True, out=m)
    xp.maximum(m, 0, out=lowest)
    lowest -= most  # the lowest z from which the maximum can be subtracted
    xp.minimum(lowest, m, out=lowest)
    xp.maximum(z, lowest, out=out)
    out -= m


def softmax(xp: Namespace, z: Array, *, out: Array, columns: tuple[Array, Array]) -> None:
    """out = exp(z) / sum exp(z) over each row; z and out (n, k), both columns (n, 1) are
    overwritten.
    """
    shift(xp, z, out=out, columns=columns)
    xp.exp(out, out=out)
    out.sum(axis=1, keepdims=True, out=columns[0])
    out /= columns[0]


def log_softmax(
    xp: Namespace, z: Array, *, out: Array, scratch: Array, columns: tuple[Array, Array]
) -> None:
    """out = z - log sum exp(z) over each row; z, out, scratch (n, k), both columns (n, 1) are
    overwritten.
    """
    shift(xp, z, out=out, columns=columns)
    xp.exp(out, out=scratch)
    scratch.sum(axis=1, keepdims=True, out=columns[0])
    xp.log(columns[0], out=columns[0])
    out -= columns[0]
