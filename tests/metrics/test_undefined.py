"""Metrics that the data leave without a value: NaN, why, or what was asked for instead."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sklearn

from mlpx import MLP, metrics
from mlpx.metrics import Metric

X_MISSING = np.random.default_rng(0).normal(size=(12, 4))
UNDEFINED: dict[str, tuple[MLP, Any, Any, str, str]] = {
    "one of two": (
        MLP([4, 1], loss="binary_cross_entropy"), np.ones(12), None, "roc_auc", "is of class 0$"
    ),
    "some of four": (MLP([4, 4]), np.arange(12) % 2, None, "roc_auc", "no row is of class 2, 3$"),
    "those that count": (
        MLP([4, 3]), np.arange(12) % 3, np.arange(12) % 3 < 2, "roc_auc", "is of class 2$"
    ),
    "many": (MLP([4, 9]), np.zeros(12, int), None, "roc_auc", "class 1, 2, 3, 4, 5 and 3 more$"),
    "no more": (MLP([4, 6]), np.zeros(12, int), None, "roc_auc", "class 1, 2, 3, 4, 5$"),
    "labels": (
        MLP([4, 2], loss="binary_cross_entropy"), np.eye(2)[np.zeros(12, int)], None, "roc_auc",
        "all rows say the same of label 0, 1$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("case", UNDEFINED)
def test_a_metric_without_a_value_says_why(case: str, device: str, fake_cupy: Any) -> None:
    model, y, w, name, words = UNDEFINED[case]
    model = MLP.from_config(model.config(), device=device)
    with pytest.warns(UserWarning, match=f"^{name} is not defined.* NaN: .*{words}") as said:
        found = model.evaluate(X_MISSING, y, sample_weight=w, metrics=[name, "accuracy"])
    assert np.isnan(found[name])
    assert np.isfinite(found["accuracy"])
    assert [warning.filename for warning in said] == [__file__]


def test_it_is_said_once_in_a_training_and_noted() -> None:
    data = (X_MISSING, np.zeros(12, int))
    with pytest.warns(UserWarning, match="val_roc_auc is not defined") as said:
        history = MLP([4, 3]).fit(
            X_MISSING, np.arange(12) % 3, epochs=3, validation_data=data, metrics=["roc_auc"],
            verbose=0,
        )  # fmt: skip
    assert history.notes == [str(warning.message) for warning in said]
    assert [warning.filename for warning in said] == [__file__]
    assert len(history.notes) == 1


def test_one_row_has_no_variance() -> None:
    with pytest.warns(UserWarning, match="r2 is not defined here.* at least two rows"):
        MLP([4, 1], loss="mean_squared_error").evaluate(X_MISSING[:1], [1.0], metrics=["r2"])
    with pytest.warns(UserWarning, match="r2_score is not defined"):
        assert np.isnan(metrics.r2_score([1.0], [2.0]))


def test_functions_say_it_too() -> None:
    with pytest.warns(UserWarning, match="roc_auc_score is not defined.*class 0") as said:
        assert np.isnan(metrics.roc_auc_score([1, 1], [0.5, 0.6]))
    assert said[0].filename == __file__
    with pytest.warns(UserWarning, match="class 2"):
        assert np.isnan(metrics.roc_auc_score([0, 1, 1], np.eye(3)))
    with pytest.warns(UserWarning, match="label 1"):
        metrics.roc_auc_score([[0, 1], [1, 1]], np.full((2, 2), 0.5))


@pytest.mark.parametrize("average", ["", "_macro", "_weighted"])
@pytest.mark.parametrize("zero", [0.0, 0.25, 1.0, np.nan])
def test_nothing_by_nothing_is_what_was_asked_for(average: str, zero: float) -> None:
    """Of two classes the second is never answered, and is no row's."""
    model = MLP([1, 2], dtype="float64")
    model.set_parameters({"0.W": np.zeros((1, 2)), "0.b": np.array([1.0, 0.0])})
    asked = [Metric.table[f"{name}{average}"](zero) for name in ("precision", "recall", "f1")]
    found = model.evaluate(np.zeros((3, 1)), [0, 0, 0], metrics=asked)
    wanted = {"": zero, "_macro": 1.0, "_weighted": 1.0}[average]
    for name in ("precision", "recall", "f1"):
        np.testing.assert_equal(found[f"{name}{average}"], wanted)


def test_what_is_nan_is_left_out_of_a_mean_as_scikit_learn_leaves_it_out() -> None:
    for truth, found in (
        ([0, 0, 1, 2], [0, 0, 1, 1]), ([0, 0, 1, 1], [0, 0, 1, 2]), ([0, 0], [1, 1]),
    ):  # fmt: skip
        for name, average in itertools.product(
            ("precision_score", "recall_score", "f1_score"), ("macro", "micro", "weighted", None)
        ):
            options: dict[str, Any] = {"average": average, "zero_division": np.nan}
            wanted = getattr(sklearn, name)(truth, found, **options)
            np.testing.assert_allclose(getattr(metrics, name)(truth, found, **options), wanted)


@pytest.mark.parametrize("score", [metrics.precision_score, metrics.recall_score, metrics.f1_score])
@pytest.mark.parametrize("zero", [0.0, 1.0])
def test_a_label_of_no_row_that_nobody_answers_is_nothing_by_nothing(
    score: Any, zero: float
) -> None:
    assert score([0, 0, 0], [0, 0, 0], zero_division=zero) == zero
