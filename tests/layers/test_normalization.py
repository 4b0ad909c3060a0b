"""Batch, layer and RMS norm: against loops, in running statistics, and with batches of one row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from reference import layers as reference
from stepping import Step

from mlpx import MLP, BatchNorm, Dense, Layer, LayerNorm, Residual, RMSNorm
from mlpx.errors import InputError
from mlpx.kernels import normalization
from mlpx.program.data import split_batches

EPS32 = float(np.finfo(np.float32).eps)


def rows(n: int = 9, d: int = 4) -> np.ndarray:
    return np.random.default_rng(8).normal(1.5, 2.0, size=(n, d))


def step_of(layer: Layer, x: np.ndarray, dtype: str = "float64") -> Step:
    model = MLP([x.shape[1], layer, 2], dtype=dtype)
    rng = np.random.default_rng(1)
    for name in ("gamma", "beta"):
        if f"0.{name}" in model.parameters:
            model.parameters[f"0.{name}"][...] = rng.normal(1, 0.5, size=x.shape[1])
    step = Step(model, x, np.zeros(len(x), dtype=np.int64))
    step.loss()
    return step


def output(step: Step) -> np.ndarray:
    found: np.ndarray = step.sites[1].kept["x"]
    return found


def parameters(step: Step) -> dict[str, np.ndarray]:
    return {
        name.removeprefix("0."): p.astype(np.float64) for name, p in step.model.parameters.items()
    }


def expected(layer: Layer, x: np.ndarray, p: dict[str, np.ndarray]) -> np.ndarray:
    if isinstance(layer, BatchNorm):
        return reference.batch_norm(x, p["gamma"], p["beta"], layer.epsilon)[0]
    if isinstance(layer, LayerNorm):
        return reference.layer_norm(x, p["gamma"], p["beta"], layer.epsilon)
    assert isinstance(layer, RMSNorm)
    return reference.rms_norm(x, p["gamma"], layer.epsilon)


LAYERS = [BatchNorm(epsilon=0.01), LayerNorm(epsilon=0.01), RMSNorm(epsilon=0.01)]
BY_NAME = {"ids": lambda layer: layer.name}


@pytest.mark.parametrize("shape", [(2, 1), (2, 3), (9, 4), (33, 17)])
@pytest.mark.parametrize("layer", LAYERS, **BY_NAME)
def test_forward(layer: Layer, shape: tuple[int, int]) -> None:
    x = rows(*shape)
    step = step_of(layer, x)
    np.testing.assert_allclose(
        output(step), expected(layer, x, parameters(step)), rtol=1e-13, atol=1e-13
    )


@pytest.mark.parametrize("layer", [BatchNorm(), LayerNorm(), RMSNorm()], **BY_NAME)
def test_defaults_standardise(layer: Layer) -> None:
    x = rows(50, 40)
    model = MLP([40, layer, 2], dtype="float64")
    step = Step(model, x, np.zeros(50, dtype=np.int64))
    step.loss()
    y, axis = output(step), 0 if isinstance(layer, BatchNorm) else 1
    np.testing.assert_allclose((y**2).mean(axis=axis), 1, atol=1e-4)
    if not isinstance(layer, RMSNorm):
        np.testing.assert_allclose(y.mean(axis=axis), 0, atol=1e-14)


@pytest.mark.parametrize("layer", [BatchNorm(), LayerNorm()], **BY_NAME)
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
def test_large_offsets_cost_float32_nothing(layer: Layer, offset: float) -> None:
    # the numbers themselves are exact in float32: what is lost would be lost by the kernel
    x = offset + np.random.default_rng(2).integers(-8, 9, size=(200, 64)) / 8.0
    assert (x == x.astype(np.float32)).all()
    step = step_of(layer, x, "float32")
    np.testing.assert_allclose(
        output(step), expected(layer, x, parameters(step)), rtol=0, atol=16 * EPS32
    )


def test_means_are_right_to_the_last_bit() -> None:
    """One pass alone is off by 4 to 13 of them."""
    x = np.random.default_rng(2).normal(1e4, 1, size=(3001, 6)).astype(np.float32)
    mu, variance, scale = (np.empty((1, 6), np.float32) for _ in range(3))
    normalization.standardise(
        np, x, axis=0, ones=np.ones((1, 3001), np.float32), epsilon=0.01,
        mu=mu, variance=variance, scale=scale, out=np.empty_like(x), work=np.empty_like(x),
    )  # fmt: skip
    last_bit = np.spacing(np.float32(1e4))
    np.testing.assert_allclose(mu[0], x.astype(np.float64).mean(axis=0), rtol=0, atol=last_bit)


@pytest.mark.parametrize("layer", [BatchNorm(), LayerNorm(), RMSNorm()], **BY_NAME)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("value", [0.0, 0.1, 1e4])
def test_constant_input_stays_finite(layer: Layer, dtype: str, value: float) -> None:
    step = step_of(layer, np.full((7, 6), value), dtype)
    assert np.isfinite(output(step)).all()
    if not isinstance(layer, RMSNorm):  # no variance: beta alone is left
        beta = step.model.parameters["0.beta"]
        np.testing.assert_allclose(output(step), np.tile(beta, (7, 1)), atol=1e-2)
    for gradient in step.gradients().values():
        assert np.isfinite(gradient).all()


@pytest.mark.parametrize("layer", LAYERS, **BY_NAME)
def test_nan_is_seen(layer: Layer) -> None:
    x = rows()
    x[3, 2] = np.nan
    y = output(step_of(layer, x))
    assert np.isnan(y[:, 2] if isinstance(layer, BatchNorm) else y[3]).all()


def test_running_statistics_follow_the_batches() -> None:
    x = rows()
    step = step_of(BatchNorm(momentum=0.3), x)
    mean, variance = np.zeros(4), np.ones(4)
    _, batch_mean, batch_variance = reference.batch_norm(x, np.ones(4), np.zeros(4), 0.01)
    for _ in range(3):
        mean = reference.track(mean, batch_mean, 0.3)
        variance = reference.track(variance, batch_variance * 9 / 8, 0.3)
        np.testing.assert_allclose(step.model.parameters["0.mean"], mean, rtol=1e-13)
        np.testing.assert_allclose(step.model.parameters["0.variance"], variance, rtol=1e-13)
        step.loss()


def test_prediction_uses_the_running_statistics_and_leaves_them() -> None:
    step = step_of(BatchNorm(epsilon=0.05), rows())
    model, x, p = step.model, rows(5) + 1, parameters(step)
    y = reference.batch_norm_predict(x, p["gamma"], p["beta"], p["mean"], p["variance"], 0.05)
    np.testing.assert_allclose(model.predict_logits(x), y @ p["1.W"] + p["1.b"], rtol=1e-12)
    for name, value in parameters(step).items():
        np.testing.assert_array_equal(value, p[name])


def test_weights_of_rows_do_not_count_in_the_statistics() -> None:
    x, y = rows(8), np.arange(8) % 2
    options = {"epochs": 1, "batch_size": 8, "sampling": "sequential", "verbose": 0}
    models = [MLP([4, BatchNorm(), 2], dtype="float64") for _ in range(2)]
    models[0].fit(x, y, **options)
    models[1].fit(x, y, sample_weight=np.arange(8.0), **options)
    for name in ("0.mean", "0.variance"):
        np.testing.assert_array_equal(models[0].parameters[name], models[1].parameters[name])
    assert (models[0].parameters["1.W"] != models[1].parameters["1.W"]).any()


@pytest.mark.parametrize(
    ("n", "batch_size", "with_norm", "without"),
    [
        (32, 8, (4, 0), (4, 0)),
        (33, 8, (3, 9), (4, 1)),
        (34, 8, (4, 2), (4, 2)),
        (9, 8, (0, 9), (1, 1)),
        (3, 2, (0, 3), (1, 1)),
        (2, 2, (1, 0), (1, 0)),
        (5, 8, (0, 5), (0, 5)),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_last_batch_of_one_row_joins_the_one_before(
    n: int, batch_size: int, with_norm: tuple[int, int], without: tuple[int, int], inside: bool
) -> None:
    norm = Residual([Dense(3), BatchNorm()]) if inside else BatchNorm()
    assert split_batches(MLP([3, norm, 2]).layers, n, batch_size) == with_norm
    assert split_batches(MLP([3, LayerNorm(), 2]).layers, n, batch_size) == without


@pytest.mark.parametrize("n", [9, 17, 33])
def test_merged_batches_train_on_every_row(n: int) -> None:
    x, y = rows(n), np.arange(n) % 2
    model = MLP([4, Dense(5), BatchNorm(), "relu", 2], dtype="float64")
    history = model.fit(x, y, epochs=3, batch_size=8, verbose=0)
    assert history.samples == 3 * n
    assert len(history.step_loss) == 3 * (n // 8)
    assert len(history.epochs) == 3
    assert model.training_state is not None
    assert (model.training_state.epoch, model.training_state.position) == (3, 0)
    losses = history.step_loss.reshape(3, -1)
    weights = np.array([8] * (n // 8 - 1) + [9])
    np.testing.assert_allclose(history["loss"], losses @ weights / n, rtol=1e-12)


def test_a_merged_batch_is_the_batch_of_both() -> None:
    x, y = rows(9), np.arange(9) % 2
    options = {"epochs": 2, "sampling": "sequential", "optimizer": "sgd", "verbose": 0}
    models = [MLP([4, BatchNorm(), 2], dtype="float64") for _ in range(2)]
    models[0].fit(x, y, batch_size=8, **options)
    models[1].fit(x, y, batch_size=9, **options)
    np.testing.assert_allclose(models[0].flat, models[1].flat, rtol=1e-13)


@pytest.mark.parametrize(("n", "batch_size"), [(10, 1), (1, 1)])
def test_batches_of_one_row_are_refused_at_the_start(n: int, batch_size: int) -> None:
    model = MLP([4, Residual([BatchNorm()]), 2])
    before = model.flat.copy()
    with pytest.raises(InputError, match=r"batch_size = 1 on \d+ rows? of data.*at least 2 rows"):
        model.fit(rows(n), np.arange(n) % 2, batch_size=batch_size, verbose=0)
    np.testing.assert_array_equal(model.flat, before)
    assert model.training_state is None
    MLP([4, LayerNorm(), 2]).fit(rows(n), np.arange(n) % 2, batch_size=1, epochs=1, verbose=0)


def test_drawing_with_replacement_has_whole_batches() -> None:
    model = MLP([4, BatchNorm(), 2])
    history = model.fit(
        rows(9), np.arange(9) % 2, batch_size=8, epochs=1, sampling="with_replacement", verbose=0
    )
    assert history.samples == 16


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BatchNorm(momentum=1.5), r"momentum = 1.5; it must be in \[0, 1\]"),
        (lambda: BatchNorm(momentum=-0.1), "momentum = -0.1"),
        (lambda: BatchNorm(epsilon=0.0), r"epsilon = 0.0; it must be in \(0, inf\)"),
        (lambda: LayerNorm(epsilon=-1.0), "epsilon = -1.0"),
        (lambda: RMSNorm(epsilon=0), "epsilon = 0"),
    ],
)
def test_ranges(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_batch_norm_learns_what_a_bad_scale_hides() -> None:
    """Columns a million apart in scale: with batch norm the net still separates the classes."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, size=200)
    x = rng.normal(size=(200, 3)) * [1e-3, 1.0, 1e3] + 1e3
    x[:, 0] += np.where(y == 1, 2e-3, -2e-3)
    model = MLP([3, BatchNorm(), Dense(8, activation="relu"), 2], dtype="float64")
    model.fit(x, y, epochs=60, batch_size=50, optimizer="adam", learning_rate=0.01, verbose=0)
    assert model.evaluate(x, y)["accuracy"] > 0.95


@pytest.mark.parametrize("layer", ["layer_norm", "rms_norm", "batch_norm"])
def test_beyond_the_root_of_the_largest_number_there_is_no_nan(layer: str) -> None:
    x = np.array([[1, 2, 3, 4], [4, 3, 2, 0], [1, 0, 5, 2]], "float32") * np.float32(1e30)
    model = MLP([4, layer, 2])
    history = model.fit(x, [0, 1, 1], steps=1, optimizer="sgd", engine="interpreter", verbose=0)
    assert history["loss"] == [pytest.approx(np.log(2))]  # the outputs are beta's: zero
    assert np.isfinite(model.parameters["1.W"]).all()
