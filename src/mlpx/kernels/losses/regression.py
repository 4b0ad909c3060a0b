"""Losses over real values. Their gradients at a kink are 0 or a number between the two slopes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mlpx.errors import InputError
from mlpx.kernels.losses.base import REDUCTIONS, ColumnLoss, Work, freeze, step
from mlpx.records import require, require_one_of
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class MeanSquaredError(ColumnLoss, name="mean_squared_error"):
    """rows_i = mean_j (z_ij - t_ij)**2, dz = r 2 (z - t) / k.

    The plain mean, as in PyTorch, Keras and `sklearn.metrics`. scikit-learn's MLPRegressor and some
    textbooks halve it: that is `HalfSquaredError`, whose gradient is half of this.
    """

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.subtract(z, t, out=out)
        xp.multiply(out, out, out=out)

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.subtract(z, t, out=out)
        out *= 2.0


@dataclass(frozen=True)
class HalfSquaredError(ColumnLoss, name="half_squared_error"):
    """rows_i = mean_j (z_ij - t_ij)**2 / 2, dz = r (z - t) / k.

    `reduction="sum"` adds up the columns' losses instead, with the gradient of scikit-learn's
    MLPRegressor.
    """

    reduction: Literal["mean", "sum"] = "mean"

    def __post_init__(self) -> None:
        require_one_of("reduction", self.reduction, REDUCTIONS)

    def share(self, k: int) -> float:
        return 1.0 if self.reduction == "sum" else 1.0 / k

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.subtract(z, t, out=out)
        xp.multiply(out, out, out=out)
        out *= 0.5

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.subtract(z, t, out=out)


@dataclass(frozen=True)
class MeanAbsoluteError(ColumnLoss, name="mean_absolute_error"):
    """rows_i = mean_j |z_ij - t_ij|, dz = r sign(z - t) / k; its minimum is the median."""

    def margins(self, z: Array, t: Array) -> tuple[Array, ...]:
        return (z - t,)

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.subtract(z, t, out=out)
        xp.abs(out, out=out)

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.subtract(z, t, out=out)
        step(xp, out, lowest=-1, out=out)


@dataclass(frozen=True)
class Huber(ColumnLoss, name="huber"):
    """rows_i = mean_j h(z_ij - t_ij), h(e) = e**2 / 2 where |e| <= delta, else delta (|e| - delta /
    2).

    dz = r clip(z - t, -delta, delta) / k. Source: Huber, Robust estimation of a location parameter,
    1964.
    """

    delta: float = 1.0
    scratch = 2

    def __post_init__(self) -> None:
        require("delta", self.delta, above=0)

    def margins(self, z: Array, t: Array) -> tuple[Array, ...]:
        return z - t - self.delta, z - t + self.delta

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        (inner,) = work
        xp.subtract(z, t, out=out)
        xp.abs(out, out=out)
        xp.minimum(out, self.delta, out=inner)
        inner *= 0.5
        out -= inner
        inner *= 2.0
        out *= inner  # c (|e| - c / 2) with c = min(|e|, delta) is both branches

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.subtract(z, t, out=out)
        xp.clip(out, -self.delta, self.delta, out)


@dataclass(frozen=True)
class LogCosh(ColumnLoss, name="log_cosh"):
    """rows_i = mean_j log cosh(z_ij - t_ij), dz = r tanh(z - t) / k.

    About e**2 / 2 for small errors e, and |e| - log 2 for large ones.
    """

    scratch = 2

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        (inner,) = work
        xp.subtract(z, t, out=out)
        xp.abs(out, out=out)
        xp.minimum(out, FLAT, out=inner)
        out -= inner  # beyond FLAT the loss is a straight line to the last bit
        inner *= 0.5
        xp.sinh(inner, out=inner)
        xp.multiply(inner, inner, out=inner)
        inner *= 2.0
        xp.log1p(inner, out=inner)  # cosh e = 1 + 2 sinh(e / 2)**2 keeps small errors exact
        out += inner

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.subtract(z, t, out=out)
        xp.tanh(out, out=out)


FLAT = 20.0
"""log cosh e = |e| - log 2 within 1e-17 from here on."""


@dataclass(frozen=True)
class Poisson(ColumnLoss, name="poisson"):
    """rows_i = mean_j exp(z_ij) - t_ij z_ij, dz = r (exp(z) - t) / k, for counts t >= 0.

    The outputs are logarithms of the rate: `predict` gives exp(z), `predict_logits` z. The term log
    t! is left out, as it does not depend on z. `reduction="sum"` adds up the columns' losses
    instead.
    """

    reduction: Literal["mean", "sum"] = "mean"

    link = "exp"
    least = 0.0
    scratch = 2

    def __post_init__(self) -> None:
        require_one_of("reduction", self.reduction, REDUCTIONS)

    def share(self, k: int) -> float:
        return 1.0 if self.reduction == "sum" else 1.0 / k

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        (product,) = work
        # Where exp(z) is infinite, so is the loss: t z must not turn it into NaN.
        xp.minimum(z, math.log(float(xp.finfo(z.dtype).max)), out=product)
        xp.multiply(product, t, out=product)
        xp.exp(z, out=out)
        out -= product

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        xp.exp(z, out=out)
        out -= t


@dataclass(frozen=True)
class Quantile(ColumnLoss, name="quantile"):
    """rows_i = mean_j max(q e_ij, (q - 1) e_ij) with e = t - z: the pinball loss; dz = r (1[e < 0]
    - q) / k.

    `quantiles` is one number q in (0, 1), or several: then the network has one output for each
    quantile of each target, target by target: outputs (q1 of t1, q2 of t1, q1 of t2, ...).
    Source: Koenker and Bassett, Regression quantiles, 1978.
    """

    quantiles: float | tuple[float, ...] = 0.5

    def __post_init__(self) -> None:
        freeze(self, "quantiles")
        if self._all() == ():
            raise InputError("quantiles = (); wanted at least one number in (0, 1)")
        for q in self._all():
            require("quantiles", q, above=0, below=1)

    def _all(self) -> tuple[float, ...]:
        return self.quantiles if isinstance(self.quantiles, tuple) else (self.quantiles,)

    def target_columns(self, k: int) -> int:
        return k // len(self._all())

    def check_outputs(self, k: int) -> None:
        count = len(self._all())
        if k % count:
            raise InputError(
                f"quantiles = {self.quantiles}; the model has {k} outputs, wanted {count} "
                "for each target, one a quantile"
            )

    def constants(self, k: int) -> tuple[np.ndarray, ...]:
        q = np.tile(np.array(self._all()), k // len(self._all()))[None]
        return q, q - 1.0, 0.5 - q

    scratch = 2

    def margins(self, z: Array, t: Array) -> tuple[Array, ...]:
        return (z - t,)

    def elements(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        other, q, below, _ = work
        xp.subtract(t, z, out=other)
        xp.multiply(other, q, out=out)
        other *= below
        xp.maximum(out, other, out=out)

    def slopes(self, xp: Namespace, z: Array, t: Array, *, out: Array, work: Work) -> None:
        centre = work[-1]
        xp.subtract(z, t, out=out)
        step(xp, out, lowest=-1, out=out)
        out *= 0.5
        out += centre  # 1/2 - q + 1/2 above the target, 1/2 - q - 1/2 below
