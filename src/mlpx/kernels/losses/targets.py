"""Preparation of a batch's targets for the loss."""

from __future__ import annotations

from mlpx.types import Array, Namespace


def one_hot(xp: Namespace, labels: Array, classes: Array, *, out: Array) -> None:
    """out_ij = 1 if classes_j is labels_i, else 0; labels (n,), classes (k,), out (n, k)."""
    xp.equal(labels[:, None], classes, out=out)


def smooth(xp: Namespace, t: Array, *, amount: float) -> None:
    """t = (1 - amount) t + amount / k, in place; t (n, k)."""
    t *= 1.0 - amount
    t += amount / t.shape[1]


def repeat(xp: Namespace, y: Array, *, out: Array) -> None:
    """out = each column of y (n, d) repeated m times; out (n, d m), stored by column."""
    n, d = y.shape
    xp.copyto(out.T.reshape(d, -1, n), y.T[:, None, :])
