"""Steps across a kink are left out of the check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from gradient_samples import data

from mlpx import MLP, Dense
from mlpx.gradcheck import check_gradients
from mlpx.kernels.activations import ReLU


def one_relu(w: float = 1.0, activation: Any = "relu") -> MLP:
    """relu(w x) with one weight, and no more."""
    model = MLP(
        [1, Dense(1, activation=activation, bias=False), Dense(1, bias=False)],
        loss="mean_squared_error",
        dtype="float64",
    )
    model.set_parameters({"0.W": [[w]], "1.W": [[1.0]]})
    return model


@pytest.mark.parametrize("activation", ["relu", "leaky_relu", "prelu"])
@pytest.mark.parametrize("w", [0.0, 1e-6, -1e-6])
def test_a_step_across_a_kink_is_left_out(w: float, activation: str) -> None:
    x, y = np.array([[1.0], [2.0]]), np.array([[3.0], [1.0]])
    report = check_gradients(one_relu(w, activation), x, y)
    row = next(row for row in report.rows if row.name == "0.W")
    assert (row.checked, row.kinks, row.passed) == (0, 1, False)
    assert "nothing to check" in str(report)
    assert report.worst is row
    assert report.kinks >= 1


@pytest.mark.parametrize("w", [1e-4, -1e-4])
def test_beside_a_kink_is_not_across_it(w: float) -> None:
    report = check_gradients(one_relu(w), np.array([[1.0]]), np.array([[3.0]]))
    assert report.passed
    assert report.kinks == 0


@pytest.mark.parametrize(
    ("loss", "target"),
    [
        ("mean_absolute_error", 0.5),
        ("quantile", 0.5),
        ("huber", 1.5),
        ("huber", -0.5),
        ("hinge", 1),
        ("squared_hinge", 1),
    ],
)
def test_the_kink_of_a_loss_is_left_out(loss: str, target: float) -> None:
    """A net that puts out exactly 0.5, or for the hinges 1, in its first row."""
    model = MLP([1, Dense(1)], loss=loss, dtype="float64")
    hinge = "hinge" in loss
    model.set_parameters({"0.W": [[0.5]], "0.b": [0.5 if hinge else 0.0]})
    x, y = np.array([[1.0], [0.2]]), np.array([target, 0.0 if hinge else 0.9])
    report = check_gradients(model, x, y)
    assert [(row.name, row.checked, row.kinks) for row in report.rows] == [
        ("0.W", 0, 1), ("0.b", 0, 1),
    ]  # fmt: skip
    report = check_gradients(model, x + 1e-3, y)
    assert report.passed
    assert report.kinks == 0


@pytest.mark.parametrize("penalty", ["l1", "elastic_net"])
def test_the_kink_of_a_penalty_is_left_out(penalty: str) -> None:
    model = MLP([4, Dense(3, penalty=penalty)], dtype="float64")
    W = np.linspace(-1, 1, 12).reshape(4, 3)
    W[1, 2] = 1e-6
    model.set_parameters({"0.W": W})
    report = check_gradients(model, *data())
    assert [(row.name, row.checked, row.kinks) for row in report.rows] == [
        ("0.W", 11, 1), ("0.b", 3, 0),
    ]  # fmt: skip
    assert report.passed


def test_only_the_elements_whose_step_crosses_are_left_out() -> None:
    model = MLP([2, Dense(2, activation="relu"), 2], dtype="float64")
    model.set_parameters({"0.W": [[1.0, 1.0], [1.0, 0.5]], "0.b": [0.0, 0.0]})
    x = np.array([[1.0, -1.0], [0.5, 2.0]])  # the first row's first unit has its input at 0
    report = check_gradients(model, x, [0, 1])
    counts = {row.name: (row.checked, row.kinks) for row in report.rows}
    assert counts == {"0.W": (2, 2), "0.b": (1, 1), "1.W": (4, 0), "1.b": (2, 0)}
    assert report.passed


def test_a_direction_across_a_kink_is_drawn_again() -> None:
    model = MLP([2, Dense(2, activation="relu"), 2], dtype="float64")
    model.set_parameters({"0.W": [[1.0, 1.0], [1.0, 0.5]], "0.b": [0.0, 0.0]})
    x = np.array([[1.0, 4e-6 - 1.0], [0.5, 2.0]])  # an input of 4e-6, half a step from the kink
    report = check_gradients(model, x, [0, 1], method="directions", directions=4)
    assert {row.name for row in report.rows if row.kinks} == {"0.W", "0.b"}
    assert [row.checked for row in report.rows] == [4, 4, 4, 4]
    assert report.passed


def test_what_a_kink_would_do_without_being_left_out() -> None:
    @dataclass(frozen=True)
    class Smooth(ReLU):
        kinks = ()

    report = check_gradients(one_relu(0.0, Smooth()), np.array([[1.0]]), np.array([[3.0]]))
    assert not report.passed
    assert report.worst.checked == 1
