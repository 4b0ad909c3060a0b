"""Presets: what is chosen for a table of so many rows."""

from __future__ import annotations

from typing import Any

import pytest
from small_tables import LABELS, SMALL, TABLE

from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.layers import Dense, Dropout, Embedding
from mlpx.tables import TableClassifier
from mlpx.tables.presets import Plain, preset_of
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


def test_layers() -> None:
    encoder = TableClassifier(**SMALL).fit(TABLE, LABELS).encoder_
    assert encoder.sizes == (13,)
    preset = Plain(hidden_layer_sizes=[5, 4], dropout=0.1, embedding=3)
    assert preset.layers(encoder, 2) == [
        Embedding((13,), width=3), Dense(5, activation="relu"), Dropout(0.1),
        Dense(4, activation="relu"), Dropout(0.1), Dense(2),
    ]  # fmt: skip
    (last,) = Plain(hidden_layer_sizes=(), embedding=3).layers(encoder, 2)[1:]
    assert last == Dense(2)


def test_options() -> None:
    preset = Plain(epochs=60, batch_size=10)
    assert set(preset.options(validated=False, classes=True)) == {
        "optimizer", "epochs", "batch_size",
    }  # fmt: skip
    for classes, column in ((True, "val_accuracy"), (False, "val_loss")):
        (stop,) = preset.options(validated=True, classes=classes)["callbacks"]
        assert isinstance(stop, EarlyStopping)
        assert (stop.monitor, stop.patience, stop.restore_best) == (column, 20, True)


def test_a_preset_goes_by_name() -> None:
    assert preset_of("auto") == preset_of("plain") == preset_of(Plain()) == Plain()
    assert Plain.from_config(Plain(epochs=3).config()) == Plain(epochs=3)
    with pytest.raises(UnknownNameError, match="known: plain"):
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
