"""Penalties on weights, in the loss and the gradient, and the bound on the norm of units."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import layers as reference
from stepping import Step, worst_errors

from mlpx import L1, L2, MLP, BatchNorm, Dense, ElasticNet, Penalty, Residual
from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.kernels import penalties

CASES: dict[str, tuple[Penalty, float, float]] = {
    "l1": (L1(0.3), 0.3, 0.0),
    "l2": (L2(0.7), 0.0, 0.7),
    "elastic_net": (ElasticNet(0.2, 0.5), 0.2, 0.5),
}


@pytest.fixture(params=sorted(Penalty.table))
def case(request: pytest.FixtureRequest) -> tuple[Penalty, float, float]:
    """A penalty and its l1 and l2 strengths."""
    return CASES[request.param]


def batch(n: int = 12) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(6)
    return rng.normal(size=(n, 4)), rng.integers(0, 3, size=n)


def fit_one_step(model: MLP, **options: Any) -> float:
    """The reported loss of one step on the whole batch."""
    x, y = batch()
    options = {"steps": 1, "batch_size": len(x), "optimizer": "sgd", "verbose": 0} | options
    return float(model.fit(x, y, **options).step_loss[0])


def test_value_and_gradient(case: tuple[Penalty, float, float]) -> None:
    penalty, l1, l2 = case
    W = np.random.default_rng(0).normal(size=(5, 3))
    W[2, 1] = 0.0
    loss, dW, work, total = (
        np.full((1, 1), 2.0),
        np.ones((5, 3)),
        np.empty((5, 3)),
        np.empty((1, 1)),
    )
    penalty.value(np, W, loss=loss, work=work, total=total)
    assert loss[0, 0] == pytest.approx(2.0 + reference.penalty(W, l1, l2), rel=1e-14)
    penalty.gradient(np, W, dW=dW, work=work)
    for index in np.ndindex(5, 3):
        h = np.zeros((5, 3))
        h[index] = 1e-6
        slope = (reference.penalty(W + h, l1, l2) - reference.penalty(W - h, l1, l2)) / 2e-6
        assert dW[index] - 1 == pytest.approx(slope, abs=1e-8)


def test_kinks_are_where_the_gradient_jumps(case: tuple[Penalty, float, float]) -> None:
    for kink in (0.0, 1.0):
        W, dW = np.array([[kink - 1e-9, kink + 1e-9]]), np.zeros((1, 2))
        case[0].gradient(np, W, dW=dW, work=np.empty((1, 2)))
        assert (abs(dW[0, 1] - dW[0, 0]) > 1e-6) == (kink in case[0].kinks)


def test_reported_loss_is_data_and_penalty(case: tuple[Penalty, float, float]) -> None:
    penalty, l1, l2 = case
    x, y = batch()
    model = MLP([4, 5, 3], penalty=penalty, dtype="float64")
    data = model.evaluate(x, y)["loss"]
    extra = sum(reference.penalty(model.parameters[f"{i}.W"], l1, l2) for i in (0, 1))
    assert fit_one_step(model) == pytest.approx(data + extra, rel=1e-13)


def test_step_moves_along_both_gradients(case: tuple[Penalty, float, float]) -> None:
    penalty, l1, l2 = case
    plain, penalised = (
        MLP([4, 5, 3], dtype="float64"),
        MLP([4, 5, 3], penalty=penalty, dtype="float64"),
    )
    start = {name: p.copy() for name, p in plain.parameters.items()}
    for model in (plain, penalised):
        fit_one_step(model, learning_rate=0.5)
    for name, p in penalised.parameters.items():
        W = start[name]
        extra = l1 * np.sign(W) + 2 * l2 * W if name.endswith("W") else 0 * W
        np.testing.assert_allclose(p, plain.parameters[name] - 0.5 * extra, rtol=0, atol=1e-14)


def test_gradient_of_the_whole_objective(case: tuple[Penalty, float, float]) -> None:
    penalty, l1, l2 = case
    model = MLP([4, Dense(5, activation="tanh"), 3], penalty=penalty, dtype="float64")
    step = Step(model, *batch())
    data_loss = step.loss

    def loss() -> float:
        weights = (model.parameters["0.W"], model.parameters["1.W"])
        return data_loss() + sum(reference.penalty(W, l1, l2) for W in weights)

    step.loss = loss  # type: ignore[method-assign]
    assert max(worst_errors(step, h=1e-5).values()) < 1e-7


@pytest.mark.parametrize("gradient", ["numerical", "search"])
def test_other_ways_to_a_gradient_see_the_penalty(gradient: str) -> None:
    strong = L2(10.0)  # so strong that nothing else matters
    model = MLP([4, 5, 3], penalty=strong, dtype="float64")
    before = reference.penalty(model.parameters["0.W"], 0, 1)
    x, y = batch()
    options: Any = {"learning_rate": 0.02, "optimizer": "sgd", "verbose": 0}
    model.fit(x, y, gradient=gradient, steps=200, batch_size=12, **options)
    assert reference.penalty(model.parameters["0.W"], 0, 1) < 0.95 * before


def test_evaluation_leaves_the_penalty_out() -> None:
    x, y = batch()
    models = [MLP([4, 5, 3], penalty=penalty) for penalty in (None, L2(5.0))]
    assert models[0].evaluate(x, y) == models[1].evaluate(x, y)


def test_penalty_of_a_layer_comes_before_the_models() -> None:
    model = MLP(
        [
            4,
            Dense(5, penalty=L1(0.1)),
            Residual([Dense(5), Dense(5, penalty="l2")]),
            BatchNorm(),
            3,
        ],
        penalty=ElasticNet(0.2, 0.3),
    )
    found = {name: place.parameter.penalty for name, place in model.layout.places.items()}
    assert {name: penalty for name, penalty in found.items() if penalty is not None} == {
        "0.W": L1(0.1), "1.0.W": ElasticNet(0.2, 0.3), "1.1.W": L2(), "3.W": ElasticNet(0.2, 0.3)
    }  # fmt: skip
    assert MLP.from_config(model.config()).layers == model.layers


def test_a_layer_can_be_left_out() -> None:
    model = MLP([4, Dense(5, penalty=L2(0)), 3], penalty=L2(1.0), dtype="float64")
    x, y = batch()
    data, W = model.evaluate(x, y)["loss"], model.parameters["1.W"]
    assert fit_one_step(model, learning_rate=0.0) == pytest.approx(
        data + reference.penalty(W, 0, 1), rel=1e-13
    )


def test_padding_stays_zero() -> None:
    model = MLP([4, Dense(5, max_norm=0.1), 3], penalty=ElasticNet(0.1, 0.1))
    fit_one_step(model, steps=5, optimizer="adam")
    flat, covered = model.flat.copy(), np.zeros(model.layout.size, dtype=bool)
    for place in model.layout.places.values():
        covered[place.start : place.stop] = True
    assert not covered.all()
    assert (flat[~covered] == 0).all()


def test_strong_l1_makes_weights_small() -> None:
    x, y = batch(60)
    models = [MLP([4, 8, 3], penalty=penalty, dtype="float64") for penalty in (None, L1(0.05))]
    for model in models:
        model.fit(x, y, epochs=80, batch_size=20, learning_rate=0.01, verbose=0)
    size = [abs(model.parameters["0.W"]).sum() for model in models]
    assert size[1] < 0.3 * size[0]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_norms_are_limited(dtype: Any) -> None:
    W = np.random.default_rng(3).normal(size=(6, 5)).astype(dtype)
    W[:, 1] *= 0.01
    W[:, 2] = 0
    expected, before = reference.limit_norms(W.astype(np.float64), 1.5), W.copy()
    penalties.limit_norms(np, W, most=1.5, norms=np.empty((1, 5), dtype), work=np.empty_like(W))
    np.testing.assert_allclose(W, expected, rtol=8 * np.finfo(dtype).eps)
    within = np.linalg.norm(before, axis=0) <= 1.5
    assert within[[1, 2]].all()
    assert not within.all()
    np.testing.assert_array_equal(W[:, within], before[:, within])


def test_units_stay_within_the_bound_after_every_step() -> None:
    block = Residual([Dense(5, max_norm=0.5), Dense(5)])
    model = MLP([4, Dense(5, max_norm=0.25), block, 3], dtype="float64")
    x, y = batch()
    for _ in range(3):
        model.fit(x, y, steps=1, batch_size=12, learning_rate=5.0, optimizer="sgd", verbose=0)
        p = model.parameters
        np.testing.assert_allclose(np.linalg.norm(p["0.W"], axis=0).max(), 0.25, rtol=1e-14)
        assert np.linalg.norm(p["1.0.W"], axis=0).max() <= 0.5 * (1 + 1e-14)
        assert np.linalg.norm(p["1.1.W"], axis=0).max() > 0.5


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: L1(-1.0), InputError, r"strength = -1.0; it must be in \[0, inf\)"),
        (lambda: L2(-0.1), InputError, "strength = -0.1"),
        (lambda: ElasticNet(-1.0, 0.0), InputError, "l1 = -1.0"),
        (lambda: ElasticNet(0.0, -1.0), InputError, "l2 = -1.0"),
        (lambda: L2("1"), InputTypeError, "strength = '1'"),
        (lambda: Dense(3, penalty="l3"), UnknownNameError, "known penalty"),
        (lambda: Dense(3, penalty=0.1), InputTypeError, "penalty is 0.1"),
        (lambda: Dense(3, max_norm=0), InputError, r"max_norm = 0; it must be in \(0, inf\)"),
        (lambda: MLP([2, 2], penalty="l4"), UnknownNameError, "known penalty"),
    ],
)
def test_refusals(make: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        make()
