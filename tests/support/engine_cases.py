"""What every compiled engine is held against the interpreter with: nets, losses, ways to train."""

from __future__ import annotations

from typing import Any

import numpy as np
from embedded import with_codes

from mlpx import (
    L1,
    L2,
    MLP,
    AlphaDropout,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    GaussianNoise,
    History,
    LayerNorm,
    Optimizer,
    ParametricActivation,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    Rescale,
    Residual,
    RMSNorm,
    Scale,
)
from mlpx.kernels.losses import (
    BinaryCrossEntropy,
    BinaryFocal,
    Focal,
    Quantile,
    SoftmaxCrossEntropy,
)
from mlpx.schedules import CosLog, FlatCosine

BOUNDS = {"float64": 1e-11, "float32": 1e-4}
DTYPES = tuple(BOUNDS)
THREADS = {"native": (1, 3), "cuda": (None,)}
"""Three are more than cores, and more than some batches have rows."""
DEVICES = {"native": "cpu", "cuda": "cuda"}


def agrees(
    engine: str,
    layers: list[Any],
    *,
    dtypes: tuple[str, ...] = ("float64",),
    rows: int = 45,
    y: Any = None,
    loss: Any = "softmax_cross_entropy",
    **options: Any,
) -> None:
    """Two epochs with a ragged batch give the losses and parameters that the interpreter gives."""
    rng = np.random.default_rng(3)
    x = with_codes(rng.normal(size=(rows, 7)), layers)
    y = rng.integers(0, 3, size=rows) if y is None else y
    options = {"epochs": 2, "batch_size": 8, "optimizer": "sgd", "verbose": 0} | options
    for dtype in dtypes:
        model = MLP(layers, dtype=dtype, loss=loss, seed=5)
        slow, first = train("interpreter", model, x, y, options)
        for threads in THREADS[engine]:
            model = MLP(layers, dtype=dtype, loss=loss, seed=5, device=DEVICES[engine])
            fast, second = train(engine, model, x, y, options | {"threads": threads})
            compare(fast, second.to("cpu"), slow, first, bound=BOUNDS[dtype])


def train(engine: str, model: MLP, x: Any, y: Any, options: dict[str, Any]) -> tuple[History, MLP]:
    history = model.fit(x, y, engine=engine, **options)
    assert history.engine == engine
    return history, model


def compare(fast: History, second: MLP, slow: History, first: MLP, *, bound: float) -> None:
    np.testing.assert_allclose(fast.step_loss, slow.step_loss, rtol=bound, atol=bound)
    np.testing.assert_allclose(second.flat, first.flat, rtol=bound, atol=bound)
    for name, norms in slow.gradient_norms.items():
        np.testing.assert_allclose(fast.gradient_norms[name], norms, rtol=bound, atol=bound)
    for column in slow.epochs[0]:
        np.testing.assert_allclose(fast[column], slow[column], rtol=bound, atol=bound)


OPTIONS = {
    "weight decay": {"weight_decay": 0.1},
    "clipped by value": {"clip_value": 0.01},
    "clipped by norm": {"clip_norm": 0.1},
    "averaged": {"average": "ema"},
    "decay by parameter": {"weight_decay": 0.1, "decay_multipliers": {"0": 3.0}},
    "rates by parameter": {"rate_multipliers": {"bias": 2.0, "0": 0.5}},
}
rng = np.random.default_rng(8)
BATCH_NORM = [7, Dense(6), BatchNorm(), "relu", Dense(5), BatchNorm(momentum=0.3), "tanh", 3]
LAYERS = {
    "dropout": [7, Dropout(0.3), Dense(6, activation="tanh"), Dropout(0.5), 3],
    "dropout of odd widths": [7, Dense(5, activation="relu"), Dropout(0.2), 3],
    "dropout by schedule": [
        7,
        Dropout(FlatCosine(0.6, flat=0.2)),
        Dense(6, activation="tanh"),
        Residual([Dropout(CosLog(0.9, 9, cycles=2)), Dense(6, activation="tanh"), Dropout(0.1)]),
        3,
    ],
    "alpha dropout": [7, Dense(6, activation="selu"), AlphaDropout(0.2), 3],
    "noise": [7, GaussianNoise(0.4), Dense(5), GaussianNoise(0.1), "tanh", 3],
    "batch norm": BATCH_NORM,
    "layer norm": [7, Dense(6), LayerNorm(), "gelu", Dense(5), LayerNorm(epsilon=0.1), 3],
    "rms norm": [7, Dense(6), RMSNorm(), "silu", 3],
    "normalised input": [7, BatchNorm(), LayerNorm(), RMSNorm(), Dense(6, activation="elu"), 3],
    "residual": [7, 6, Residual([Dense(9, activation="tanh"), Dense(6)]), 3],
    "residual all in": [
        7,
        Residual([LayerNorm(), Dropout(0.2), Dense(7), "prelu", Dense(7)]),
        Residual("tanh"),
        3,
    ],
    "rescale": [7, Rescale(0.5, 0.1), Dense(6, activation="tanh"), Rescale(2.0), 3],
    "activations": [7, Dense(6), "softmax", Dense(5), "prelu", Dense(4), "mish", 3],
    "codes": [7, Embedding((5, 3, 40), width=3), Dense(6, activation="tanh"), 3],
    "waves": [
        7,
        PeriodicEmbedding(3, frequencies=6, width=5),
        Dense(6, activation="tanh"),
        PeriodicEmbedding(2, frequencies=18, width=10, std=0.5),
        3,
    ],
    "waves and codes": [
        7,
        PeriodicEmbedding(4),
        Embedding((4, 2)),
        Dense(6, activation="silu"),
        LayerNorm(),
        3,
    ],
    "pieces": [
        7,
        PiecewiseLinearEmbedding(((-1, 0, 0.5, 2), (-0.3, 0.3)), width=5),
        Dense(6, activation="tanh"),
        PiecewiseLinearEmbedding(((-0.5, 0.1, 0.6), (0.0, 0.2, 0.3, 0.4, 0.45))),
        3,
    ],
    "scaled input": [7, Scale(), Dense(6, activation="tanh"), Scale(), 3],
    "parametric activations": [
        7,
        ParametricActivation("tanh"),
        Dense(19),
        ParametricActivation(),
        Dropout(0.2),
        Dense(5),
        ParametricActivation("mish"),
        3,
    ],
    "no bias": [7, Dense(6, activation="tanh", bias=False), Dense(3, bias=False)],
    "bounded": [7, Dense(20, activation="tanh", max_norm=0.8), Dense(3, max_norm=0.1)],
    "penalties": [
        7,
        Dense(6, penalty=L1(0.01)),
        Dense(6, penalty="elastic_net"),
        Dense(3, penalty=L2(0.1)),
    ],
}
LOSSES = {
    "smoothed": {"loss": SoftmaxCrossEntropy(label_smoothing=0.2)},
    "smoothed and soft": {
        "loss": SoftmaxCrossEntropy(label_smoothing=0.2),
        "y": rng.dirichlet(np.ones(3), size=45),
    },
    "ignored": {
        "loss": SoftmaxCrossEntropy(ignore_label=-1),
        "y": rng.integers(-1, 3, size=45),
    },
    "ignored and smoothed": {
        "loss": SoftmaxCrossEntropy(ignore_label=-1, label_smoothing=0.1),
        "y": rng.integers(-1, 3, size=45),
    },
    "yes or no": {"loss": "binary_cross_entropy", "y": rng.integers(0, 2, size=45), "out": 1},
    "labels that weigh": {
        "loss": BinaryCrossEntropy(positive_weight=(1.0, 2.0, 3.0), reduction="sum"),
        "y": rng.integers(0, 2, size=(45, 3)),
    },
    "focal by class": {"loss": Focal(gamma=1.5, alpha=(0.5, 1.0, 2.0))},
    "focal of one": {"loss": BinaryFocal(alpha=0.3), "y": rng.integers(0, 2, size=45), "out": 1},
    "hinge of one": {"loss": "hinge", "y": rng.integers(0, 2, size=45), "out": 1},
    "divergence of distributions": {
        "loss": "kl_divergence",
        "y": rng.dirichlet(np.ones(3), size=45),
    },
    "quantiles": {"loss": Quantile((0.1, 0.5, 0.9)), "y": rng.normal(size=45)},
    "quantiles of two": {"loss": Quantile((0.1, 0.9)), "y": rng.normal(size=(45, 2)), "out": 4},
    "one value": {"loss": "huber", "y": rng.normal(size=45), "out": 1},
}
MORE = {
    "penalty by row": {"penalty": L2(0.5, per_row=True)},
    "penalty by weight": {
        "penalty": L2(0.5, per_row=True),
        "sample_weight": np.linspace(0.1, 1, 45),
    },
    "decay by schedule": {
        "optimizer": Optimizer.table["adamw"](weight_decay=FlatCosine(0.3, flat=0.2))
    },
    "parts": {"optimizer": Optimizer.table["adam"](accumulate=3)},
    "parts of a batch that is no multiple": {
        "optimizer": Optimizer.table["sgd"](accumulate=2),
        "batch_size": 7,
    },
    "parts that weigh": {
        "optimizer": Optimizer.table["momentum"](accumulate=2),
        "sample_weight": np.linspace(0.1, 1, 45),
    },
    "gradient norms": {"record_gradient_norms": True},
    "matrices turned": {"optimizer": Optimizer.table["muon"](nesterov=False, iterations=3)},
    "all of lamb": {"optimizer": Optimizer.table["lamb"](decay_all=True, weight_decay=0.1)},
    "validated": {"validation_data": (rng.normal(size=(9, 7)), rng.integers(0, 3, size=9))},
    "with replacement": {"sampling": "with_replacement"},
    "one row at a time": {"batch_size": 1},
    "all rows": {"batch_size": 45},
}
