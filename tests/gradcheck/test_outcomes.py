"""Lines of the table of gradient checks that are not simply passed: kinks, and what fails."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from mlpx import MLP
from mlpx.errors import UnknownNameError
from mlpx.gradcheck import cases
from mlpx.gradcheck.cases import Outcome, outcomes
from mlpx.layers import Layer


def test_a_layer_without_a_sample_fails_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Needy(Layer):
        size: int

    monkeypatch.setitem(Layer.table, "needy", Needy)
    (found,) = outcomes("cpu", "float64", ["needy"])
    assert (found.kind, found.name, found.passed) == ("layer", "needy", False)
    assert found.detail.startswith("there is no sample of the layer 'needy': ")
    assert "'size'" in found.detail


def relu_at(monkeypatch: pytest.MonkeyPatch, *kinked: int) -> Outcome:
    """The check of ReLU where these of two points lie on its kink."""
    drawn = cases.sample_data

    def sample_data(model: MLP, point: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = drawn(model, point)
        return (0 * x if point in kinked else x), y

    monkeypatch.setattr(cases, "sample_data", sample_data)
    monkeypatch.setattr(cases, "POINTS", 2)
    (found,) = outcomes("cpu", "float64", ["relu"])
    return found


@pytest.mark.parametrize("kinked", [0, 1])
def test_a_point_beside_kinks_is_enough(kinked: int, monkeypatch: pytest.MonkeyPatch) -> None:
    found = relu_at(monkeypatch, kinked)
    assert found.passed
    assert "kinks" not in found.detail


def test_where_all_points_are_on_kinks_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    found = relu_at(monkeypatch, 0, 1)
    assert not found.passed
    assert found.detail == "0.b: all kinks, 5 left out at kinks"


def test_an_optimizer_that_climbs_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpx.optimizers import SGD

    @dataclass(frozen=True)
    class Climbing(SGD):
        def update(self, xp: Any, p: Any, g: Any, **rest: Any) -> None:
            before = p.copy()
            super().update(xp, p, g, **rest)
            p[...] = before - (p - before)

    monkeypatch.setitem(SGD.table, "climbing", Climbing)
    (found,) = outcomes("cpu", "float64", ["climbing"])
    assert not found.passed
    assert found.detail.startswith("cos -1.00")


def test_unknown_words_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="'relus'"):
        list(outcomes("cpu", "float64", ["relus"]))
