"""Targets, row weights, and their effect in training and evaluation."""

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
from mlpx.errors import InputError, InputTypeError
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

CPU = get_backend("cpu")
F32 = np.dtype("float32")


def checked(y: Any, loss: Any, d_out: int, *, n: int | None = None, **options: Any) -> Any:
    n = len(y) if n is None else n
    given_loss = Loss.resolve(loss)
    backend = options.pop("backend", CPU)
    return check_y(y, n=n, d_out=d_out, loss=given_loss, dtype=F32, backend=backend, **options)


def weights(y: Any, loss: Any = "softmax_cross_entropy", d_out: int = 3, **options: Any) -> Any:
    given_loss = Loss.resolve(loss)
    sample = options.pop("sample_weight", None)
    y = checked(y, given_loss, d_out)
    return row_weights(sample, y, d_out=d_out, loss=given_loss, dtype=F32, backend=CPU, **options)


@pytest.mark.parametrize(
    ("y", "loss", "d_out", "wanted"),
    [
        ([0, 2, 1], "softmax_cross_entropy", 3, [0, 2, 1]),
        ([[0], [2], [1]], "focal", 3, [0, 2, 1]),
        ([0.0, 2.0], "kl_divergence", 3, [0, 2]),
        ([True, False], "softmax_cross_entropy", 2, [1, 0]),
        (np.array([0, 1], "uint8"), "hinge", 2, [0, 1]),
        ([0, 0], "softmax_cross_entropy", 1, [0, 0]),
        ([-100, 1], SoftmaxCrossEntropy(ignore_label=-100), 2, [-100, 1]),
    ],
)
def test_labels_become_integers(y: Any, loss: Any, d_out: int, wanted: list[int]) -> None:
    found = checked(y, loss, d_out)
    assert found.dtype == np.int64
    assert found.tolist() == wanted


@pytest.mark.parametrize(
    ("y", "loss", "d_out"),
    [
        (np.eye(3), "softmax_cross_entropy", 3),
        (np.full((2, 4), 0.25), "kl_divergence", 4),
        (np.full((3, 2), 0.5, "float16"), "softmax_cross_entropy", 2),
        ([0, 1], "binary_cross_entropy", 1),
        ([True, False], "hinge", 1),
        ([[1], [0]], "binary_focal", 1),
        ([0.5, 0.25], "binary_cross_entropy", 1),
        (np.eye(2, dtype=int), "binary_cross_entropy", 2),
        ([1.5, -2.0], "mean_squared_error", 1),
        ([[1.5], [-2.0]], "huber", 1),
        (np.float16([1.5, -2.0]), "huber", 1),
        ([0, 3], "poisson", 1),
        (np.ones((2, 2)), Quantile((0.1, 0.5, 0.9)), 6),
        ([1.0, 2.0], Quantile((0.1, 0.9)), 2),
    ],
)
def test_numbers_become_columns_of_the_models_dtype(y: Any, loss: Any, d_out: int) -> None:
    found = checked(y, loss, d_out)
    assert found.dtype == F32
    assert found.shape == (len(y), Loss.resolve(loss).target_columns(d_out))
    np.testing.assert_array_equal(found.ravel(), np.ravel(y))


CROSS, BINARY, MSE = "softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error"


@pytest.mark.parametrize(
    ("y", "loss", "d_out", "words"),
    [
        ([0, -1], CROSS, 3, r"label -1 at row 1; .*3 classes.*\[0, 3\)"),
        ([3, 0], CROSS, 3, r"label 3 at row 0; .*3 classes"),
        ([0, 1.5], CROSS, 3, "1.5 at row 1; class labels are whole numbers"),
        ([0, np.nan], CROSS, 3, "nan at row 1; class labels are whole numbers"),
        ([-100, 1], CROSS, 3, "label -100 at row 0"),
        ([-1, -100], SoftmaxCrossEntropy(ignore_label=-100), 3, "label -1 at row 0"),
        ([7, 7], SoftmaxCrossEntropy(ignore_label=7), 3, "ignore_label = 7 in every row"),
        ([[0.5, 0.6], [0, 1]], CROSS, 2, "row 0 is .*sum to 1"),
        ([[0, 1], [-0.5, 1.5]], CROSS, 2, "row 1 is .*not be negative"),
        ([[0, 1], [np.nan, 1]], CROSS, 2, "nan at row 1, column 0"),
        (np.zeros((2, 4)), CROSS, 3, r"\(2, 4\); wanted \(2,\) labels or \(2, 3\)"),
        (np.zeros((2, 3, 1)), CROSS, 3, r"\(2, 3, 1\); wanted"),
        ([0, 2], BINARY, 1, r"2 at row 1; targets of loss 'binary_cross_entropy' are 0 or 1"),
        ([1, -1], "hinge", 1, r"-1 at row 1; .*\(y \+ 1\) / 2"),
        ([[0, 1], [1.5, 0]], BINARY, 2, "1.5 at row 1, column 0"),
        ([0, 1], BINARY, 3, r"\(2,\); wanted \(2, 3\), a column.*3 labels.*a loss over classes"),
        (np.eye(2), BINARY, 1, r"\(2, 2\); wanted \(2,\) or \(2, 1\).*one-hot"),
        ([0, np.inf], BINARY, 1, "inf at row 1"),
        ([0, np.nan], BINARY, 1, "nan at row 1"),
        ([1, -2], "poisson", 1, "-2 at row 1; targets of loss 'poisson' must not be below 0"),
        ([1, np.inf], MSE, 1, "inf at row 1"),
        ([1, 1e39], MSE, 1, r"1e\+39 at row 1, beyond float32's range"),
        ([1, 2], MSE, 3, r"\(2,\); wanted \(2, 3\)"),
        (np.zeros((2, 2)), MSE, 1, r"\(2, 2\); wanted \(2,\) or \(2, 1\)"),
        ([1, 2], Quantile((0.1, 0.9)), 4, r"\(2,\); wanted \(2, 2\)"),
        (np.array(5), MSE, 1, "wanted 2 rows, as many as x has"),
        ([1, 2, 3], MSE, 1, r"\(3,\); wanted 2 rows"),
    ],
)
def test_what_cannot_be_y_is_named(y: Any, loss: Any, d_out: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        checked(y, loss, d_out, n=2)


def test_words_are_no_labels_and_the_message_helps() -> None:
    with pytest.raises(InputTypeError, match=r"y .*string.*numpy.unique\(y, return_inverse=True\)"):
        checked(["cat", "dog"], CROSS, 2)
    with pytest.raises(InputTypeError, match="string") as caught:
        checked(["1.5", "2.5"], MSE, 1)
    assert "unique" not in str(caught.value)


def test_unchecked_values_may_be_anything_but_classes_may_not() -> None:
    assert np.isnan(checked([np.nan, 1], MSE, 1, finite=False)[0, 0])
    with pytest.raises(InputError, match="5 at row 0"):
        checked([5, 1], BINARY, 1, finite=False)


@pytest.mark.parametrize(
    ("y", "loss", "d_out"),
    [([0, 1], CROSS, 2), (np.eye(2), CROSS, 2), ([0, 1], BINARY, 1), ([0.5, 1], MSE, 1),
     ([0, 4], "poisson", 1)],
)  # fmt: skip
def test_one_look_at_a_device(y: Any, loss: str, d_out: int, fake_cupy: Any) -> None:
    backend = get_backend("cuda")
    on_device = fake_cupy.asarray(np.asarray(y))
    before = fakecupy.counters.to_host
    found = checked(on_device, loss, d_out, backend=backend)
    assert fakecupy.counters.to_host - before <= 1
    np.testing.assert_array_equal(found.get(), checked(y, loss, d_out))


# --- weights -------------------------------------------------------------------------------------


def test_no_weights_are_none() -> None:
    assert weights([0, 1, 2]) is None
    assert weights([0, 1, 2], SoftmaxCrossEntropy(ignore_label=-1)) is None


@pytest.mark.parametrize(
    "given_weights",
    [
        {0: 2.0, 2: 0.5},
        {np.int64(0): 2, 2: np.float32(0.5)},
        [2.0, 1.0, 0.5],
        (2, 1, 0.5),
        np.array([2.0, 1.0, 0.5]),
    ],
)
def test_class_weights_are_row_weights(given_weights: Any) -> None:
    w = weights([0, 1, 2, 0], class_weight=given_weights)
    assert w.dtype == F32
    np.testing.assert_array_equal(w, [[2], [1], [0.5], [2]])
    both = weights([0, 1, 2, 0], class_weight=given_weights, sample_weight=[1, 2, 3, 0])
    np.testing.assert_array_equal(both, [[2], [2], [1.5], [0]])


def test_class_weights_of_soft_and_binary_targets() -> None:
    soft = weights([[0.5, 0.5, 0], [0, 0, 1]], class_weight=[2, 4, 8])
    np.testing.assert_array_equal(soft, [[3], [8]])
    binary = weights([0, 1, 0.5], BINARY, 1, class_weight={0: 1, 1: 3})
    np.testing.assert_array_equal(binary, [[1], [3], [2]])
    np.testing.assert_array_equal(weights([0, 1], "hinge", 1, class_weight=[1, 3]), [[1], [3]])


def test_balanced_is_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_sample_weight

    y = np.array([0, 0, 0, 2, 2, 0])
    np.testing.assert_allclose(
        weights(y, class_weight="balanced")[:, 0], compute_sample_weight("balanced", y), rtol=1e-6
    )
    np.testing.assert_array_equal(weights([1, 1], class_weight="balanced"), [[1], [1]])
    hot = np.eye(3)[y]
    np.testing.assert_allclose(
        weights(hot, class_weight="balanced"), weights(y, class_weight="balanced")
    )
    counts = np.array([1, 2, 1, 3, 1, 0])
    repeated = weights(np.repeat(y, counts), class_weight="balanced")
    weighted = weights(y, class_weight="balanced", sample_weight=counts)
    np.testing.assert_allclose(weighted, repeated[[0, 1, 3, 4, 7, 0]] * counts[:, None])


def test_ignored_rows_weigh_nothing() -> None:
    loss = SoftmaxCrossEntropy(ignore_label=2)
    np.testing.assert_array_equal(weights([2, 0, 1], loss), [[0], [1], [1]])
    far = SoftmaxCrossEntropy(ignore_label=-100)
    w = weights([-100, 0, 1, 1], far, class_weight="balanced", sample_weight=[9, 1, 1, 1])
    np.testing.assert_allclose(w, [[0], [1.5], [0.75], [0.75]])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"class_weight": {3: 1.0}}, r"class_weight has class 3; .*\[0, 3\)"),
        ({"class_weight": {"a": 1.0}}, "class_weight has class 'a'"),
        ({"class_weight": {0: -1.0}}, r"class_weight\[0\] = -1.0"),
        ({"class_weight": [1.0, 2.0]}, "wanted 3 numbers"),
        ({"class_weight": [1.0, 2.0, -3.0]}, r"class_weight\[2\] = -3.0"),
        ({"class_weight": "even"}, "'even'; the only name is 'balanced'"),
        ({"class_weight": {0: 0.0, 1: 0.0}}, "no row counts"),
        ({"sample_weight": [1.0, -1.0]}, "-1 at row 1"),
        ({"sample_weight": [0.0, 0.0]}, "zero for every row"),
        (
            {
                "loss": SoftmaxCrossEntropy(ignore_label=1),
                "sample_weight": [0.0, 1.0],
                "class_weight": "balanced",
            },
            "no row counts",
        ),
        (
            {"loss": SoftmaxCrossEntropy(ignore_label=1), "sample_weight": [0.0, 1.0]},
            "no row counts",
        ),
        ({"loss": MSE, "d_out": 1, "class_weight": [1, 2]}, "needs one class a row.*sample_weight"),
    ],
)
def test_weights_that_cannot_be_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        weights([0, 1], **options)


def test_several_labels_have_no_class_weight() -> None:
    with pytest.raises(InputError, match="positive_weight"):
        weights(np.eye(2), BINARY, 2, class_weight="balanced")


# --- in training and evaluation ------------------------------------------------------------------

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


def test_ordinary_weights_keep_their_bits() -> None:
    w = np.random.default_rng(0).random(3)
    for scale in (1e-15, 1.0, 1e15):
        given = (w * scale).astype(F32)
        assert weights([0, 1, 2], sample_weight=given).tobytes() == given.tobytes()


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
