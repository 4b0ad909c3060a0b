"""Penalties on weights, added to the loss, and the bound on the norm of each unit's weights.

Conventions: `L2(s)` adds s |W|**2 to the loss, as Keras does, so its gradient is 2 s W. PyTorch's
`weight_decay=d` is L2(d / 2); scikit-learn's `alpha` is L2(alpha / (2 n)) for batches of n rows:
`L2(alpha / 2, per_row=True)` divides by n itself, also for a smaller last batch.
Biases and the parameters of normalisations are not penalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from mlpx.records import Record, require, require_flag
from mlpx.types import Array, Namespace


class Penalty(Record, kind="penalty"):
    """A function of one weight array that is added to the loss."""

    kinks: ClassVar[tuple[float, ...]] = ()
    """Weights without a derivative, which gradient checks avoid."""
    shared = False
    """Whether it is divided by the batch's rows, or by the sum of their weights."""

    def of_rows(self, rows: int) -> Penalty:
        """The penalty in a batch of `rows` rows of equal weight."""
        return self

    def value(self, xp: Namespace, W: Array, *, loss: Array, work: Array, total: Array) -> None:
        """loss += penalty(W); work, of W's shape, and total, (1, 1) like loss, are scratch."""
        raise NotImplementedError

    def gradient(self, xp: Namespace, W: Array, *, dW: Array, work: Array) -> None:
        """dW += the penalty's gradient; W, dW and work have one shape."""
        raise NotImplementedError


@dataclass(frozen=True)
class L2(Penalty, name="l2"):
    """s sum W**2, with the gradient 2 s W.

    With `per_row` s is divided by the number of the batch's rows, or by the sum of their weights
    if they have any, which must not be zero.
    """

    strength: float = 1e-4
    per_row: bool = False

    def __post_init__(self) -> None:
        require("strength", self.strength, least=0)
        require_flag("per_row", self.per_row)

    @property
    def shared(self) -> bool:  # type: ignore[override]
        return self.per_row

    def of_rows(self, rows: int) -> Penalty:
        return L2(self.strength / rows) if self.per_row else self

    def value_by_weight(
        self, xp: Namespace, W: Array, weight: Array, *, loss: Array, work: Array, total: Array
    ) -> None:
        """loss += penalty(W) / weight; weight, loss and total are (1, 1), otherwise as `value`."""
        xp.matmul(W.reshape(1, -1), W.reshape(-1, 1), out=total)
        total *= self.strength
        total /= weight
        loss += total

    def gradient_by_weight(
        self, xp: Namespace, W: Array, weight: Array, *, dW: Array, work: Array
    ) -> None:
        """dW += the penalty's gradient / weight; weight is (1, 1), work of W's shape."""
        xp.multiply(W, 2.0 * self.strength, out=work)
        work /= weight
        dW += work

    def value(self, xp: Namespace, W: Array, *, loss: Array, work: Array, total: Array) -> None:
        _add_product(xp, W, W, scale=self.strength, loss=loss, total=total)

    def gradient(self, xp: Namespace, W: Array, *, dW: Array, work: Array) -> None:
        xp.multiply(W, 2.0 * self.strength, out=work)
        dW += work


@dataclass(frozen=True)
class L1(Penalty, name="l1"):
    """s sum |W|, with the gradient s sign(W), 0 at 0."""

    strength: float = 1e-4

    kinks = (0.0,)

    def __post_init__(self) -> None:
        require("strength", self.strength, least=0)

    def value(self, xp: Namespace, W: Array, *, loss: Array, work: Array, total: Array) -> None:
        xp.sign(W, out=work)
        _add_product(xp, W, work, scale=self.strength, loss=loss, total=total)

    def gradient(self, xp: Namespace, W: Array, *, dW: Array, work: Array) -> None:
        xp.sign(W, out=work)
        work *= self.strength
        dW += work


@dataclass(frozen=True)
class ElasticNet(Penalty, name="elastic_net"):
    """l1 sum |W| + l2 sum W**2.

    scikit-learn's `alpha` and `l1_ratio` are l1 = alpha l1_ratio and l2 = alpha (1 - l1_ratio) / 2.
    Source: Zou and Hastie, "Regularization and variable selection via the elastic net", 2005.
    """

    l1: float = 1e-4
    l2: float = 1e-4

    kinks = (0.0,)

    def __post_init__(self) -> None:
        require("l1", self.l1, least=0)
        require("l2", self.l2, least=0)

    def value(self, xp: Namespace, W: Array, *, loss: Array, work: Array, total: Array) -> None:
        L1(self.l1).value(xp, W, loss=loss, work=work, total=total)
        L2(self.l2).value(xp, W, loss=loss, work=work, total=total)

    def gradient(self, xp: Namespace, W: Array, *, dW: Array, work: Array) -> None:
        L1(self.l1).gradient(xp, W, dW=dW, work=work)
        L2(self.l2).gradient(xp, W, dW=dW, work=work)


def _add_product(
    xp: Namespace, a: Array, b: Array, *, scale: float, loss: Array, total: Array
) -> None:
    """loss += scale times the sum of the products of a's and b's elements."""
    xp.matmul(a.reshape(1, -1), b.reshape(-1, 1), out=total)
    total *= scale
    loss += total


def limit_norms(xp: Namespace, W: Array, *, most: float, norms: Array, work: Array) -> None:
    """Scale each column of W (d, k) with a norm above `most` down to that norm.

    norms (1, k) and work (d, k) are scratch. Columns within the bound keep their bits. Source:
    Srivastava et al., "Dropout", 2014, section 5.1.
    """
    xp.multiply(W, W, out=work)
    work.sum(axis=0, keepdims=True, out=norms)
    xp.sqrt(norms, out=norms)
    xp.maximum(norms, most, out=norms)
    xp.divide(most, norms, out=norms)  # exactly 1 within the bound
    W *= norms
