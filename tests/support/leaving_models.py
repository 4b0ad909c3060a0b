"""Models to export: every activation, layer and loss, with random parameters; rows for them."""

from __future__ import annotations

from typing import Any

import numpy as np
from activation_cases import CASES, make
from loss_cases import EVERY, fits

from mlpx import (
    MLP,
    ActivationLayer,
    Dense,
    Dropout,
    Embedding,
    Layer,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Rescale,
    Residual,
)
from mlpx.kernels.losses import Loss

D = 5
DTYPES = ("float32", "float64")
SPECIAL: dict[str, Layer] = {
    "dense": Dense(D, activation="tanh"),
    "rescale": Rescale(0.5, 0.1),
    "activation": ActivationLayer("prelu"),
    "embedding": Embedding((3, 5), width=4),
    "periodic_embedding": PeriodicEmbedding(2, std=1.0),
    "piecewise_embedding": PiecewiseLinearEmbedding(((0.7, 1.0, 1.6, 3.0), (0.5, 2.0)), width=3),
    "residual": Residual(
        ["batch_norm", Dense(7, activation="prelu"), Dropout(0.3), Residual([Dense(7)]), Dense(D)]
    ),
}
"""Layers without defaults, or whose defaults hide something."""
LAYERS = {name: SPECIAL.get(name) or Layer.resolve(name) for name in sorted(Layer.table)}
LAYERS |= {
    "all columns are codes": Embedding((3, 5, 2, 9, 1), width=1),
    "all columns are numbers": PeriodicEmbedding(D, frequencies=3, width=2),
    "all columns have bins": PiecewiseLinearEmbedding([(0, 1)] * D, width=2),
}
LAYERS |= {"dense without b": Dense(D, bias=False), "rescale alone": Rescale(0.5)}
ENDS: list[tuple[Loss, int]] = [(loss, k) for loss in EVERY for k in (1, 3) if fits(loss, k)]
EXTREMES = np.array(
    [[-1e30, -1e4, -100, -30, -1e-20], [1e30, 1e4, 100, 30, 1e-20], [0, -0.0, 3, -3, 6]]
)


def shuffled(model: MLP, seed: int = 5) -> MLP:
    """The model with random values in each of its parameters; variances are positive."""
    rng = np.random.default_rng(seed)
    values = {name: rng.normal(size=p.shape) for name, p in model.parameters.items()}
    model.set_parameters(
        {name: abs(v) + 0.1 if name.endswith("variance") else v for name, v in values.items()}
    )
    return model


def far(layer: Layer) -> float:
    """How far out rows may be: the angle of a wave, in turns, is rounded before it is reduced."""
    return 10.0 if isinstance(layer, PeriodicEmbedding) else 1e4


def turns(layer: Layer) -> float:
    """By how much more a result may differ, since a wave's angle is some hundred radians."""
    return 100.0 if isinstance(layer, PeriodicEmbedding) else 1.0


def with_layer(layer: Layer, dtype: str, **options: Any) -> MLP:
    """A model with the layer between others."""
    options = {"loss": "mean_squared_error", **options}
    return shuffled(MLP([4, Dense(D, activation="relu"), layer, 3], dtype=dtype, **options))


def bare(case: int, dtype: str) -> MLP:
    """A model that is an activation and nothing else, in effect: its weights are the identity."""
    f = make(*CASES[case])
    made = MLP([D, Dense(D, activation=f)], loss="mean_squared_error", dtype=dtype)
    made.set_parameters({"0.W": np.eye(D), "0.b": np.zeros(D)})
    return made


def overflowing(case: int) -> tuple[MLP, np.ndarray]:
    """As `bare`, with rows for which the activation gets infinite numbers of either sign."""
    made = bare(case, "float32")
    made.set_parameters({"0.W": np.eye(D) * 1e38})
    return made, np.array([[1e30, -1e30, 0, 2e30, -2e30]], np.float32)


def offset() -> tuple[MLP, np.ndarray]:
    """A layer norm of rows far from zero, where the mean's rounding error would show."""
    made = MLP([D, "layer_norm"], loss="mean_squared_error")
    return made, (2**20 + rows(20, D)).astype(np.float32)


def ending(loss: Loss, k: int, dtype: str = "float32") -> MLP:
    return shuffled(MLP([4, 6, k], loss=loss, dtype=dtype))


def rows(n: int, d: int, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(n).normal(scale=2.0, size=(n, d)).astype(dtype)


def extreme(dtype: str) -> np.ndarray:
    """Rows (n, D) far out, and ordinary ones."""
    return np.concatenate([EXTREMES, 4 * rows(20, D)]).astype(dtype)


def same(found: Any, wanted: Any, *, relative: float, absolute: float) -> None:
    """Shape and dtype, then values; a row may be off by `absolute` of its largest number."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    if not wanted.size:
        return
    finite = np.where(np.isfinite(wanted), abs(wanted), 0)
    scale = np.maximum(1.0, finite.max(axis=-1, keepdims=True))
    with np.errstate(invalid="ignore"):  # of two infinite numbers
        error = np.where(found == wanted, 0, abs(found - wanted) - relative * finite)
    assert (error <= absolute * scale).all(), error.max()
