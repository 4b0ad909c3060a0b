"""Weights and biases by data: deviations, where the biases lie, and the same on every device."""

from __future__ import annotations

from typing import Any

import fakecupy
import numpy as np
import pytest

from mlpx import (
    MLP,
    AlphaDropout,
    BatchNorm,
    Dense,
    Dropout,
    Embedding,
    ParametricActivation,
    PeriodicEmbedding,
    Rescale,
    Residual,
    Scale,
    initialise_by_data,
)
from mlpx.errors import InputError, InputTypeError
from mlpx.network import from_data

LAYERS = [
    *(6, Scale(), Rescale(6**-0.5), Dense(16), ParametricActivation("selu"), Dropout(0.15)),
    *(Rescale(0.25), Dense(12), ParametricActivation("mish"), AlphaDropout(0.2), Dense(3)),
]
DENSE = ("2", "6", "9")


def rows(n: int = 300, d: int = 6) -> np.ndarray:
    return np.random.default_rng(5).normal(1.0, [3.0, 0.1, 1.0, 20.0, 0.5, 1.0][:d], size=(n, d))


def inputs_of(model: MLP, x: np.ndarray) -> dict[str, np.ndarray]:
    """What each Dense layer is given, by layers of Python."""
    found, y = {}, x
    for i, layer in enumerate(model.layers):
        if isinstance(layer, Dense):
            found[str(i)] = y
        part = MLP([y.shape[1], layer], loss="mean_squared_error", dtype="float64")
        part.set_parameters(
            {
                f"0.{name.split('.', 1)[1]}": p
                for name, p in model.parameters.items()
                if name.startswith(f"{i}.")
            }
        )
        y = part.predict_logits(y)
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_units_have_a_deviation_of_one_in_every_layer(dtype: str) -> None:
    model, x = MLP(LAYERS, dtype=dtype, seed=3), rows()
    initialise_by_data(model, x)
    for name, given in inputs_of(model, x).items():
        z = given @ model.parameters[f"{name}.W"]
        np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-4 if dtype == "float32" else 1e-12)
    assert tuple(inputs_of(model, x)) == DENSE


def test_each_bias_is_minus_a_point_among_the_data() -> None:
    model, x = MLP(LAYERS, dtype="float64", seed=3), rows()
    initialise_by_data(model, x)
    for name, given in inputs_of(model, x).items():
        z, b = given @ model.parameters[f"{name}.W"], model.parameters[f"{name}.b"]
        assert ((z.min(axis=0) < -b) & (-b < z.max(axis=0))).all()


def test_a_point_is_a_combination_of_five_rows() -> None:
    """Over many units: mean 0, and the variance of five shares, sum E[s**2] = 5 * 2 / (5 * 6)."""
    model, x = MLP([1, Dense(40_000)], loss="mean_squared_error", dtype="float64"), rows(200, 1)
    x -= x.mean()
    initialise_by_data(model, x)
    b, sign = model.parameters["0.b"], np.sign(model.parameters["0.W"][0])
    assert abs((b * sign).mean()) < 4 / np.sqrt(3 * len(b))
    assert abs(b.var() * 3 - 1) < 0.03


def test_weights_are_normal_but_for_their_scale() -> None:
    model = MLP([6, Dense(20_000)], loss="mean_squared_error", dtype="float64")
    initialise_by_data(model, np.eye(6) - 1 / 6)  # the deviation of x W is that of a column of W
    W = model.parameters["0.W"]
    np.testing.assert_allclose(W.std(axis=0), 1.0, rtol=1e-12)
    assert abs(W.mean()) < 5 / np.sqrt(W.size)
    kurtosis = ((W - W.mean(axis=0)) ** 4).mean()
    assert abs(kurtosis - 3 * 5 / 7) < 0.02  # of six normals less their mean, over their deviation


@pytest.mark.parametrize("given", [None, 9])
def test_the_same_seed_gives_the_same_values(given: int | None) -> None:
    x, flats = rows(), []
    for seed, other in ((9, given), (9, given), (8, given)):
        model = MLP(LAYERS, seed=seed)
        initialise_by_data(model, x, seed=other)
        flats.append([model.parameters[f"{name}.{p}"] for name in DENSE for p in "Wb"])
    same = [all(map(np.array_equal, flats[0], flat)) for flat in flats]
    assert same == [True, True, given is not None]


def test_no_two_layers_draw_the_same() -> None:
    model = MLP([20, Dense(20, "tanh"), Residual(Dense(20)), Dense(20)], dtype="float64")
    initialise_by_data(model, np.random.default_rng(3).normal(size=(90, 20)))
    drawn = [model.parameters[f"{name}.W"].ravel() for name in ("0", "1.0", "2")]
    alike = np.corrcoef(drawn) - np.eye(3)
    assert abs(alike).max() < 0.2


@pytest.mark.parametrize("on_device", [False, True])
def test_every_device_starts_alike(on_device: bool) -> None:
    x, models = rows(), []
    with fakecupy.installed():
        for device in ("cpu", "cuda"):
            model = MLP(LAYERS, seed=4, device=device)
            initialise_by_data(model, model.backend.asarray(x) if on_device else x, rows=50)
            models.append(model.to("cpu"))
    np.testing.assert_array_equal(models[0].flat, models[1].flat)


def test_only_some_of_many_rows_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x, seen = rows(400), list[np.ndarray]()
    monkeypatch.setattr(
        from_data.Start, "all_layers", lambda self, given: seen.append(given.astype(np.float64))
    )
    model = MLP(LAYERS, dtype="float64")
    for most in (400, 70):
        initialise_by_data(model, x, rows=most)
    np.testing.assert_array_equal(seen[0], x)
    places = [int(np.flatnonzero((x == row).all(axis=1))[0]) for row in seen[1]]
    assert len(set(places)) == 70
    assert places == sorted(places)
    assert 120 < np.mean(places) < 280


def test_biases_are_left_if_they_are_to_be() -> None:
    model = MLP([6, Dense(4, bias_initializer="normal"), Dense(3, bias=False)])
    before = model.parameters["0.b"].copy()
    initialise_by_data(model, rows(), biases=False)
    np.testing.assert_array_equal(model.parameters["0.b"], before)
    initialise_by_data(model, rows())
    assert not np.array_equal(model.parameters["0.b"], before)


def test_layers_inside_a_block_are_reached_and_others_left() -> None:
    block = Residual([Dense(6, activation="tanh"), Residual(Dense(6))])
    model = MLP([6, BatchNorm(), block, Dense(3)], dtype="float64", seed=1)
    before = {name: p.copy() for name, p in model.parameters.items()}
    initialise_by_data(model, rows())
    changed = {n for n, p in model.parameters.items() if not np.array_equal(p, before[n])}
    assert changed == {f"{n}.{p}" for n in ("1.0", "1.1.0", "2") for p in "Wb"}
    x = rows() / np.sqrt(1 + model.layers[0].epsilon)
    np.testing.assert_allclose((x @ model.parameters["1.0.W"]).std(axis=0), 1, rtol=1e-12)
    h = np.tanh(x @ model.parameters["1.0.W"] + model.parameters["1.0.b"])
    np.testing.assert_allclose((h @ model.parameters["1.1.0.W"]).std(axis=0), 1, rtol=1e-12)


def test_layers_behind_embeddings_see_what_those_make_of_x() -> None:
    codes = np.random.default_rng(6).integers(0, [7, 12], size=(300, 2))
    x = np.concatenate([rows(d=3), codes], axis=1)
    model = MLP(
        [5, PeriodicEmbedding(3, std=0.3), Embedding((7, 12), 4), Scale(), Dense(8), "selu", 2],
        dtype="float64",
    )
    kept = {name: model.parameters[name].copy() for name in ("0.w", "1.E")}
    initialise_by_data(model, x)
    z = inputs_of(model, x)["3"] @ model.parameters["3.W"]
    np.testing.assert_allclose(z.std(axis=0), 1.0, rtol=1e-12)
    for name, before in kept.items():
        np.testing.assert_array_equal(model.parameters[name], before)
    x[4, 3] = 7
    with pytest.raises(InputError, match="x has 7 at row 4, column 3, which holds codes"):
        initialise_by_data(model, x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [1, 9])
def test_units_that_are_the_same_in_all_rows_keep_their_weights(n: int, dtype: str) -> None:
    model = MLP([6, Dense(40, "tanh"), Dense(3)], dtype=dtype)
    initialise_by_data(model, np.tile(rows(1), (n, 1)) * 1e3)
    for name in ("0.W", "1.W"):
        assert 0.5 < model.parameters[name].std() < 1.5
    zeros = MLP([6, Dense(40, "tanh"), Dense(3)], dtype=dtype)
    initialise_by_data(zeros, np.zeros((n, 6)))
    assert np.isfinite(zeros.flat).all()


def test_it_trains_on_from_there() -> None:
    x = rows()
    y = (x[:, 0] * x[:, 3] > 0).astype(int)
    model = MLP([6, Dense(30, "selu"), Dense(2)], seed=2)
    initialise_by_data(model, x / [3, 0.1, 1, 20, 0.5, 1])
    history = model.fit(x / [3, 0.1, 1, 20, 0.5, 1], y, epochs=30, learning_rate=0.01, verbose=0)
    assert history.epochs[-1]["accuracy"] > 0.9


@pytest.mark.parametrize(
    ("x", "options", "error", "message"),
    [
        (np.ones((3, 5)), {}, InputError, "x has 5 columns; this model was built for 6"),
        (np.ones((0, 6)), {}, InputError, "x is empty"),
        (np.full((3, 6), np.nan), {}, InputError, "x"),
        (np.ones((3, 6)), {"rows": 0}, InputError, "rows = 0"),
        (np.ones((3, 6)), {"biases": 1}, InputTypeError, "biases = 1"),
        (np.ones((3, 6)), {"seed": -1}, InputError, "seed = -1"),
    ],
)
def test_refusals_change_nothing(x: Any, options: Any, error: Any, message: str) -> None:
    model = MLP(LAYERS)
    before = model.flat.copy()
    with pytest.raises(error, match=message):
        initialise_by_data(model, x, **options)
    np.testing.assert_array_equal(model.flat, before)
