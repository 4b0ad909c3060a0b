"""A learnt factor for each column, and a learnt share of an activation: against loops, refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from around_a_layer import batch, network
from reference import activations as reference
from stepping import Step

from mlpx import MLP, SGD, AdamW, Dense, Layer, ParametricActivation, Scale
from mlpx.engines.native.library import load
from mlpx.errors import InputError
from mlpx.gradcheck import check_gradients
from mlpx.kernels.activations import SELU, Activation, LeakyReLU, Tanh

EPS32 = float(np.finfo(np.float32).eps)
SMOOTH = sorted(name for name, f in Activation.table.items() if f().elementwise and name != "prelu")


def rows(n: int = 9, d: int = 4) -> np.ndarray:
    return np.random.default_rng(8).normal(0.3, 2.0, size=(n, d))


def output(layer: Layer, x: np.ndarray, learnt: Any, dtype: str = "float64") -> np.ndarray:
    """What the layer alone makes of x with its one parameter at `learnt`."""
    model = MLP([x.shape[1], layer, 2], dtype=dtype)
    (name,) = (name for name in model.parameters if name in ("0.a", "0.s"))
    model.parameters[name][...] = learnt
    step = Step(model, x, np.zeros(len(x), dtype=np.int64))
    step.loss()
    found: np.ndarray = step.sites[1].kept["x"]
    return found


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (33, 17)])
def test_scale_against_a_loop(shape: tuple[int, int]) -> None:
    x, s = rows(*shape), np.linspace(-1, 2, shape[1])
    wanted = [[v * s[j] for j, v in enumerate(row)] for row in x]
    np.testing.assert_allclose(output(Scale(), x, s), wanted, rtol=1e-15)


@pytest.mark.parametrize("name", SMOOTH)
def test_parametric_activation_against_a_loop(name: str) -> None:
    x, a = rows(), np.array([-0.5, 0.0, 0.7, 1.0])
    f = reference.FORWARD[name]
    wanted = np.array([[v + a[j] * (f(v) - v) for j, v in enumerate(row)] for row in x.tolist()])
    layer = ParametricActivation(name)
    np.testing.assert_allclose(output(layer, x, a), wanted, rtol=1e-13, atol=1e-14)
    single = output(layer, x, a, "float32")
    np.testing.assert_allclose(single, wanted, rtol=16 * EPS32, atol=16 * EPS32)


def test_a_share_of_one_is_the_activation_itself_even_far_out() -> None:
    x = np.array([[-1e4, -30.0, 1e-30, 1e4]])
    found, wanted = output(ParametricActivation("selu"), x, 1.0, "float32"), np.empty((1, 4))
    SELU().forward(np, x, out=wanted, work=(np.empty((1, 4)),) * SELU.scratch)
    np.testing.assert_allclose(found, wanted, rtol=4 * EPS32)
    np.testing.assert_array_equal(output(ParametricActivation("selu"), x, 0.0), x)


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients_with_any_activation(name: str) -> None:
    model = MLP([4, Dense(5), ParametricActivation(name), 3], dtype="float64", seed=3)
    model.parameters["1.a"][...] = np.linspace(-0.4, 1.3, 5)
    assert check_gradients(model, *batch()).passed


def test_new_layers_change_nothing() -> None:
    x, _ = batch()
    plain = MLP([4, Dense(5, "tanh"), 3], dtype="float64", seed=2)
    layered = MLP([4, Scale(), Dense(5), ParametricActivation("tanh"), 3], dtype="float64", seed=2)
    for ours, theirs in (("1.W", "0.W"), ("1.b", "0.b"), ("3.W", "1.W"), ("3.b", "1.b")):
        layered.parameters[ours][...] = plain.parameters[theirs]
    np.testing.assert_array_equal(layered.predict_logits(x), plain.predict_logits(x))


@pytest.mark.parametrize(("decay_all", "factor"), [(False, 1.0), (True, 0.9)])
def test_decay_leaves_factors_and_shares_unless_all_decay(decay_all: bool, factor: float) -> None:
    model = network(ParametricActivation("tanh"))
    rule = AdamW(1.0, weight_decay=0.1, decay_all=decay_all, rate_multipliers={"1": 1.0})
    before = model.parameters["1.a"].copy()
    x, y = batch()
    model.set_parameters({"2.W": np.zeros((5, 3))})  # so that a has no gradient
    model.fit(x, y, optimizer=rule, steps=1, batch_size=13, verbose=0)
    np.testing.assert_allclose(model.parameters["1.a"], factor * before, rtol=1e-12)


@pytest.mark.parametrize(
    ("name", "why"), [("prelu", "learns parameters"), ("softmax", "mixes the columns")]
)
def test_some_activations_are_refused(name: str, why: str) -> None:
    with pytest.raises(InputError, match=rf"activation = '{name}' {why}.*such as 'selu'"):
        ParametricActivation(name)


def test_a_kink_inside_is_left_out_of_a_gradient_check() -> None:
    layers = [1, Dense(1, bias=False), ParametricActivation("relu"), Dense(1, bias=False)]
    model = MLP(layers, loss="mean_squared_error", dtype="float64")
    model.set_parameters({"0.W": [[1e-6]], "1.a": [0.5], "2.W": [[1.0]]})
    report = check_gradients(model, np.array([[1.0]]), np.array([[3.0]]))
    assert next(row for row in report.rows if row.name == "0.W").kinks == 1


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Activation, "table", {**Activation.table})


@pytest.mark.usefixtures("table")
@pytest.mark.skipif(load() is None, reason="the native library was not built")
def test_someone_elses_activation_is_left_to_the_interpreter() -> None:
    @dataclass(frozen=True)
    class Turned(Tanh, name="turned_in_the_tests"):
        """-tanh, whose class might be taken for tanh."""

        def forward(self, xp: Any, z: Any, *, out: Any, work: Any) -> None:
            super().forward(xp, z, out=out, work=work)
            xp.negative(out, out=out)

    model = network(ParametricActivation(Turned()))
    history = model.fit(*batch(), epochs=1, verbose=0)
    assert history.engine == "interpreter"
    assert "'turned_in_the_tests' is not one of the library's own" in str(history.engine_reason)


@pytest.mark.skipif(load() is None, reason="the native library was not built")
@pytest.mark.parametrize("f", [SELU(), LeakyReLU(0.3)])
def test_the_same_numbers_with_any_number_of_threads(f: Activation) -> None:
    rng, flats = np.random.default_rng(3), []
    x, y = rng.normal(size=(90, 7)).astype("float32"), rng.integers(0, 3, size=90)
    for threads in (1, 2, 3):
        model = MLP([7, Scale(), Dense(70), ParametricActivation(f), 3])
        fit = {"optimizer": SGD(0.1), "batch_size": 90, "engine": "native", "threads": threads}
        model.fit(x, y, epochs=1, verbose=0, **fit)
        flats.append([model.parameters[name] for name in ("0.s", "2.a")])
    for found in flats[1:]:
        np.testing.assert_allclose(np.concatenate(found), np.concatenate(flats[0]), rtol=1e-5)
