"""Numerical gradients: against a formula, and the forms against each other."""

from __future__ import annotations

from typing import Any

import fakecupy
import numpy as np
import pytest
from gradient_samples import data, net

from mlpx import MLP, Dense, Rescale
from mlpx.errors import InputError
from mlpx.gradcheck import FORMS, compare_gradients, numerical_gradient
from mlpx.layers import LayerNorm


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("method", "error"), [("central", 1e-9), ("forward", 1e-6)])
def test_least_squares_by_hand(form: Any, method: Any, error: float) -> None:
    """The gradient of mean (x W + b - y)**2 is 2 x'(x W + b - y) / n k, a formula of its own."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(9, 4)), rng.normal(size=(9, 2))
    model = MLP([4, 2], loss="mean_squared_error", dtype="float64")
    g = numerical_gradient(model, x, y, method=method, form=form)
    residual = x @ model.parameters["0.W"] + model.parameters["0.b"] - y
    np.testing.assert_allclose(g["0.W"], 2 * x.T @ residual / 18, rtol=0, atol=error)
    np.testing.assert_allclose(g["0.b"], 2 * residual.sum(axis=0) / 18, rtol=0, atol=error)


CHAINS = {
    "tanh": [4, Dense(5, activation="tanh"), Dense(3)],
    "gelu": [4, Dense(5, activation="gelu"), Dense(6, activation="sigmoid"), Dense(3)],
    "softmax inside": [4, Dense(5, activation="softmax"), Dense(3)],
    "no bias": [4, Dense(5, activation="tanh", bias=False), Dense(3, bias=False)],
    "rescale": [4, Rescale(0.5, 0.1), Dense(5, activation="tanh"), Rescale(2.0), Dense(3)],
    "many": [4, Dense(30, activation="tanh"), Dense(3)],
}


@pytest.mark.parametrize("method", ["central", "forward"])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", CHAINS)
def test_the_forms_equal_the_loop_to_rounding(name: str, weighted: bool, method: Any) -> None:
    x, y = data()
    model = MLP(CHAINS[name], dtype="float64")
    w = np.linspace(0, 3, len(x)) if weighted else None
    found = {
        form: numerical_gradient(model, x, y, sample_weight=w, method=method, form=form)
        for form in FORMS
    }
    # A loss near 1 is rounded to 2e-16; divided by the step that is the difference allowed.
    rounding = {"central": 2e-16 * 2**16, "forward": 2e-16 * 2**26}[method]
    for g in found.values():
        assert sorted(g) == sorted(model.parameters)
        for key, value in g.items():
            np.testing.assert_allclose(value, found["loop"][key], rtol=0, atol=8 * rounding)
            assert abs(value).max() > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_forward_differences_in_a_coarse_step_are_forward(form: Any) -> None:
    """At a step this long the two methods are far apart, and the forms of one still agree."""
    options: dict[str, Any] = {"method": "forward", "step": 0.125}
    wanted = numerical_gradient(net(), *data(), **options)
    found = numerical_gradient(net(), *data(), form=form, **options)
    central = numerical_gradient(net(), *data(), step=0.125)
    for name, value in found.items():
        np.testing.assert_allclose(value, wanted[name], rtol=0, atol=1e-13)
        assert abs(value - central[name]).max() > 1e-4


@pytest.mark.parametrize("form", FORMS)
def test_on_a_device(form: Any) -> None:
    x, y = data()
    here = numerical_gradient(net(), x, y, form=form)
    with fakecupy.installed():
        model = net(device="cuda")
        there = numerical_gradient(model, x, y, form=form)
        for name, value in there.items():
            g = model.backend.to_numpy(value)
            np.testing.assert_allclose(g, here[name], rtol=0, atol=1e-10)


@pytest.mark.parametrize("form", FORMS)
def test_a_step_of_ones_own(form: Any) -> None:
    x, y = data()
    fine = numerical_gradient(net(), x, y, form=form)["0.W"]
    coarse = numerical_gradient(net(), x, y, form=form, step=0.125)["0.W"]
    halved = numerical_gradient(net(), x, y, form=form, step=0.0625)["0.W"]
    ratio = np.abs(coarse - fine).max() / np.abs(halved - fine).max()
    assert ratio == pytest.approx(4, rel=0.1)  # the error of central differences falls as h**2


def test_numerical_gradients_of_a_float32_model_are_float64() -> None:
    g = numerical_gradient(net(dtype="float32"), *data())
    assert {value.dtype for value in g.values()} == {np.dtype("float64")}
    report = compare_gradients(g, numerical_gradient(net(dtype="float32"), *data(), form="batched"))
    assert report.passed


def test_forms_refuse_what_they_do_not_know() -> None:
    model = MLP([4, Dense(5, activation="prelu"), 3])
    with pytest.raises(InputError, match=r"form = 'batched' is for plain.*layer 0 .*form='loop'"):
        numerical_gradient(model, *data(), form="batched")
    for layer in (Dense(5, penalty="l2"), LayerNorm()):
        with pytest.raises(InputError, match="form = 'rank_one' is for plain"):
            numerical_gradient(MLP([4, layer, 3]), *data(), form="rank_one")
    with pytest.raises(InputError, match="form = 'quick'; it must be one of"):
        numerical_gradient(model, *data(), form="quick")  # type: ignore[arg-type]
