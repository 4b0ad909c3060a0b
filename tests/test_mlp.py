"""Models are what the constructor was told, predict what they say, and move between devices."""

from __future__ import annotations

import json
from typing import Any

import fakecupy
import numpy as np
import pytest

from mlpx import MLP, Dense, Rescale, get_backend
from mlpx.errors import DeviceMemoryError, InputError, InputTypeError, UnknownNameError
from mlpx.kernels.activations import Activation, Sigmoid, Tanh
from mlpx.kernels.initializers import Initializer, Normal
from mlpx.kernels.losses import Loss
from mlpx.plan.layout import ALIGNMENT_BYTES

RNG = np.random.default_rng(0)
X = RNG.normal(size=(11, 4))
Y = RNG.integers(0, 3, size=11)


def described(model: MLP) -> list[tuple[str, int, str]]:
    return [
        (layer.name, width, getattr(getattr(layer, "activation", None), "name", ""))
        for layer, width in zip(model.layers, model.widths[1:], strict=True)
    ]


class TestConstructor:
    @pytest.mark.parametrize("kind", [list, tuple, iter, np.array])
    def test_widths(self, kind: Any) -> None:
        model = MLP(kind([4, 5, 6, 3]), activation="tanh")
        assert model.widths == [4, 5, 6, 3]
        assert described(model) == [
            ("dense", 5, "tanh"), ("dense", 6, "tanh"), ("dense", 3, "identity"),
        ]  # fmt: skip
        assert (model.d_in, model.d_out) == (4, 3)

    @pytest.mark.parametrize("activation", ["sigmoid", "Sigmoid", " SIGMOID ", Sigmoid, Sigmoid()])
    def test_activation_by_name_class_or_instance(self, activation: Any) -> None:
        assert described(MLP([4, 5, 3], activation=activation))[0] == ("dense", 5, "sigmoid")

    def test_layers_in_the_list_have_their_own_activation(self) -> None:
        model = MLP([4, Rescale(2), Dense(5, activation="sigmoid"), 6, Dense(3, Tanh())])
        assert described(model) == [
            ("rescale", 4, ""), ("dense", 5, "sigmoid"), ("dense", 6, "relu"), ("dense", 3, "tanh"),
        ]  # fmt: skip

    def test_hyphens_and_case_of_names(self) -> None:
        assert MLP([4, 3], loss="Softmax-Cross-Entropy").loss.name == "softmax_cross_entropy"

    def test_initializer_overrides_the_activations_own(self) -> None:
        model = MLP([40, 50, 30], initializer=Normal(0.5))
        for name in ("0.W", "1.W"):
            assert np.std(model.parameters[name]) == pytest.approx(0.5, rel=0.1)
        plain = MLP([40, 50, 30], activation="relu")
        assert plain.layers[0].initializer == Initializer.resolve("he_normal")  # type: ignore[attr-defined]

    def test_same_seed_same_start_at_every_precision(self) -> None:
        one, two, other = MLP([4, 5, 3], seed=1), MLP([4, 5, 3], seed=1), MLP([4, 5, 3], seed=2)
        assert one.flat.tobytes() == two.flat.tobytes() != other.flat.tobytes()
        double = MLP([4, 5, 3], seed=1, dtype="float64")
        assert np.array_equal(double.flat[:20].astype("f4"), one.flat[:20])

    def test_no_seed_is_a_fresh_one_and_is_kept(self) -> None:
        one, two = MLP([4, 3], seed=None), MLP([4, 3], seed=None)
        assert one.seed != two.seed
        assert MLP([4, 3], seed=one.seed).flat.tobytes() == one.flat.tobytes()

    @pytest.mark.parametrize("dtype", ["float32", "f4", np.float32, np.dtype("f4")])
    def test_dtype(self, dtype: Any) -> None:
        assert MLP([4, 3], dtype=dtype).flat.dtype == np.float32


BAD: dict[str, tuple[Any, dict[str, Any], type[Exception], str]] = {
    "none": (None, {}, InputError, "layers = None; wanted the input's columns first"),
    "number": (784, {}, InputError, "layers = 784; wanted the input's columns first"),
    "empty": ([], {}, InputError, r"layers = \[\]; wanted .*\[784, 50, 10\]"),
    "one": ([4], {}, InputError, "wanted the input's columns first and then at least one"),
    "layer first": ([Dense(4), 3], {}, InputError, "wanted the input's columns first"),
    "zero": ([4, 0, 3], {}, InputError, "layers holds 0; widths are at least 1"),
    "negative": ([-4, 3], {}, InputError, "layers holds -4"),
    "float": ([4, 5.0, 3], {}, InputTypeError, r"layers holds 5\.0; wanted whole numbers"),
    "bool": ([4, True], {}, InputTypeError, "layers holds True"),
    "null": ([4, None], {}, InputTypeError, "layers holds None"),
    "activation": ([4, 3], {"activation": "sigmoyd"}, UnknownNameError, "mean 'sigmoid'"),
    "activation type": ([4, 3], {"activation": 3}, InputTypeError, "activation is 3, a int"),
    "loss": ([4, 3], {"loss": "mean_square_error"}, UnknownNameError, "'mean_squared_error'"),
    "initializer": ([4, 3], {"initializer": "he_norml"}, UnknownNameError, "'he_normal'"),
    "half": ([4, 3], {"dtype": "float16"}, InputError, "dtype = 'float16'; wanted float32 or"),
    "dtype": ([4, 3], {"dtype": "number"}, InputError, "dtype = 'number'; wanted float32 or"),
    "dtype list": ([4, 3], {"dtype": [1]}, InputError, r"dtype = \[1\]; wanted"),
    "seed": ([4, 3], {"seed": -1}, InputError, "seed = -1; it must be in"),
    "seed float": ([4, 3], {"seed": 1.0}, InputTypeError, r"seed = 1\.0 is a float"),
    "device": ([4, 3], {"device": "gpu"}, UnknownNameError, "did you mean 'cuda'"),
    "huge": ([10**9, 10**9], {}, DeviceMemoryError, "1,000,000,001,000,000,000 parameters"),
}


@pytest.mark.parametrize("case", BAD)
def test_constructor_refuses(case: str) -> None:
    layers, options, kind, words = BAD[case]
    with pytest.raises(kind, match=words):
        MLP(layers, **options)


@pytest.mark.parametrize("name", sorted(Activation.table))
def test_config_of_every_activation_comes_back(name: str) -> None:
    model = MLP([4, Dense(5, activation=name), 3], seed=5, dtype="float64")
    config = json.loads(json.dumps(model.config()))
    again = MLP.from_config(config)
    assert again.layers == model.layers
    assert again.flat.tobytes() == model.flat.tobytes()
    assert dict(MLP.shapes(config)) == {n: p.shape for n, p in model.parameters.items()}


def test_summary_counts_every_parameter() -> None:
    lines = MLP([784, Rescale(1 / 255), Dense(50, "sigmoid"), 10]).summary().splitlines()
    assert lines[0].split() == ["layer", "output", "parameters", "count"]
    assert any("1 dense sigmoid" in line and "39,250" in line for line in lines)
    assert any("W (784, 50), b (50,)" in line for line in lines)
    assert any("2 dense identity" in line and line.endswith(" 510") for line in lines)
    assert lines[-1] == (
        "39,760 parameters, 159,040 bytes of float32; loss softmax_cross_entropy; cpu"
    )
    assert repr(MLP([4, 3])) == "<MLP 4-3, 15 parameters, float32, cpu>"


class TestPredict:
    def test_is_the_plain_formula(self) -> None:
        model = MLP([4, Dense(5, "tanh"), 3], dtype="float64")
        p = model.parameters
        z = np.tanh(X @ p["0.W"] + p["0.b"]) @ p["1.W"] + p["1.b"]
        np.testing.assert_allclose(model.predict_logits(X), z, rtol=1e-12)
        e = np.exp(z - z.max(axis=1, keepdims=True))
        np.testing.assert_allclose(model.predict_proba(X), e / e.sum(axis=1)[:, None], rtol=1e-12)
        assert np.array_equal(model.predict(X), z.argmax(axis=1))
        assert model.predict(X).shape == (11,)

    @pytest.mark.parametrize("batch_size", [1, 3, 10, 11, 12, 10**9])
    def test_batches_do_not_show(self, batch_size: int) -> None:
        model = MLP([4, Dense(5, "tanh"), 3], dtype="float64")
        whole = model.predict_logits(X)
        parts = model.predict_logits(X, batch_size=batch_size)
        np.testing.assert_allclose(parts, whole, rtol=1e-13, atol=1e-14)
        assert model.evaluate(X, Y, batch_size=batch_size)["loss"] == pytest.approx(
            model.evaluate(X, Y)["loss"], rel=1e-13
        )

    def test_results_are_the_callers_own(self) -> None:
        """No buffer of the library comes back: the next call must not change an earlier result."""
        model = MLP([4, 5, 3])
        for predict in (model.predict_logits, model.predict_proba, model.predict):
            first = predict(X)
            kept = first.copy()
            predict(-X)
            assert np.array_equal(first, kept)

    def test_training_data_and_parameters_are_not_touched(self) -> None:
        x, model = X.copy(), MLP([4, 5, 3])
        before = model.flat.tobytes()
        model.predict(x)
        model.evaluate(x, Y)
        assert model.flat.tobytes() == before
        assert np.array_equal(x, X)
        model.fit(x, Y, epochs=1, verbose=0)
        assert np.array_equal(x, X)

    def test_values(self) -> None:
        model = MLP([4, 2], loss="mean_squared_error", dtype="float64")
        z = model.predict_logits(X)
        assert np.array_equal(model.predict(X), z)
        t = RNG.normal(size=(11, 2))
        assert model.evaluate(X, t) == {"loss": pytest.approx(np.mean((z - t) ** 2), rel=1e-12)}

    def test_logits_up_to_the_end_of_the_range(self) -> None:
        model = MLP([1, 2])
        model.set_parameters({"0.W": [[3e38, -3e38]], "0.b": [0, 0]})
        p = model.predict_proba([[1.0], [-1.0], [0.0]])
        assert p.tolist() == [[1, 0], [0, 1], [0.5, 0.5]]
        found = model.evaluate([[1.0], [-1.0]], [0, 1])
        assert found == {"loss": 0.0, "accuracy": 1.0}

    def test_weighted_evaluation_is_the_weighted_mean(self) -> None:
        model = MLP([4, 5, 3], dtype="float64")
        w = RNG.uniform(size=11)
        found = model.evaluate(X, Y, sample_weight=w)
        p = model.predict_proba(X)[np.arange(11), Y]
        assert found["loss"] == pytest.approx(-(w @ np.log(p)) / w.sum(), rel=1e-12)
        assert found["accuracy"] == pytest.approx(w @ (model.predict(X) == Y) / w.sum(), rel=1e-12)
        assert list(model.evaluate(X, Y, metrics=[])) == ["loss"]
        assert list(model.evaluate(X, Y, metrics="accuracy")) == ["loss", "accuracy"]


class TestParameters:
    def test_set_some(self) -> None:
        model = MLP([2, 3])
        W = model.parameters["0.W"].copy()
        model.set_parameters({"0.b": [1, 2, 3]})
        assert model.parameters["0.b"].tolist() == [1, 2, 3]
        assert np.array_equal(model.parameters["0.W"], W)

    @pytest.mark.parametrize(
        ("values", "words"),
        [({"0.b": [9, 9, 9], "0.c": [1]}, "'0.c' is not a parameter of this model; it has"),
         ({"0.b": [9, 9, 9], "0.W": [1, 2]}, r"0.W.shape = \(2,\); this model's is \(2, 3\)"),
         ({"0.b": [9, 9, 9], "0.W": [["a"] * 3] * 2}, "string"),
         ({"0.b": [9, 9, 9], "0.W": 1.0}, "0.W.shape")],
    )  # fmt: skip
    def test_refused_before_anything_is_changed(self, values: Any, words: str) -> None:
        model = MLP([2, 3])
        before = model.flat.tobytes()
        with pytest.raises((InputError, InputTypeError), match=words):
            model.set_parameters(values)
        assert model.flat.tobytes() == before


class TestTo:
    def test_there_and_back(self) -> None:
        model, home = MLP([4, 5, 3]), MLP([4, 5, 3])
        options: dict[str, Any] = {"epochs": 2, "batch_size": 3, "verbose": 0}
        model.fit(X, Y, **options)
        home.fit(X, Y, **options)
        with fakecupy.installed():
            assert model.to("cuda") is model
            assert model.device == "cuda:0"
            assert type(model.flat).__module__ != "numpy"
            moved = model.backend.to_numpy(model.flat)
            assert moved.tobytes() == home.flat.tobytes()
            logits = model.backend.to_numpy(model.predict_logits(X))
            np.testing.assert_allclose(logits, home.predict_logits(X), rtol=1e-6)
            model.to("cpu")
        assert model.flat.ctypes.data % ALIGNMENT_BYTES == 0
        model.fit(X, Y, **options)
        home.fit(X, Y, **options)
        assert model.flat.tobytes() == home.flat.tobytes()

    def test_training_goes_on_with_its_moments(self) -> None:
        options: dict[str, Any] = {"epochs": 2, "batch_size": 3, "verbose": 0, "optimizer": "adam"}
        model, home = (MLP([4, 5, 3], dtype="float64") for _ in range(2))
        with fakecupy.installed():
            for device in ("cpu", "cuda", "cpu"):
                model.to(device).fit(X, Y, **options)
        home.fit(X, Y, **options | {"epochs": 6})
        np.testing.assert_allclose(model.flat, home.flat, rtol=1e-9, atol=1e-12)
        assert model.training_state is not None
        assert {type(m) for m in model.training_state.moments.values()} == {np.ndarray}

    def test_to_where_it_is_changes_nothing(self) -> None:
        model = MLP([4, 3])
        flat = model.flat
        assert model.to("cpu").flat is flat

    def test_a_device_that_is_not_there_leaves_it_where_it_is(self) -> None:
        model = MLP([4, 3])
        with pytest.raises(UnknownNameError, match="did you mean 'cuda'"):
            model.to("gpu")
        assert model.device == "cpu"

    def test_too_small_a_device_leaves_it_whole(self) -> None:
        model = MLP([40, 50, 3])
        model.fit(np.zeros((5, 40)), np.arange(5) % 3, epochs=1, verbose=0)
        before = model.flat.tobytes()
        with fakecupy.installed() as cupy:
            get_backend("cuda")
            cupy.machine.free_bytes = model.flat.nbytes - 1
            with pytest.raises(DeviceMemoryError, match="use a smaller batch or model"):
                model.to("cuda")
        assert model.device == "cpu"
        assert model.flat.tobytes() == before


@pytest.mark.parametrize("loss", sorted(Loss.table))
def test_every_loss_predicts_and_evaluates(loss: str) -> None:
    targets = Loss.table[loss].targets
    k = 3 if targets in ("classes", "values") else 1
    y = Y if targets == "classes" else np.ones((11, k))
    y = Y[:, None] % 2 if targets == "binary" else y
    model = MLP([4, 5, k], loss=loss)
    model.fit(X, y, epochs=1, verbose=0, validation_data=(X, y))
    assert np.isfinite(model.evaluate(X, y)["loss"])
    assert len(model.predict(X)) == 11
