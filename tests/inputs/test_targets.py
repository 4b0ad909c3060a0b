"""Targets and row weights: what they become, and what is refused."""

from __future__ import annotations

from typing import Any

import fakecupy
import numpy as np
import pytest

from mlpx import get_backend
from mlpx.errors import InputError, InputTypeError
from mlpx.inputs.targets import check_y, row_weights
from mlpx.kernels.losses import (
    Loss,
    Quantile,
    SoftmaxCrossEntropy,
)

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


def test_ordinary_weights_keep_their_bits() -> None:
    w = np.random.default_rng(0).random(3)
    for scale in (1e-15, 1.0, 1e15):
        given = (w * scale).astype(F32)
        assert weights([0, 1, 2], sample_weight=given).tobytes() == given.tobytes()
