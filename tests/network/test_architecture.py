"""Lists of layers: names, activations, residual blocks, and invalid ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from around_a_layer import batch, network
from stepping import Step

from mlpx import MLP, BatchNorm, Dense, Residual
from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.kernels.activations import Activation, Tanh
from mlpx.layers import as_layer


@pytest.mark.parametrize("given", ["relu", Tanh(), Tanh, "batch_norm", "Batch-Norm", BatchNorm])
def test_lists_take_activations_and_names(given: Any) -> None:
    model = network(given)
    assert model.layers[1] == as_layer(given)
    if model.layers[1].name == "activation":
        assert isinstance(model.layers[1].activation, Activation)


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ([4, "rleu", 2], UnknownNameError, "did you mean 'relu'"),
        ([4, 2.5, 2], InputTypeError, "2.5"),
        ([4, 0, 2], InputError, "at least 1"),
        ([4, True], InputTypeError, "True"),
        (["relu", 4], InputError, "columns first"),
        ([Dense(4), 4], InputError, "columns first"),
        ([4], InputError, "at least one layer"),
        ([4, int, 2], InputTypeError, "int"),
    ],
)
def test_lists_refuse_what_is_no_layer(layers: Any, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        MLP(layers)


def test_names_of_layers_are_known_to_the_message() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'batch_norm'"):
        MLP([4, "batchnorm", 2])


def test_residual_adds_its_input() -> None:
    x, y = batch()
    block = Residual([Dense(4, activation="tanh", initializer="normal"), Dense(4)])
    with_skip = MLP([4, block, 3], dtype="float64")
    z = with_skip.predict_logits(x)
    p = with_skip.parameters
    inner = np.tanh(x @ p["0.0.W"] + p["0.0.b"]) @ p["0.1.W"] + p["0.1.b"]
    np.testing.assert_allclose(z, (x + inner) @ p["1.W"] + p["1.b"], rtol=1e-13)
    np.testing.assert_allclose(Step(with_skip, x, y).loss(), with_skip.evaluate(x, y)["loss"])


def test_residual_refuses_another_width_when_built() -> None:
    with pytest.raises(InputError, match=r"gets 5 columns and its layers give 6.*Dense\(5\)"):
        network(Residual([Dense(5), Dense(6)]))
    with pytest.raises(InputError, match="empty"):
        Residual([])
    with pytest.raises(InputTypeError, match="layer"):
        Residual([5])


@pytest.mark.parametrize("last", [[Dense(3, activation="softmax")], [Dense(3), "softmax"]])
def test_a_last_softmax_is_left_to_the_loss(last: list[Any]) -> None:
    x, y = batch()
    plain, given = (MLP([4, 6, *end], dtype="float64") for end in ([3], last))
    given.set_parameters(dict(plain.parameters))
    np.testing.assert_array_equal(given.predict_proba(x), plain.predict_proba(x))
    assert given.evaluate(x, y) == plain.evaluate(x, y)


def test_a_description_without_a_layer_is_refused_as_the_constructor_does() -> None:
    config = MLP([4, 2]).config() | {"layers": [4]}
    with pytest.raises(InputError, match=r"^layers = \[4\]; wanted the input's columns first"):
        next(MLP.shapes(config))
