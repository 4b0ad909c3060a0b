"""RealMLP as its paper has it: layers, factors, schedules and the start."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from small_tables import LABELS, TABLE

from mlpx.kernels.losses import MeanSquaredError, SoftmaxCrossEntropy
from mlpx.layers import (
    Dense,
    Dropout,
    Embedding,
    ParametricActivation,
    PeriodicEmbedding,
    Rescale,
    Scale,
)
from mlpx.optimizers import AdamW
from mlpx.program.update import make_groups
from mlpx.schedules import CosLog, FlatCosine, Schedule
from mlpx.tables import TableClassifier, TableRegressor
from mlpx.tables.encoder import Encoder
from mlpx.tables.presets import RealMLP, RealMLPS
from mlpx.tables.saved import TableModel
from mlpx.tables.table import as_table
from mlpx.tables.target import Target

CLASSES = Target("classification", "y", ("a", "b", "c"))
VALUES = Target("regression", "y", low=0.0, high=1.0)
TARGETS = {"classes": CLASSES, "values": VALUES}
Preset = RealMLP | RealMLPS


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder.fit(as_table(TABLE))


def made(preset: Preset, encoder: Encoder, target: Target) -> TableModel:
    x = encoder.encode(as_table(TABLE))
    return TableModel.new(encoder, target, preset.for_rows(len(x)), x=x, seed=1, dtype="float64")


@pytest.mark.parametrize("kind", TARGETS)
def test_layers_with_embeddings(kind: str, encoder: Encoder) -> None:
    target = TARGETS[kind]
    model = made(RealMLP(hidden_layer_sizes=(5, 4)), encoder, target).model
    assert encoder.sizes == (13,)
    width = 4 * encoder.continuous + (encoder.numbers - encoder.continuous) + 8
    f, rate = ("selu" if target.classes else "mish"), FlatCosine(0.15)
    assert model.layers == (
        PeriodicEmbedding(encoder.continuous, frequencies=16, width=4, std=0.1),
        Embedding((13,), width=8),
        Scale(),
        *(Rescale(1 / math.sqrt(width)), Dense(5), ParametricActivation(f), Dropout(rate)),
        *(Rescale(1 / math.sqrt(5)), Dense(4), ParametricActivation(f), Dropout(rate)),
        *(Rescale(1 / math.sqrt(4)), Dense(3 if target.classes else 1)),
    )
    smoothed = SoftmaxCrossEntropy(label_smoothing=0.1)
    assert model.loss == (smoothed if target.classes else MeanSquaredError())


def test_layers_of_the_simple_one() -> None:
    encoder = Encoder.fit(as_table(TABLE), one_hot=RealMLPS.one_hot)
    assert encoder.sizes == ()
    model = made(RealMLPS(hidden_layer_sizes=(400,)), encoder, VALUES).model
    scale, rescale, dense, second, last = model.layers
    assert (scale, rescale) == (Scale(), Rescale(1 / math.sqrt(encoder.width)))
    assert isinstance(dense, Dense)
    assert (dense.nonlinearity.name, second) == ("mish", Rescale(1 / 20))
    for name in ("2.W", "2.b"):
        values = model.parameters[name]
        assert abs(values.std() - 1) < 4 / math.sqrt(2 * values.size)
    assert not model.parameters["4.W"].any()
    assert not model.parameters["4.b"].any()
    assert isinstance(last, Dense)


def test_units_start_at_deviation_one(encoder: Encoder) -> None:
    model = made(RealMLP(hidden_layer_sizes=(6,)), encoder, CLASSES).model
    x = encoder.encode(as_table(TABLE)).astype(np.float64)
    front = type(model)(
        [encoder.width, *model.layers[:5]], dtype="float64", loss=MeanSquaredError()
    )
    front.set_parameters({k: v for k, v in model.parameters.items() if k in front.parameters})
    z = front.predict_logits(x) - model.parameters["4.b"]
    spread = z.std(axis=0)
    np.testing.assert_allclose(spread, 1, rtol=1e-9)
    assert (model.parameters["4.b"] <= -z.min(axis=0)).all()  # he+5: minus a mean of rows
    assert (model.parameters["4.b"] >= -z.max(axis=0)).all()


@pytest.mark.parametrize(
    ("preset", "kind", "rate"),
    [(RealMLP, "classes", 0.04), (RealMLP, "values", 0.2), (RealMLPS, "classes", 0.04),
     (RealMLPS, "values", 0.07)],
)  # fmt: skip
def test_rates_and_their_factors(
    preset: type[Preset], kind: str, rate: float, encoder: Encoder
) -> None:
    """W 1, b 0.1, s 6, the rest of what learns shapes 0.1; decay by the factor once more, and none
    of the biases.
    """
    target = TARGETS[kind]
    model = made(preset(hidden_layer_sizes=(5,)), encoder, target).model
    rule = preset().options(model.layers, target=target, validated=False)["optimizer"]
    assert isinstance(rule, AdamW)
    assert (rule.learning_rate, rule.beta1, rule.beta2) == (CosLog(rate, cycles=4), 0.9, 0.95)
    groups = make_groups(model.layout, rule.resolved(0, 100))
    decays = preset is RealMLP
    for name, place in model.layout.places.items():
        (group,) = [g for g in groups if g.span.start <= place.start < g.span.stop]
        index, letter = name.split(".")
        layer = model.layers[int(index)]
        factor = 6.0 if isinstance(layer, Scale) else 0.1
        if isinstance(layer, Dense | Embedding) and letter != "b":
            factor = 1.0
        assert group.multiplier == factor, name
        decay = group.optimizer.weight_decay
        at_first = decay.rates(np.ones(1))[0] if isinstance(decay, Schedule) else decay
        biases = isinstance(layer, Dense) and letter == "b"
        assert at_first == pytest.approx(0.02 * factor * decays * (not biases)), name


@pytest.mark.parametrize("kind", TARGETS)
def test_how_it_is_trained(kind: str) -> None:
    target = TARGETS[kind]
    options = RealMLP().for_rows(1000).options([], target=target, validated=True)
    (best,) = options["callbacks"]
    assert (best.monitor, best.latest) == (f"val_{'accuracy' if target.classes else 'loss'}", True)
    assert (options["epochs"], options["batch_size"]) == (256, 256)
    assert options["sampling"] == "whole_batches"
    assert RealMLP().for_rows(77).batch_size == 77
    assert "callbacks" not in RealMLP().options([], target=target, validated=False)


@pytest.mark.parametrize("preset", ["realmlp", "realmlp-s"])
def test_it_learns_and_comes_back(preset: str, tmp_path: Any) -> None:
    options: dict[str, Any] = {
        "epochs": 60, "hidden_layer_sizes": 16, "batch_size": 32, "random_state": 0
    }  # fmt: skip
    model = TableClassifier(preset, **options).fit(TABLE, LABELS)
    assert model.score(TABLE, LABELS) > 0.8
    model.save(tmp_path / "run")
    again = TableClassifier.from_run(tmp_path / "run")
    assert (again.predict_proba(TABLE) == model.predict_proba(TABLE)).all()
    assert again.preset_ == model.preset_
    y = np.where(np.asarray(LABELS) == np.asarray(LABELS)[0], 1.0, 5.0)
    values = TableRegressor(preset, **options).fit(TABLE, y)
    assert values.score(TABLE, y) > 0.4
    if preset == "realmlp":
        assert 1 <= values.predict(TABLE).min() <= values.predict(TABLE).max() <= 5
