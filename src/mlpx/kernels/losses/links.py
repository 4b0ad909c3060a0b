"""From a network's outputs to probabilities and predictions."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.errors import InputError
from mlpx.kernels.losses.base import Loss
from mlpx.kernels.losses.binary import sigmoids
from mlpx.kernels.losses.softmax import softmax
from mlpx.types import Array, Namespace


def require_probabilities(loss: Loss) -> None:
    """Raises InputError unless the outputs of a network with this loss stand for probabilities."""
    if loss.link not in ("softmax", "sigmoid"):
        raise InputError(
            "predict_proba needs a loss of probabilities, such as 'softmax_cross_entropy' or "
            f"'binary_cross_entropy'; this model's is {loss.name!r}"
        )


def probabilities(xp: Namespace, loss: Loss, z: Array) -> Array:
    """Probabilities for outputs z (n, k): (n, k), or (n, 2) for one yes-or-no output.

    The loss must have passed `require_probabilities`.
    """
    if loss.link == "softmax":
        columns: Any = xp.empty((2, len(z), 1), z.dtype)
        p = xp.empty_like(z)
        softmax(xp, z, out=p, columns=(columns[0], columns[1]))
        return p
    p, q, e = (xp.empty_like(z) for _ in range(3))
    sigmoids(xp, z, out=p, other=q, work=(e,))
    return p if z.shape[1] > 1 else xp.concatenate((q, p), axis=1)


def predictions(xp: Namespace, loss: Loss, z: Array) -> Array:
    """The predictions of outputs z (n, k).

    Classes: the index of the largest, int64 (n,). One yes-or-no output: 0 or 1, int64 (n,);
    several: int64 (n, k) of 0 and 1. Values: (n, k) in z's dtype.
    """
    kind = loss.target_kind(z.shape[1])
    if kind == "classes":
        return z.argmax(axis=1)
    if kind == "binary":
        yes = (z > 0).astype(np.int64)
        return yes if z.shape[1] > 1 else yes[:, 0]
    if loss.link == "exp":
        with np.errstate(over="ignore"):
            return xp.exp(z)
    return z
