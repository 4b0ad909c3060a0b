"""ONNX files: what ONNX Runtime and the evaluator of onnx compute of them."""

from __future__ import annotations

import numpy as np
import pytest
from activation_cases import CASES, NAMES
from leaving_models import (
    DTYPES,
    ENDS,
    LAYERS,
    bare,
    ending,
    extreme,
    far,
    offset,
    overflowing,
    rows,
    same,
    shuffled,
    with_layer,
)
from onnx_answers import CLOSE

from mlpx import MLP, Embedding, Layer
from mlpx.export.onnx.activations import ACTIVATIONS
from mlpx.export.onnx.layers import LAYERS as FORMS

pytest.importorskip("onnx", reason="onnx is not installed: mlpx[onnx]")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: mlpx[peers]")
each_dtype = pytest.mark.parametrize("dtype", DTYPES)


def test_every_activation_and_layer_has_a_form():
    assert sorted(ACTIVATIONS) == NAMES
    assert set(FORMS) == {name for name in LAYERS if name in Layer.table}


@each_dtype
@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}{i}")
def test_activations_at_extremes(told, case, dtype):
    model, x = bare(case, dtype), extreme(dtype)
    wanted = model.predict(x)
    found = told(model, x)["value"]
    assert found.dtype == wanted.dtype
    loose = CLOSE[dtype]
    error = abs(found - wanted) - loose["relative"] * abs(wanted)
    assert (np.where(found == wanted, 0, error) <= loose["absolute"]).all(), error.max()


@pytest.mark.parametrize("case", range(len(CASES)), ids=lambda i: f"{CASES[i][0]}{i}")
def test_activations_of_infinite_numbers(told, case):
    """They have the limits, as the model's have."""
    model, x = overflowing(case)
    with np.errstate(over="ignore"):
        found = told(model, x)["value"]
    np.testing.assert_allclose(found, model.predict(x), rtol=1e-4, atol=1e-5)


@each_dtype
@pytest.mark.parametrize("name", LAYERS)
def test_layers(told, name, dtype):
    model, x = with_layer(LAYERS[name], dtype), rows(40, 4, dtype)
    for given in (x, far(LAYERS[name]) * x):
        same(told(model, given)["value"], model.predict(given), **CLOSE[dtype])


def test_an_offset_costs_a_layer_norm_nothing(told):
    model, x = offset()
    same(told(model, x)["value"], model.predict(x), **CLOSE["float32"])


@pytest.mark.parametrize(("loss", "k"), ENDS, ids=lambda each: repr(each))
def test_answers_of_every_loss(told, loss, k):
    for dtype, scale in (
        ("float32", 1.0),
        ("float64", 1.0),
        ("float32", 20.0 if loss.link != "exp" else 5.0),
    ):
        model, x = ending(loss, k, dtype), scale * rows(30, 4, dtype)
        found, kind = told(model, x), loss.target_kind(k)
        if kind == "values":
            assert list(found) == ["value"]
            same(found["value"], model.predict(x), **CLOSE[dtype])
            continue
        label, beside = found
        assert label == ("labels" if kind == "binary" and k > 1 else "label")
        assert beside == ("probabilities" if loss.link else "scores")
        np.testing.assert_array_equal(found[label], model.predict(x))
        say = model.predict_proba if loss.link else model.predict_logits
        same(found[beside], say(x), **CLOSE[dtype])


def test_codes_that_are_none_are_the_nearest(told):
    """As inside a model; NaN is the code of what is unknown."""
    model = shuffled(MLP([3, Embedding((3, 5), width=2), 2]))
    given = np.array([[0.5, -7, 99], [0.5, np.nan, np.nan], [0.5, 2.9, 1]], np.float32)
    meant = np.array([[0.5, 0, 4], [0.5, 0, 0], [0.5, 2, 1]], np.float32)
    found = told(model, given)["probabilities"]
    same(found, model.predict_proba(meant), **CLOSE["float32"])


def test_a_small_probability_stays_small(told):
    """Where a runtime's own sigmoid is 0 and 1."""
    model = MLP([1, 1], loss="binary_cross_entropy")
    model.set_parameters({"0.W": np.ones((1, 1))})
    found = told(model, np.array([[-30.0], [30.0]], np.float32))["probabilities"]
    np.testing.assert_allclose(found, [[1, 9.357623e-14], [9.357623e-14, 1]], rtol=1e-6)


@pytest.mark.parametrize("n", [0, 1, 7, 1000])
def test_any_number_of_rows(told, n):
    model, x = with_layer(LAYERS["layer_norm"], "float32", loss="softmax_cross_entropy"), rows(n, 4)
    found = told(model, x)
    same(found["probabilities"], model.predict_proba(x), **CLOSE["float32"])
    assert (found["label"] == model.predict(x)).all()
    assert found["label"].shape == (n,)
