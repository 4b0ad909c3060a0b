"""Softmax as a layer's output."""

from __future__ import annotations

from dataclasses import dataclass

from mlpx.kernels.activations.base import Activation, Work
from mlpx.types import Array, Namespace


@dataclass(frozen=True)
class Softmax(Activation, name="softmax"):
    """y_ij = exp(z_ij) / sum_k exp(z_ik), dz = y (dy - sum_k dy_k y_k): each row sums to one.

    As the last activation under a loss that already contains the softmax, it is left to that loss:
    the network computes logits, and `predict_proba` the probabilities. Anywhere else it is computed
    as written here. Source: Bridle, "Probabilistic interpretation of feedforward
    classification network outputs", 1990.

    Known to: `engines/lowering/layers.py`, `engines/native/c/layers.inc`,
    `engines/native/c/table.inc`, `engines/cuda/activations.cu`, `engines/cuda/launches.py`,
    `kernels/losses/base.py` (a link), `network/architecture.py` (left to the loss).
    """

    scratch = 1
    columns = 1
    elementwise = False

    def forward(self, xp: Namespace, z: Array, *, out: Array, work: Work) -> None:
        _, column = work
        half = float(xp.finfo(z.dtype).max) / 2
        z.clip(-half, half, out=out)  # so that no difference overflows
        out.max(axis=1, keepdims=True, out=column)
        out -= column
        xp.exp(out, out=out)
        out.sum(axis=1, keepdims=True, out=column)
        out /= column

    def backward(self, xp: Namespace, dy: Array, kept: Array, *, out: Array, work: Work) -> None:
        product, column = work
        xp.multiply(dy, kept, out=product)
        product.sum(axis=1, keepdims=True, out=column)
        xp.subtract(dy, column, out=out)
        out *= kept
