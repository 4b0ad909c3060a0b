"""What targets and weights do in training and evaluation, on every device."""

from __future__ import annotations

from typing import Any

import fakecupy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stepping import Step

from mlpx import MLP, Dense, get_backend
from mlpx.engines.interpreter import run_once
from mlpx.errors import InputError
from mlpx.inputs.targets import check_y, row_weights
from mlpx.kernels.losses import (
    BinaryCrossEntropy,
    Focal,
    Loss,
    Quantile,
    SoftmaxCrossEntropy,
)
from mlpx.kernels.penalties import L2
from mlpx.program.data import check_data

F32 = np.dtype("float32")
CROSS, BINARY, MSE = "softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error"
X = np.random.default_rng(0).normal(size=(24, 4))
LABELS = np.random.default_rng(1).integers(0, 3, 24)


def trained(loss: Any, y: Any, x: Any = X, d_out: int = 3, **options: Any) -> MLP:
    """A net after one full-batch step of gradient descent, which moved it by the gradient."""
    dtype = options.pop("dtype", "float64")
    model = MLP([4, 5, d_out], activation="tanh", loss=loss, dtype=dtype, seed=1)
    keys = {"epochs": 1, "batch_size": len(x), "optimizer": "sgd", "sampling": "sequential"}
    model.history = model.fit(x, y, verbose=0, **{**keys, **options})  # type: ignore[attr-defined]
    return model


def moved(*models: MLP) -> list[np.ndarray]:
    return [model.flat.copy() for model in models]


def test_class_weights_equal_their_sample_weights_bit_for_bit() -> None:
    c = np.array([0.3, 2.0, 1.7])
    a, b = moved(
        trained(CROSS, LABELS, class_weight=c), trained(CROSS, LABELS, sample_weight=c[LABELS])
    )
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, trained(CROSS, LABELS).flat)


@pytest.mark.parametrize("name", list(Loss.table))
@settings(max_examples=5)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_repeated_rows_in_a_full_batch(name: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    loss = Loss.resolve(name)
    kind = loss.target_kind(3)
    y: Any = {"classes": LABELS, "binary": rng.integers(0, 2, (24, 3))}.get(kind)
    y = rng.poisson(1.0, (24, 3)) if y is None else y
    counts = rng.integers(0, 4, 24)
    order = rng.permutation(counts.sum())
    rows = np.repeat(np.arange(24), counts)[order]
    a, b = moved(trained(loss, y, sample_weight=counts), trained(loss, y[rows], X[rows]))
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    weighted, repeated = (
        MLP([4, 3], loss=loss, dtype="float64").evaluate(*data, sample_weight=w)
        for data, w in (((X, y), counts), ((X[rows], y[rows]), None))
    )
    assert weighted == pytest.approx(repeated)


@pytest.mark.parametrize("label", [-100, 2])
def test_ignored_rows_count_for_nothing(label: int) -> None:
    loss = SoftmaxCrossEntropy(ignore_label=label, label_smoothing=0.1)
    kept = np.arange(24) % 3 > 0
    kept &= (label == -100) | (LABELS != 2)
    y = np.where(kept, LABELS, label)
    a, b = trained(loss, y), trained(loss, LABELS[kept], X[kept])
    np.testing.assert_allclose(*moved(a, b), rtol=1e-12)
    for name in ("loss", "accuracy"):
        assert a.history[name] == pytest.approx(b.history[name])  # type: ignore[attr-defined]
    names = ["accuracy", "f1_macro", "log_loss", "balanced_accuracy"]
    some = b.evaluate(X[kept], LABELS[kept], metrics=names)
    assert b.evaluate(X, y, metrics=names) == pytest.approx(some)


def test_a_batch_of_ignored_rows_moves_nothing() -> None:
    loss = SoftmaxCrossEntropy(ignore_label=-1)
    y = np.concatenate([LABELS[:12], np.full(12, -1)])
    model = MLP([4, 3], loss=loss, dtype="float64", seed=1)
    model.fit(X, y, steps=1, batch_size=12, optimizer="sgd", sampling="sequential", verbose=0)
    before = model.flat.copy()
    model.fit(X, y, steps=1, batch_size=12, optimizer="sgd", sampling="sequential", verbose=0)
    np.testing.assert_array_equal(model.flat, before)


def test_label_smoothing_is_soft_targets() -> None:
    smoothed = np.eye(3)[LABELS] * 0.8 + 0.2 / 3
    a, b = moved(
        trained(SoftmaxCrossEntropy(label_smoothing=0.2), LABELS), trained(CROSS, smoothed)
    )
    np.testing.assert_allclose(a, b, rtol=1e-12)
    hot = np.eye(3)[LABELS]
    (c,) = moved(trained(SoftmaxCrossEntropy(label_smoothing=0.2), hot))
    np.testing.assert_array_equal(a, c)
    np.testing.assert_array_equal(hot.sum(axis=1), 1)  # the data are not smoothed in place


def test_one_column_means_the_same_as_none() -> None:
    y = X[:, 0]
    for loss in (MSE, "quantile", "log_cosh"):
        a, b = moved(trained(loss, y, d_out=1), trained(loss, y[:, None], d_out=1))
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("loss", [BINARY, "binary_focal", "hinge", "squared_hinge"])
def test_one_yes_or_no_output(loss: str) -> None:
    y = (X[:, 0] + 0.3 * X[:, 1] > 0).astype(int)
    model = trained(loss, y, d_out=1, epochs=300, batch_size=8, learning_rate=0.3)
    predicted = model.predict(X)
    assert predicted.shape == (24,)
    assert set(predicted.tolist()) == {0, 1}
    assert (predicted == y).mean() > 0.9
    last = model.evaluate(X, y)
    assert last["accuracy"] == pytest.approx((predicted == y).mean())
    if loss.startswith("binary"):
        p = model.predict_proba(X)
        assert p.shape == (24, 2)
        np.testing.assert_array_equal(p[:, 1] > 0.5, predicted == 1)
    else:
        with pytest.raises(InputError, match=f"this model's is '{loss}'"):
            model.predict_proba(X)


def test_the_training_accuracy_is_that_of_the_metric() -> None:
    y = (X[:, :3] > 0).astype(int)
    for loss, d_out, targets in ((BINARY, 3, y), (BINARY, 1, y[:, 0]), (CROSS, 3, LABELS)):
        start = MLP([4, 5, d_out], activation="tanh", loss=loss, dtype="float64", seed=1)
        expected = start.evaluate(X, targets, sample_weight=np.arange(24))
        model = trained(loss, targets, d_out=d_out, sample_weight=np.arange(24))
        for name in ("loss", "accuracy"):
            found = model.history[name][0]  # type: ignore[attr-defined]
            assert found == pytest.approx(expected[name], rel=1e-12)
        assert 0 < expected["accuracy"] < 1


def test_several_labels() -> None:
    y = (X[:, :3] > 0).astype(int)
    model = trained(BINARY, y, epochs=300, batch_size=8, learning_rate=0.5)
    assert model.predict(X).shape == model.predict_proba(X).shape == (24, 3)
    assert (model.predict(X) == y).all(axis=1).mean() > 0.9


def test_several_quantiles_are_in_order() -> None:
    rng = np.random.default_rng(0)
    x, y = np.zeros((400, 1)), rng.random((400, 2)) + np.array([0, 10])
    model = MLP([1, 6], loss=Quantile((0.1, 0.5, 0.9)), dtype="float64")
    model.fit(x, y, epochs=150, batch_size=50, optimizer="adam", learning_rate=0.05, verbose=0)
    np.testing.assert_allclose(model.predict(x)[0], [0.1, 0.5, 0.9, 10.1, 10.5, 10.9], atol=0.12)


def test_poisson_predicts_rates() -> None:
    y = np.repeat([2.0, 4.0], 12)
    x = np.repeat([[0.0], [1.0]], 12, axis=0)
    model = MLP([1, 1], loss="poisson", dtype="float64")
    model.fit(x, y, epochs=200, optimizer="adam", learning_rate=0.05, verbose=0)
    np.testing.assert_allclose(model.predict([[0.0], [1.0]])[:, 0], [2, 4], rtol=0.02)
    np.testing.assert_allclose(np.exp(model.predict_logits([[0.0]])), model.predict([[0.0]]))
    measured = model.evaluate(x, y, metrics=["mean_absolute_error", "r2"])
    assert measured["mean_absolute_error"] < 0.1
    assert measured["r2"] > 0.98


def test_a_loss_that_does_not_fit_the_outputs_is_refused_when_the_model_is_made() -> None:
    with pytest.raises(InputError, match="3 outputs, wanted 2"):
        MLP([4, 3], loss=Quantile((0.1, 0.9)))
    with pytest.raises(InputError, match="alpha has 2 numbers"):
        MLP([4, 3], loss=Focal(alpha=(1.0, 2.0)))


def test_models_keep_their_loss_when_saved(tmp_path: Any) -> None:
    for loss in (BinaryCrossEntropy(positive_weight=(1.0, 2.0, 3.0)), Quantile((0.2, 0.5, 0.7)),
                 SoftmaxCrossEntropy(ignore_label=-1, label_smoothing=0.1)):  # fmt: skip
        model = MLP([4, 3], loss=loss)
        model.save(tmp_path / "m.safetensors")
        assert MLP.load(tmp_path / "m.safetensors").loss == loss


@pytest.mark.parametrize("name", list(Loss.table))
@pytest.mark.parametrize("k", [1, 3])
def test_devices_agree_on_every_loss(name: str, k: int, fake_cupy: Any) -> None:
    loss = Loss.resolve(name)
    kind = loss.target_kind(k)
    y = {"classes": LABELS % k, "binary": (X[:, :k] > 0).astype(int)}.get(kind, abs(X[:, :k]))
    models = [MLP([4, 5, k], loss=loss, dtype="float64", device=d) for d in ("cpu", "cuda")]
    options = {"epochs": 1, "batch_size": 5, "verbose": 0, "sample_weight": np.arange(1, 25)}
    for model in models:
        model.fit(X, y, **options)
    a, b = (model.backend.to_numpy(model.flat) for model in models)
    np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    scores = [model.evaluate(X, y) for model in models]
    assert scores[0] == pytest.approx(scores[1])
    found = [model.backend.to_numpy(model.predict(X)) for model in models]
    np.testing.assert_allclose(found[0], found[1], rtol=1e-9)


@pytest.mark.parametrize(
    "loss", [*Loss.table, SoftmaxCrossEntropy(label_smoothing=0.1), Quantile((0.2, 0.5, 0.9))]
)
def test_a_step_on_a_device_allocates_nothing_and_waits_for_nothing(
    loss: Any, fake_cupy: Any
) -> None:
    loss = Loss.resolve(loss)
    y: Any = {"classes": LABELS, "binary": (X[:, :3] > 0).astype(int)}.get(loss.target_kind(3))
    y = abs(X[:, : loss.target_columns(3)]) if y is None else y
    model = MLP([4, 3], loss=loss, device="cuda")
    given_y = check_y(y, n=24, d_out=3, loss=loss, dtype=F32, backend=model.backend)
    step = Step(model, X, given_y)
    run_once(step.plan)
    fakecupy.counters.reset()
    run_once(step.plan)
    counters = fakecupy.counters
    assert (counters.allocations, counters.synchronizations) == (0, 0)
    assert (counters.to_host, counters.to_device) == (0, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scale", [1e-46, 1e-40, 1e-300, 1e40, 1e300])
def test_weights_are_relative_however_small_or_large(scale: float, dtype: str) -> None:
    """A common factor changes nothing but the last bit, of class weights as well."""
    w = np.random.default_rng(0).random(24) + 0.1
    c = np.array([0.3, 2.0, 1.7])
    wanted, bound = trained(CROSS, LABELS, dtype=dtype, sample_weight=w).flat, 1e-6
    found = trained(CROSS, LABELS, dtype=dtype, sample_weight=w * scale).flat
    np.testing.assert_allclose(found, wanted, rtol=bound, atol=1e-7)
    wanted = trained(CROSS, LABELS, dtype=dtype, sample_weight=w, class_weight=c).flat
    for rows, classes in ((w * scale, c), (w, c * scale), (w * scale, c * scale)):
        found = trained(CROSS, LABELS, dtype=dtype, sample_weight=rows, class_weight=classes).flat
        np.testing.assert_allclose(found, wanted, rtol=bound, atol=1e-7)
    model = MLP([4, 3], dtype=dtype)
    wanted, found = (model.evaluate(X, LABELS, sample_weight=rows) for rows in (w, w * scale))
    assert found == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-46, 1.0, 1e300])
def test_weights_on_a_device_are_scaled_there(scale: float, fake_cupy: Any) -> None:
    backend, w = get_backend("cuda"), np.array([1.0, 2.0, 4.0]) * scale
    given = {"d_out": 3, "loss": Loss.resolve(CROSS), "dtype": F32, "backend": backend}
    labels = fake_cupy.asarray(np.array([0, 1, 2]))
    before = fakecupy.counters.to_host
    found = row_weights(fake_cupy.asarray(w), labels, **given)
    assert fakecupy.counters.to_host - before <= 1
    wanted = w if scale == 1.0 else [0.25, 0.5, 1.0]
    np.testing.assert_array_equal(backend.to_numpy(found)[:, 0], np.asarray(wanted, F32))
    for bad in (-1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="sample_weight has"):
            row_weights(fake_cupy.asarray(np.array([1.0, bad, 4.0])), labels, **given)


@pytest.mark.parametrize("scale", [1e-46, 1e300])
def test_weights_whose_sum_counts_are_not_scaled(scale: float) -> None:
    """A penalty per row is divided by the sum of the weights."""
    layers = [4, Dense(3, penalty=L2(1e-3, per_row=True))]
    model, w = MLP(layers), np.full(24, scale)
    before = model.flat.copy()
    with pytest.raises(InputError, match=r"sample_weight is 1e[-+]\d+ at most.*weights around 1"):
        model.fit(X, LABELS, sample_weight=w, verbose=0)
    assert np.array_equal(model.flat, before)
    shared = {"sample_weight": np.ones(24), "validation_data": (X, LABELS, w)}
    assert np.isfinite(model.fit(X, LABELS, epochs=1, verbose=0, **shared).epochs[-1]["val_loss"])


def test_rows_are_checked_by_the_names_their_owner_knows() -> None:
    """The message mentions check_finite=False only to callers who can pass it."""
    model, bad, weights = MLP([4, 3]), X.copy(), np.ones(24)
    bad[3, 1] = np.nan
    end = "_train has nan at row 3, column 1; wanted finite numbers"
    for options, told in (
        ({"suffix": "_train"}, f"x{end}"),
        ({"prefix": "validation ", "suffix": "_train"}, f"validation x{end}"),
        ({"suffix": "_train", "finite": True}, rf"x{end} \(check_finite=False skips this check\)"),
    ):
        with pytest.raises(InputError, match=f"^{told}$"):
            check_data(model, bad, LABELS, **options)
    with pytest.raises(InputError, match=r"^y_train has label 4 at row 0"):
        check_data(model, X, LABELS + 3, suffix="_train")
    with pytest.raises(InputError, match=r"^sample_weight_train\.shape = \(3,\)"):
        check_data(model, X, LABELS, weights[:3], suffix="_train")
    x, y, w = check_data(model, bad, LABELS, weights, finite=False)
    assert (x is bad, y.dtype, None if w is None else w.shape) == (True, np.int64, (24, 1))
