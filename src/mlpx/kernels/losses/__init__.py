"""Losses: one record each, the value of every row beside its gradient.

A loss sees the network's last outputs `z` (n, k), targets `t` (n, k) in the same dtype, and row
weights `r` (n, 1) that sum to one. `gradient` writes the loss of each row into `rows` (n, 1) and
dz = d(r' rows)/dz into `out` (n, k); `value` writes `rows` only. Losses of probabilities work from
logits. `work` holds `scratch` arrays (n, k), then `columns` arrays (n, 1), then the loss's
`constants`. The arrays may be stored column by column, which makes reductions over a short last
axis much faster.

The weights are normalised over the batch, so a batch's loss is sum(w l) / sum(w), as in PyTorch.
"""

from __future__ import annotations

from mlpx.kernels.losses.base import ColumnLoss, Link, Loss, TargetKind
from mlpx.kernels.losses.binary import BinaryCrossEntropy, BinaryFocal, sigmoids, softplus
from mlpx.kernels.losses.hinge import Hinge, SquaredHinge
from mlpx.kernels.losses.links import predictions, probabilities, require_probabilities
from mlpx.kernels.losses.regression import (
    HalfSquaredError,
    Huber,
    LogCosh,
    MeanAbsoluteError,
    MeanSquaredError,
    Poisson,
    Quantile,
)
from mlpx.kernels.losses.softmax import (
    Focal,
    KLDivergence,
    SoftmaxCrossEntropy,
    log_softmax,
    shift,
    softmax,
)
from mlpx.kernels.losses.targets import one_hot, repeat, smooth

__all__ = [
    "BinaryCrossEntropy",
    "BinaryFocal",
    "ColumnLoss",
    "Focal",
    "HalfSquaredError",
    "Hinge",
    "Huber",
    "KLDivergence",
    "Link",
    "LogCosh",
    "Loss",
    "MeanAbsoluteError",
    "MeanSquaredError",
    "Poisson",
    "Quantile",
    "SoftmaxCrossEntropy",
    "SquaredHinge",
    "TargetKind",
    "log_softmax",
    "one_hot",
    "predictions",
    "probabilities",
    "repeat",
    "require_probabilities",
    "shift",
    "sigmoids",
    "smooth",
    "softmax",
    "softplus",
]
