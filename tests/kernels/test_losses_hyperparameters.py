"""Losses as records: ranges, defaults, equality."""

from __future__ import annotations

from typing import Any

import pytest
from loss_cases import every_loss, options

from mlpx.errors import InputError, InputTypeError, UnknownNameError
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
from mlpx.records import Record


def test_lists_count_as_tuples() -> None:
    weights = [0.5, 2.0]
    for made, wanted in (
        (BinaryCrossEntropy(positive_weight=weights), BinaryCrossEntropy(positive_weight=(0.5, 2))),  # type: ignore[arg-type]
        (Focal(alpha=weights), Focal(alpha=(0.5, 2.0))),  # type: ignore[arg-type]
        (Quantile([0.1, 0.9]), Quantile((0.1, 0.9))),  # type: ignore[arg-type]
    ):
        assert made == wanted
        assert hash(made) == hash(wanted)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SoftmaxCrossEntropy(label_smoothing=1.0), r"label_smoothing = 1.0.*\[0, 1\)"),
        (lambda: SoftmaxCrossEntropy(label_smoothing=-0.1), "label_smoothing = -0.1"),
        (lambda: BinaryCrossEntropy(positive_weight=0.0), "positive_weight = 0.0"),
        (lambda: BinaryCrossEntropy(positive_weight=(1.0, -1.0)), "positive_weight = -1.0"),
        (lambda: BinaryCrossEntropy(reduction="max"), "reduction = 'max'"),  # type: ignore[arg-type]
        (lambda: HalfSquaredError(reduction="max"), "reduction = 'max'"),  # type: ignore[arg-type]
        (lambda: Poisson(reduction="max"), "reduction = 'max'"),  # type: ignore[arg-type]
        (lambda: BinaryFocal(gamma=-1.0), "gamma = -1.0"),
        (lambda: BinaryFocal(alpha=1.0), r"alpha = 1.0.*\(0, 1\)"),
        (lambda: BinaryFocal(alpha=0.0), r"alpha = 0.0.*\(0, 1\)"),
        (lambda: Focal(gamma=-0.5), "gamma = -0.5"),
        (lambda: Focal(alpha=(1.0, 0.0)), "alpha = 0.0"),
        (lambda: Huber(delta=0.0), "delta = 0.0"),
        (lambda: Quantile(0.0), "quantiles = 0.0"),
        (lambda: Quantile((0.5, 1.0)), "quantiles = 1.0"),
        (lambda: Quantile(()), r"quantiles = \(\)"),
        (lambda: Quantile((0.1, 0.9)).check_outputs(3), "3 outputs, wanted 2"),
        (lambda: Focal(alpha=(1.0, 2.0)).check_outputs(3), "alpha has 2 numbers.*3 outputs"),
        (
            lambda: BinaryCrossEntropy(positive_weight=(1.0, 2.0)).check_outputs(1),
            "positive_weight has 2 numbers",
        ),
    ],
)
def test_hyperparameters_are_held_to_their_range(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_defaults_are_the_customary_ones() -> None:
    found = {name: options(member()) for name, member in Loss.table.items()}
    assert {name: fields for name, fields in found.items() if fields} == {
        "binary_cross_entropy": {"positive_weight": 1.0, "reduction": "mean"},
        "binary_focal": {"gamma": 2.0, "alpha": None},
        "focal": {"gamma": 2.0, "alpha": 1.0},
        "half_squared_error": {"reduction": "mean"},
        "huber": {"delta": 1.0},
        "poisson": {"reduction": "mean"},
        "quantile": {"quantiles": 0.5},
    }
    assert SoftmaxCrossEntropy() == SoftmaxCrossEntropy(label_smoothing=0.0, ignore_label=None)


@every_loss
def test_losses_are_values(loss: Loss) -> None:
    assert {loss: 1}[Record.from_config(loss.config())] == 1  # frozen, so it can be a key
    plain = [x for x in Loss.table.values() if x().smoothing() == 0 and not x().ignored_label()]
    assert len(plain) == len(Loss.table)


def test_a_loss_is_asked_for_properly() -> None:
    with pytest.raises(InputTypeError, match="ignore_label = 'x'"):
        SoftmaxCrossEntropy(ignore_label="x")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="did you mean 'huber'"):
        Loss.resolve("hubber")
    assert Focal(alpha=[1.0, 2.0]) == Focal(alpha=(1.0, 2.0))  # type: ignore[arg-type]
    assert Quantile([0.1, 0.9]) == Quantile((0.1, 0.9))  # type: ignore[arg-type]
