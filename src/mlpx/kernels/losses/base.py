"""The base of every loss, and of losses that are a mean over the columns."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from mlpx.errors import InputError
from mlpx.records import Record
from mlpx.types import Array, Namespace

Work = tuple[Array, ...]
TargetKind = Literal["classes", "binary", "values"]
Link = Literal["softmax", "sigmoid", "exp"]
REDUCTIONS = ("mean", "sum")
"""How the losses of a row's columns may be combined."""


class Loss(Record, kind="loss"):
    """A loss of one row, averaged over the rows of a batch: sum_i w_i rows_i / sum_i w_i."""

    targets: ClassVar[TargetKind] = "values"
    """`"classes"`: labels or a distribution over k classes. `"binary"`: 0 or 1, or a number
    between, in each of k columns. `"values"`: real numbers."""
    link: ClassVar[Link | None] = None
    """What turns outputs into probabilities (softmax, sigmoid) or values (exp), if anything."""
    least: ClassVar[float | None] = None
    """The smallest valid target, for losses over values."""
    scratch: ClassVar[int] = 1
    """How many (n, k) scratch arrays `gradient` and `value` need."""
    columns: ClassVar[int] = 0
    """How many (n, 1) scratch arrays they need after those."""

    def target_kind(self, k: int) -> TargetKind:
        """The kind of targets that a network of k outputs takes."""
        return self.targets

    def target_columns(self, k: int) -> int:
        """How many columns the targets of a network of k outputs have."""
        return k

    def check_outputs(self, k: int) -> None:
        """Raises InputError if a network of k outputs cannot have this loss."""

    def constants(self, k: int) -> tuple[np.ndarray, ...]:
        """Fixed numbers (1, k) that `gradient` and `value` need, after the scratch arrays."""
        return ()

    def ignored_label(self) -> int | None:
        """The label whose rows are ignored, if there is one."""
        return None

    def smoothing(self) -> float:
        """The share of each target distribution that is spread evenly over all classes."""
        return 0.0

    def margins(self, z: Array, t: Array) -> tuple[Array, ...]:
        """Arrays whose signs change where the loss or its derivative has no derivative.

        Gradient checks avoid these places.
        """
        return ()

    def value(self, xp: Namespace, z: Array, t: Array, *, rows: Array, work: Work) -> None:
        """rows_i = loss of row i; z and t (n, k), rows (n, 1)."""
        raise NotImplementedError

    def gradient(
        self, xp: Namespace, z: Array, t: Array, r: Array, *, rows: Array, out: Array, work: Work
    ) -> None:
        """`value`, and out = r_i d rows_i / d z_ij; r (n, 1), out (n, k)."""
        raise NotImplementedError


class ColumnLoss(Loss):
    """A loss of each output separately; a row's loss is the mean over its k columns."""

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        """out_ij = loss of output z_ij; `out` and the last arrays of `work` are distinct."""
        raise NotImplementedError

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        """out_ij = its derivative by z_ij."""
        raise NotImplementedError

    def share(self, k: int) -> float:
        """What each of the k columns is multiplied by in a row's loss."""
        return 1.0 / k

    def value(self, xp: Namespace, z: Array, t: Array, *, rows: Array, work: Work) -> None:
        element, *rest = work
        self.elements(xp, z, t, out=element, work=tuple(rest))
        if z.shape[1] > 1:
            element *= self.share(z.shape[1])  # before the sum, which could overflow
        element.sum(axis=1, keepdims=True, out=rows)

    def gradient(
        self, xp: Namespace, z: Array, t: Array, r: Array, *, rows: Array, out: Array, work: Work
    ) -> None:
        self.value(xp, z, t, rows=rows, work=work)
        self.slopes(xp, z, t, out=out, work=work)
        out *= r
        if z.shape[1] > 1:
            out *= self.share(z.shape[1])


def step(xp: Namespace, x: Array, *, lowest: float, out: Array) -> None:
    """out = 1 where x > 0, `lowest` (0 or -1) where x < 0, 0 where x is 0, NaN where it is NaN.

    A comparison would turn NaN into 0. Subnormal x give values between.
    """
    tiny = float(xp.finfo(x.dtype).tiny)
    xp.clip(x, lowest * tiny, tiny, out)
    out *= 1.0 / tiny


def freeze(record: Loss, field: str) -> None:
    """Turn a list given for `field` into a tuple."""
    given = getattr(record, field)
    if isinstance(given, list):
        object.__setattr__(record, field, tuple(given))


def check_labels(name: str, values: object, k: int) -> None:
    """Raises InputError unless `values` is one number, or one for each of k outputs."""
    if isinstance(values, tuple) and len(values) != k:
        raise InputError(
            f"{name} has {len(values)} numbers; this model has {k} outputs, "
            f"so wanted {k}, or one number"
        )
