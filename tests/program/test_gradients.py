"""Every activation under every loss: backpropagation against central differences, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from stepping import Step, worst_errors

from mlpx import MLP, Dense
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss

BOUND = 1e-7
MARGIN = 0.01
"""How far points stay from kinks: no difference quotient of step 1e-4 reaches over one."""
N, D = 5, 3


def make(activation: str, loss: Loss, seed: int) -> tuple[Step, np.ndarray]:
    """A step of a net with two hidden layers of the activation, on random data."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D))
    k = {"classes": 3, "values": 2}.get(loss.targets, 1)
    y: Any = rng.uniform(0.1, 2, size=(N, k))
    if loss.targets == "classes":
        y = rng.integers(0, k, size=N)
    elif loss.targets != "values":
        y = rng.integers(0, 2, size=(N, k)).astype(float)
    layers = [D, Dense(4, activation=activation), Dense(4, activation=activation), k]
    model = MLP(layers, loss=loss, dtype="float64", seed=seed)
    for name, value in model.parameters.items():
        if name.endswith(".b"):
            value[...] = rng.normal(scale=0.3, size=value.shape)
    return Step(model, x, y), y


def margin(step: Step, y: np.ndarray) -> float:
    """The least distance in the step of an input of a function from its kinks."""
    least = np.inf
    for call in step.plan.calls:
        f = getattr(call.kernel, "__self__", None)
        if isinstance(f, Activation) and call.kernel.__name__ == "forward":
            for kink in f.kinks:
                least = min(least, abs(call.arguments[0] - kink).min())
        call.bind(np)()
    for bend in (0, 1):  # absolute and squared-then-linear errors, margins of 1
        errors = step.z - y if y.ndim == 2 else step.z
        least = min(least, abs(abs(errors) - bend).min(), abs(abs(step.z) - bend).min())
    return float(least)


def away_from_kinks(activation: str, loss: Loss) -> Step:
    for seed in range(2000):
        step, y = make(activation, loss, seed)
        if margin(step, y) > MARGIN:
            return step
    raise AssertionError("no point away from kinks")


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("activation", sorted(Activation.table))
def test_combination(activation: str, every: int) -> None:
    """With every fifth loss, at an offset that depends on the activation; if slow, with all."""
    first = sorted(Activation.table).index(activation) % every
    for loss in sorted(Loss.table)[first::every]:
        step = away_from_kinks(activation, Loss.resolve(loss))
        errors = worst_errors(step, h=1e-4)
        assert {"0.W", "0.b", "1.W", "1.b", "2.W", "2.b"} <= set(errors)
        assert {name: error for name, error in errors.items() if not error < BOUND} == {}, loss


def test_the_check_sees_a_wrong_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A derivative off by a millionth must not pass."""
    f = Activation.table["tanh"]
    right = f.backward

    def wrong(self: Any, xp: Any, dy: Any, kept: Any, **rest: Any) -> None:
        right(self, xp, dy, kept, **rest)
        rest["out"] *= 1 + 1e-6

    monkeypatch.setattr(f, "backward", wrong)
    step = away_from_kinks("tanh", Loss.resolve("softmax_cross_entropy"))
    errors = worst_errors(step, h=1e-4)
    assert max(errors.values()) > BOUND
