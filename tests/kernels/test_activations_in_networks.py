"""Activations in networks: learnt slopes, and outputs that are left to the loss."""

from __future__ import annotations

import numpy as np
from reference import activations as reference

from mlpx import MLP, Dense
from mlpx.kernels.activations import Softmax


def test_prelu_learns_a_slope_for_each_unit() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 2))
    model = MLP([2, Dense(4, activation="prelu"), 2], dtype="float64")
    places = model.layout.places
    assert model.parameters["0.slope"].shape == (4,)
    assert (np.asarray(model.parameters["0.slope"]) == 0.25).all()
    assert places["0.slope"].parameter.kind == "norm"
    model.fit(x, (np.abs(x[:, 0]) > 0.7).astype(int), epochs=30, verbose=0)
    slopes = np.asarray(model.parameters["0.slope"])
    assert len(set(slopes.tolist())) == 4
    assert np.abs(slopes - 0.25).max() > 0.01


def test_last_softmax_is_left_to_the_loss() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    plain = MLP([3, 5, 4], dtype="float64")
    model = MLP([3, 5, Dense(4, activation="softmax")], dtype="float64")
    logits = np.asarray(model.predict_logits(x))
    np.testing.assert_array_equal(logits, plain.predict_logits(x))
    np.testing.assert_array_equal(model.predict_proba(x), plain.predict_proba(x))
    wanted = reference.forward("softmax", logits.tolist())
    np.testing.assert_allclose(model.predict_proba(x), wanted, rtol=1e-14)


def test_last_sigmoid_is_left_to_the_loss() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    last = Dense(1, activation="sigmoid")
    model = MLP([3, 5, last], loss="binary_cross_entropy", dtype="float64")
    plain = MLP([3, 5, 1], loss="binary_cross_entropy", dtype="float64")
    np.testing.assert_array_equal(model.predict_logits(x), plain.predict_logits(x))
    kept = MLP([3, 5, last], loss="mean_squared_error", dtype="float64")
    wanted = reference.forward("sigmoid", np.asarray(plain.predict_logits(x)).tolist())
    np.testing.assert_allclose(kept.predict(x), wanted, rtol=1e-14)


def test_softmax_elsewhere_is_computed() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = np.random.default_rng(1).dirichlet(np.ones(4), size=20)
    model = MLP([3, Dense(4, activation="softmax")], loss="mean_squared_error", dtype="float64")
    np.testing.assert_allclose(np.asarray(model.predict(x)).sum(axis=1), 1, rtol=1e-14)
    before = model.evaluate(x, y)["loss"]
    model.fit(x, y, epochs=100, verbose=0)
    assert model.evaluate(x, y)["loss"] < 0.9 * before
    hidden = MLP([3, Dense(4, activation=Softmax()), 2])
    assert hidden.layers[0].nonlinearity == Softmax()
