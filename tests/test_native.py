"""The native engine computes what the interpreter does, for every row it has an operation for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Dense, Optimizer
from mlpx.engines.native.library import load
from mlpx.errors import EngineError
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")

INTERPRETED = {
    "activation": {"prelu", "softmax"},
    "optimizer": {"lamb", "muon"},
    "loss": {
        "binary_cross_entropy",
        "binary_focal",
        "focal",
        "hinge",
        "kl_divergence",
        "squared_hinge",
    },
}
"""Rows of the tables that the library has no operation for: the model says so, and is interpreted.
"""

BOUNDS = {"float64": 1e-11, "float32": 1e-4}


def refused(kind: str, name: str, layers: list[Any], **options: Any) -> bool:
    """Whether the row is one of INTERPRETED, after checking that the model says so."""
    if name not in INTERPRETED[kind]:
        return False
    rng = np.random.default_rng(3)
    y = options.pop("y", rng.integers(0, 3, size=45))
    model = MLP(layers, loss=options.pop("loss", "softmax_cross_entropy"))
    history = model.fit(rng.normal(size=(45, 7)), y, epochs=1, verbose=0, **options)
    assert history.engine == "interpreter"
    assert "native form" in history.engine_reason
    return True


def both(
    layers: list[Any],
    *,
    dtype: str = "float64",
    y: Any = None,
    loss: Any = "softmax_cross_entropy",
    **options: Any,
) -> None:
    """Three epochs with a ragged batch give the same losses and parameters on both engines."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(45, 7))
    y = rng.integers(0, 3, size=45) if y is None else y
    options = {"epochs": 3, "batch_size": 8, "optimizer": "sgd", "verbose": 0} | options
    found = []
    for engine in ("interpreter", "native"):
        model = MLP(layers, dtype=dtype, loss=loss)
        history = model.fit(x, y, engine=engine, **options)
        assert history.engine == engine
        found.append((history, model))
    (slow, first), (fast, second) = found
    bound = BOUNDS[dtype]
    np.testing.assert_allclose(fast.step_loss, slow.step_loss, rtol=bound, atol=bound)
    np.testing.assert_allclose(second.flat, first.flat, rtol=bound, atol=bound)
    for column in slow.epochs[0]:
        np.testing.assert_allclose(fast[column], slow[column], rtol=bound, atol=bound)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(Activation.table))
def test_activation(name: str, dtype: str) -> None:
    layers = [7, Dense(6, activation=name), Dense(5, activation=name), 3]
    if not refused("activation", name, layers):
        both(layers, dtype=dtype)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", sorted(set(Optimizer.table) - {"lbfgs"}))
def test_optimizer(name: str, dtype: str) -> None:
    if not refused("optimizer", name, [7, 6, 3], optimizer=name):
        both([7, 6, 3], optimizer=name, dtype=dtype)


OPTIONS = {
    "weight decay": {"weight_decay": 0.1},
    "clipped by value": {"clip_value": 0.01},
    "clipped by norm": {"clip_norm": 0.1},
    "averaged": {"average": "ema"},
    "rates by parameter": {"rate_multipliers": {"bias": 2.0, "0": 0.5}},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_update(options: dict[str, Any]) -> None:
    both([7, 6, 3], optimizer=Optimizer.table["adamw"](**options))


@pytest.mark.parametrize("name", sorted(Loss.table))
def test_loss(name: str) -> None:
    loss = Loss.resolve(name)
    rng = np.random.default_rng(4)
    targets = {
        "classes": rng.integers(0, 3, size=45),
        "binary": rng.integers(0, 2, size=(45, 3)).astype(float),
        "values": rng.uniform(0.1, 2, size=(45, 3)),
    }
    y = targets[loss.target_kind(3)]
    if not refused("loss", name, [7, 6, 3], loss=loss, y=y):
        both([7, 6, 3], loss=loss, y=y)


def test_weights() -> None:
    both([7, 6, 3], sample_weight=np.linspace(0, 2, 45))


def test_soft_targets() -> None:
    both([7, 6, 3], y=np.random.default_rng(2).dirichlet(np.ones(3), size=45))


def test_engine_asked_for_says_what_it_cannot_do() -> None:
    with pytest.raises(EngineError, match="numerical"):
        MLP([7, 3]).fit(
            np.ones((9, 7)), np.zeros(9), engine="native", gradient="numerical", verbose=0
        )
