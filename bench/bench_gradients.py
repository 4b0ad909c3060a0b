"""One gradient of a 10-32-2 net, batch 32, float64: backpropagation and the ways it replaced."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from mlpx import MLP
from mlpx.gradcheck.numerical import FORMS, run_gradient, whole_batch
from mlpx.program.data import TrainingData, prepare_data
from mlpx.program.gradients import Backpropagation, GradientRule, Numerical, Search


@pytest.fixture
def model() -> MLP:
    return MLP([10, 32, 2], activation="tanh", dtype="float64")


@pytest.fixture
def data(model: MLP) -> TrainingData:
    x = np.random.default_rng(0).normal(size=(32, 10))
    return prepare_data(model, x, (x[:, 0] * x[:, 1] > 0).astype(np.int64))


@pytest.mark.parametrize("rule", [Backpropagation(), Search()], ids=lambda rule: rule.name)
def test_step(
    benchmark: Callable[..., object], model: MLP, data: TrainingData, rule: GradientRule
) -> None:
    program = whole_batch(model, data, rule)
    benchmark(run_gradient, program)


@pytest.mark.parametrize("form", FORMS)
def test_numerical(
    benchmark: Callable[..., object], model: MLP, data: TrainingData, form: str
) -> None:
    benchmark(FORMS[form], model, data, Numerical())
