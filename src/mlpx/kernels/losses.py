"""Losses: one record each, the value of every row beside its gradient.

A loss sees the network's last outputs `z` (n, k), targets `t` (n, k) in the same dtype, and row weights `r`
(n, 1) that sum to one. `gradient` writes the loss of each row into `rows` (n, 1) and
dz = d(r' rows)/dz into `out` (n, k); `value` writes `rows` only. Losses of probabilities work from logits.
The arrays may lie in memory column by column; reductions over a short last axis are then much faster.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from mlpx.records import Record
from mlpx.types import Array, Namespace


class Loss(Record, kind="loss"):
    """A loss of one row, averaged over the rows of a batch."""

    targets: ClassVar[Literal["classes", "values"]] = "values"
    """`"classes"`: integer labels or a distribution over k classes. `"values"`: k real numbers."""
    scratch: ClassVar[int] = 1
    columns: ClassVar[int] = 0
    """How many (n, 1) arrays of scratch `gradient` and `value` need, behind the (n, k) ones."""

    def value(
        self, xp: Namespace, z: Array, t: Array, *, rows: Array, work: tuple[Array, ...]
    ) -> None:
        """rows_i = loss of row i; z and t (n, k), rows (n, 1)."""
        raise NotImplementedError

    def gradient(
        self,
        xp: Namespace,
        z: Array,
        t: Array,
        r: Array,
        *,
        rows: Array,
        out: Array,
        work: tuple[Array, ...],
    ) -> None:
        """`value`, and out = r_i d rows_i / d z_ij; r (n, 1), out (n, k)."""
        raise NotImplementedError


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss, name="softmax_cross_entropy"):
    """rows_i = -sum_j t_ij log softmax(z_i)_j, dz = r (softmax(z) sum_j t_j - t).

    Stable for all finite logits, up to the dtype's largest. A row of t that is all zero counts for nothing.
    """

    targets = "classes"
    scratch = 2
    columns = 3

    def value(
        self, xp: Namespace, z: Array, t: Array, *, rows: Array, work: tuple[Array, ...]
    ) -> None:
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
        self,
        xp: Namespace,
        z: Array,
        t: Array,
        r: Array,
        *,
        rows: Array,
        out: Array,
        work: tuple[Array, ...],
    ) -> None:
        e, _, total, mass, _ = work
        self.value(xp, z, t, rows=rows, work=work)
        xp.divide(mass, total, out=total)
        xp.multiply(e, total, out=out)  # softmax(z) sum(t)
        out -= t
        out *= r


@dataclass(frozen=True)
class MeanSquaredError(Loss, name="mean_squared_error"):
    """rows_i = mean_j (z_ij - t_ij)**2, dz = r 2 (z - t) / k.

    The plain mean. scikit-learn's MLPRegressor and some textbooks halve it; their gradient is half of this.
    """

    def value(
        self, xp: Namespace, z: Array, t: Array, *, rows: Array, work: tuple[Array, ...]
    ) -> None:
        (error,) = work
        xp.subtract(z, t, out=error)
        xp.multiply(error, error, out=error)
        error.mean(axis=1, keepdims=True, out=rows)

    def gradient(
        self,
        xp: Namespace,
        z: Array,
        t: Array,
        r: Array,
        *,
        rows: Array,
        out: Array,
        work: tuple[Array, ...],
    ) -> None:
        self.value(xp, z, t, rows=rows, work=work)
        xp.subtract(z, t, out=out)
        out *= r
        out *= 2.0 / z.shape[1]


def shift(xp: Namespace, z: Array, *, out: Array, columns: tuple[Array, Array]) -> None:
    """out = z - max of its row, without overflow; z and out (n, k), both columns (n, 1) are overwritten.

    Differences beyond half of the dtype's largest number are cut there: their exponential is 0 anyway.
    """
    m, lowest = columns
    half = float(xp.finfo(z.dtype).max) / 2
    z.max(axis=1, keepdims=True, out=m)
    xp.maximum(m, -half, out=lowest)
    lowest -= half  # the lowest z that can be subtracted from the maximum
    xp.maximum(z, lowest, out=out)
    out -= m


def softmax(xp: Namespace, z: Array, *, out: Array, columns: tuple[Array, Array]) -> None:
    """out = exp(z) / sum exp(z) over each row; z and out (n, k), both columns (n, 1) are overwritten."""
    shift(xp, z, out=out, columns=columns)
    xp.exp(out, out=out)
    out.sum(axis=1, keepdims=True, out=columns[0])
    out /= columns[0]


def one_hot(xp: Namespace, labels: Array, classes: Array, *, out: Array) -> None:
    """out_ij = 1 where classes_j is labels_i, else 0; labels (n,), classes (k,), out (n, k)."""
    xp.equal(labels[:, None], classes, out=out)
