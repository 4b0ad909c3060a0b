"""The check of backpropagation finds errors, and leaves the model as it was."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import fakecupy
import numpy as np
import pytest
from gradient_samples import SteepTanh, data, net

from mlpx import MLP, Dense
from mlpx.errors import InputError
from mlpx.gradcheck import check_gradients, numerical_gradient
from mlpx.kernels import affine
from mlpx.kernels.activations import Tanh
from mlpx.layers import BatchNorm, Dropout


@pytest.fixture(params=["cpu", "fake"])
def device(request: pytest.FixtureRequest) -> Iterator[str]:
    if request.param == "cpu":
        yield "cpu"
        return
    with fakecupy.installed():
        yield "cuda"


@pytest.mark.parametrize("method", ["elements", "directions"])
def test_a_derivative_off_by_a_millionth_is_found(method: Any, device: str) -> None:
    model = MLP([4, Dense(5, activation=SteepTanh()), 3], dtype="float64", device=device)
    report = check_gradients(model, *data(), method=method)
    assert [row.name for row in report.rows if not row.passed] == ["0.W", "0.b"]
    assert report.worst.error == pytest.approx(1e-6, rel=0.6)
    assert not report.passed
    assert check_gradients(model, *data(), method=method, tolerance=3e-6).passed
    assert check_gradients(net(device=device), *data(), method=method).passed


@pytest.mark.parametrize("method", ["elements", "directions"])
def test_float32_finds_a_derivative_off_by_a_thousandth(method: Any) -> None:
    @dataclass(frozen=True)
    class Wrong(Tanh):
        def backward(self, xp: Any, dy: Any, kept: Any, *, out: Any, work: Any) -> None:
            super().backward(xp, dy, kept, out=out, work=work)
            out *= 1 + 1e-3

    model = MLP([4, Dense(5, activation=Wrong()), 3], dtype="float32")
    assert not check_gradients(model, *data(), method=method).passed
    assert check_gradients(net(dtype="float32"), *data(), method=method).passed


@pytest.mark.parametrize("method", ["elements", "directions"])
def test_one_wrong_element_is_named(method: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    right = affine.backward

    def wrong(*arguments: Any, dW: Any, **rest: Any) -> None:
        right(*arguments, dW=dW, **rest)
        if dW.shape == (4, 5):
            dW[2, 3] += 1e-4

    monkeypatch.setattr(affine, "backward", wrong)
    report = check_gradients(net(), *data(), method=method)
    assert [row.passed for row in report.rows] == [False, True, True, True]
    worst = report.worst
    assert worst.name == "0.W"
    if method == "elements":
        assert worst.index == (2, 3)
        assert worst.analytic - worst.numerical == pytest.approx(1e-4, rel=1e-4)


def test_directions_look_at_every_element() -> None:
    """As many passes for 20,000 parameters as for 20."""
    model = MLP([40, 400, 10], activation="tanh", dtype="float64")
    x, y = data(16, 40, 10)
    report = check_gradients(model, x, y, method="directions", directions=3)
    assert report.passed
    assert [row.checked for row in report.rows] == [3, 3, 3, 3]
    assert report.worst.index == ()


def test_weights_of_rows_count() -> None:
    x, y = data()
    w = np.zeros(len(x))
    w[:3] = 1
    part = check_gradients(net(), x[:3], y[:3])
    whole = check_gradients(net(), x, y, sample_weight=w)
    assert whole.passed
    for a, b in zip(part.rows, whole.rows, strict=True):
        assert a.analytic == pytest.approx(b.analytic, abs=1e-3)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("method", ["elements", "directions"])
def test_the_model_is_not_touched(method: Any, dtype: str) -> None:
    model = net(dtype=dtype)
    flat, bits = model.flat, model.flat.tobytes()
    check_gradients(model, *data(), method=method)
    numerical_gradient(model, *data(), form="loop")
    numerical_gradient(model, *data(), form="batched")
    assert model.flat is flat
    assert model.flat.tobytes() == bits
    assert model.training_state is None


def test_twice_the_same() -> None:
    for method in ("elements", "directions"):
        first, again = (check_gradients(net(), *data(), method=method) for _ in range(2))
        assert first == again


def test_dropout_masks_are_those_of_the_first_step_and_statistics_are_put_back() -> None:
    layers = [4, Dense(8, activation="tanh"), BatchNorm(), Dropout(0.5), Dense(3)]
    model = MLP(layers, dtype="float64", seed=5)
    x, y = data()
    model.fit(x, y, epochs=1, batch_size=9, verbose=0)
    bits = model.flat.tobytes()
    report = check_gradients(model, x, y)
    assert report.passed
    assert "1.mean" not in {row.name for row in report.rows}
    assert check_gradients(model, x, y) == report
    assert model.flat.tobytes() == bits
    trained = [MLP(layers, dtype="float64", seed=5) for _ in range(2)]
    for each, gradient in zip(trained, ("numerical", "backprop"), strict=True):
        each.fit(x, y, epochs=2, batch_size=4, optimizer="sgd", gradient=gradient, verbose=0)
    np.testing.assert_allclose(trained[0].flat, trained[1].flat, rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "guess"}, "method = 'guess'"),
        ({"directions": 0}, "directions = 0; it must be at least 1"),
        ({"tolerance": 0.0}, r"tolerance = 0.0; it must be in \(0, inf\)"),
    ],
)
def test_options_are_checked(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_gradients(net(), *data(), **options)
