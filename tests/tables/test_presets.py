"""Presets: what is chosen for a table of so many rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from small_tables import LABELS, SMALL, TABLE

from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.kernels.losses import BinaryCrossEntropy, SoftmaxCrossEntropy
from mlpx.layers import Dense, Dropout, Embedding
from mlpx.tables import TableClassifier
from mlpx.tables.presets import Plain, preset_of
from mlpx.tables.saved import TableModel
from mlpx.tables.table import as_table
from mlpx.tables.target import Target
from mlpx.training.callbacks import EarlyStopping


@pytest.mark.parametrize(
    ("rows", "epochs", "batch"),
    [
        (2, 100, 2),
        (99, 100, 99),
        (100, 100, 32),
        (4096, 100, 32),
        (4097, 100, 64),
        (16_512, 100, 256),
        (30_000, 66, 256),
        (1_000_000, 15, 1024),
    ],
)
def test_choices_for_a_number_of_rows(rows: int, epochs: int, batch: int) -> None:
    chosen = Plain().for_rows(rows)
    assert (chosen.epochs, chosen.batch_size) == (epochs, batch)
    assert chosen.dropout == (0.0 if rows < 100 else Plain.dropout)
    given = Plain(epochs=7, batch_size=500).for_rows(rows)
    assert (given.epochs, given.batch_size) == (7, min(rows, 500))


@pytest.fixture(scope="module")
def fitted() -> TableClassifier:
    return TableClassifier(**SMALL).fit(TABLE, LABELS)


def test_layers(fitted: TableClassifier) -> None:
    encoder, target = fitted.encoder_, fitted.target_
    assert encoder.sizes == (13,)
    preset = Plain(hidden_layer_sizes=[5, 4], dropout=0.1, embedding=3)
    assert preset.layers(encoder, target) == [
        Embedding((13,), width=3), Dense(5, activation="relu"), Dropout(0.1),
        Dense(4, activation="relu"), Dropout(0.1),
    ]  # fmt: skip
    assert Plain(hidden_layer_sizes=(), embedding=3).layers(encoder, target) == [
        Embedding((13,), width=3)
    ]


def test_options(fitted: TableClassifier) -> None:
    preset, labels = Plain(epochs=60, batch_size=10), fitted.target_
    values = Target("regression", "y", low=0.0, high=1.0)
    assert set(preset.options([], target=labels, validated=False)) == {
        "optimizer", "epochs", "batch_size",
    }  # fmt: skip
    for target, column in ((labels, "val_accuracy"), (values, "val_loss")):
        (stop,) = preset.options([], target=target, validated=True)["callbacks"]
        assert isinstance(stop, EarlyStopping)
        assert (stop.monitor, stop.patience, stop.restore_best) == (column, 20, True)


@pytest.mark.parametrize(
    ("loss", "outputs"), [(None, 1), (SoftmaxCrossEntropy(), 2), (BinaryCrossEntropy(), 1)]
)
def test_a_model_has_the_outputs_of_its_loss(
    loss: Any, outputs: int, fitted: TableClassifier
) -> None:
    encoder, target = fitted.encoder_, fitted.target_
    x = encoder.encode(as_table(TABLE))
    made = TableModel.new(encoder, target, Plain(), x=x, seed=3, loss=loss, dtype="float64")
    assert (made.model.d_out, made.model.dtype, made.model.seed) == (outputs, np.float64, 3)
    made.model.fit(x, target.encode(as_table({"y": LABELS})["y"]), epochs=1, verbose=0)
    p = TableModel.of(made.model).predict_proba(TABLE)
    assert p.shape == (len(TABLE), 2)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_a_preset_goes_by_name() -> None:
    assert preset_of("auto") == preset_of("plain") == preset_of(Plain()) == Plain()
    assert Plain.from_config(Plain(epochs=3).config()) == Plain(epochs=3)
    with pytest.raises(UnknownNameError, match=r"known: .*plain"):
        preset_of("none")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"dropout": 1.0}, InputError),
        ({"weight_decay": -1.0}, InputError),
        ({"embedding": 0}, InputError),
        ({"epochs": 1.5}, InputTypeError),
        ({"hidden_layer_sizes": "8"}, InputTypeError),
    ],
)
def test_what_a_preset_cannot_be(given: dict[str, Any], error: type[Exception]) -> None:
    (name,) = given
    with pytest.raises(error, match=name):
        Plain(**given)
