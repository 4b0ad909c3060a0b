"""Losses and variants of them, targets for each, and runs of their kernels and references."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import losses as reference

from mlpx.errors import InputError
from mlpx.kernels.losses import (
    BinaryCrossEntropy,
    BinaryFocal,
    Focal,
    HalfSquaredError,
    Huber,
    Loss,
    Poisson,
    Quantile,
    SoftmaxCrossEntropy,
)

VARIANTS = [
    SoftmaxCrossEntropy(label_smoothing=0.1, ignore_label=-100),
    BinaryCrossEntropy(positive_weight=3.0),
    BinaryCrossEntropy(positive_weight=(0.5, 2.0, 7.0)),
    BinaryCrossEntropy(reduction="sum"),
    HalfSquaredError(reduction="sum"),
    Poisson(reduction="sum"),
    BinaryFocal(gamma=0.0),
    BinaryFocal(gamma=1.5, alpha=0.25),
    Focal(gamma=0.0),
    Focal(gamma=0.5, alpha=(0.5, 2.0, 1.0)),
    Huber(delta=0.3),
    Quantile(0.9),
    Quantile((0.1, 0.5, 0.95)),
]
EVERY = [*(member() for member in Loss.table.values()), *VARIANTS]
NOT_OF_THE_FORMULA = ("label_smoothing", "ignore_label")
"""Fields that act on targets and weights, outside the kernel."""


def name_of(loss: Any) -> str:
    return repr(loss)


every_loss = pytest.mark.parametrize("loss", EVERY, ids=name_of)


def options(loss: Loss) -> dict[str, Any]:
    config = loss.config()
    skipped = ("kind", "name", *NOT_OF_THE_FORMULA)
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config.items()
        if key not in skipped
    }


def fits(loss: Loss, k: int) -> bool:
    try:
        loss.check_outputs(k)
    except InputError:
        return False
    return True


def make_targets(loss: Loss, n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    kind = loss.target_kind(k)
    if kind == "classes":
        t = rng.dirichlet(np.ones(k), n)
        t[: n // 2] = np.eye(k)[rng.integers(0, k, n // 2)]
        return t
    if kind == "binary":
        t = rng.random((n, k))
        t[: n // 2] = t[: n // 2] > 0.5
        return t
    return rng.poisson(2.0, (n, k)).astype(float) if loss.least == 0 else rng.normal(size=(n, k))


def buffer(n: int, k: int, dtype: Any) -> np.ndarray:
    return np.full((k, n), np.nan, dtype).T  # by column, as programs lay it out


def run(loss: Loss, z: np.ndarray, t: np.ndarray, r: np.ndarray | None = None) -> Any:
    """(rows, dz, rows by `value` alone)."""
    n, k = z.shape
    r = np.full((n, 1), 1.0 / n, z.dtype) if r is None else r
    work = (
        *(buffer(n, k, z.dtype) for _ in range(loss.scratch)),
        *(buffer(n, 1, z.dtype) for _ in range(loss.columns)),
        *(c.astype(z.dtype) for c in loss.constants(k)),
    )
    rows, alone, dz = buffer(n, 1, z.dtype), buffer(n, 1, z.dtype), buffer(n, k, z.dtype)
    before = z.copy(), t.copy(), r.copy()
    loss.value(np, z, t, rows=alone, work=work)
    loss.gradient(np, z, t, r, rows=rows, out=dz, work=work)
    for given_array, copy in zip((z, t, r), before, strict=True):
        np.testing.assert_array_equal(given_array, copy)
    return rows, dz, alone


def exact(loss: Loss, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys = options(loss)
    rows = [reference.row_loss(loss.name, *row, **keys) for row in zip(z, t, strict=True)]
    slopes = [reference.row_gradient(loss.name, *row, **keys) for row in zip(z, t, strict=True)]
    as_floats = np.array([[float(x) for x in row] for row in slopes])
    return np.array([float(x) for x in rows])[:, None], as_floats
