"""Each compiled engine computes what the interpreter does, for every record of every table.

CUDA's kernels are those of the .cu files, run by the simulator on the fake CuPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_cases import DTYPES, LAYERS, LOSSES, MORE, OPTIONS, agrees

from mlpx import L2, MLP, Dense, Dropout, Layer, LayerNorm, Optimizer, Penalty, Schedule
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss


@pytest.mark.parametrize("name", sorted(Activation.table))
def test_activation(engine: str, name: str) -> None:
    layers = [7, Dense(6, activation=name), Dense(5, activation=name), 3]
    agrees(engine, layers, dtypes=DTYPES)


@pytest.mark.parametrize("name", sorted(set(Optimizer.table) - {"lbfgs"}))
def test_optimizer(engine: str, name: str) -> None:
    agrees(engine, [7, 6, 3], optimizer=name, dtypes=DTYPES)


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_update(engine: str, options: dict[str, Any]) -> None:
    agrees(engine, [7, 6, 3], optimizer=Optimizer.table["adamw"](**options))


@pytest.mark.parametrize("name", sorted(Loss.table))
def test_loss(engine: str, name: str) -> None:
    loss = Loss.resolve(name)
    rng = np.random.default_rng(4)
    targets = {
        "classes": rng.integers(0, 3, size=45),
        "binary": rng.integers(0, 2, size=(45, 3)).astype(float),
        "values": rng.uniform(0.1, 2, size=(45, 3)),
    }
    y = targets[loss.target_kind(3)]
    agrees(engine, [7, 6, 3], loss=loss, y=y)


def test_weights(engine: str) -> None:
    agrees(engine, [7, 6, 3], sample_weight=np.linspace(0, 2, 45))


def test_soft_targets(engine: str) -> None:
    agrees(engine, [7, 6, 3], y=np.random.default_rng(2).dirichlet(np.ones(3), size=45))


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_layers(engine: str, layers: list[Any]) -> None:
    agrees(engine, layers, dtypes=DTYPES)


def test_every_layer_and_penalty_is_tried() -> None:
    tried = repr([MLP(layers).layers for layers in LAYERS.values()])
    for family in (Layer, Penalty):
        ours = [cls for cls in family.table.values() if cls.__module__.startswith("mlpx.")]
        assert [cls for cls in ours if f"{cls.__name__}(" not in tried] == []


@pytest.mark.parametrize("name", sorted(Schedule.table))
def test_schedule(engine: str, name: str) -> None:
    agrees(engine, [7, 6, 3], optimizer=Optimizer.table["sgd"](Schedule.resolve(name)))


@pytest.mark.parametrize("given", LOSSES.values(), ids=LOSSES)
def test_targets(engine: str, given: dict[str, Any]) -> None:
    given = dict(given)
    agrees(engine, [7, 6, given.pop("out", 3)], dtypes=DTYPES, **given)


@pytest.mark.parametrize("given", LOSSES.values(), ids=LOSSES)
def test_targets_of_weighted_rows(engine: str, given: dict[str, Any]) -> None:
    given = dict(given)
    weights = np.linspace(0, 2, 45)
    agrees(engine, [7, 6, given.pop("out", 3)], sample_weight=weights, **given)


@pytest.mark.parametrize("options", MORE.values(), ids=MORE)
def test_ways_to_train(engine: str, options: dict[str, Any]) -> None:
    options = {"penalty": L2(0.01)} | options
    first = Dense(6, activation="tanh", penalty=options.pop("penalty"))
    layers = [7, first, Dropout(0.2), LayerNorm(), 3]
    agrees(engine, layers, dtypes=DTYPES, **options)
