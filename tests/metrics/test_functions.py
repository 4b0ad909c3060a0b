"""The metric functions: against scikit-learn's, on a device, and with bad input."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from scikit_learn_metrics import theirs

from mlpx import metrics
from mlpx.errors import InputError, InputTypeError

ROUNDING = 1e-12
TRIALS = range(24)
trials = pytest.mark.parametrize("seed", TRIALS)
AVERAGES = ["macro", "micro", "weighted", None]


class Case:
    """Random truth, predictions, probabilities, weights: ties, absent classes, one class or row."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.n, self.k = int(rng.integers(1, 40)), int(rng.integers(2, 6))
        used = int(rng.integers(1, self.k + 1))
        self.truth = rng.integers(0, used, self.n)
        self.predicted = np.where(
            rng.random(self.n) < 0.5, self.truth, rng.integers(0, self.k, self.n)
        )
        p = np.round(rng.dirichlet(np.ones(self.k), self.n), 1) + 0.1 / self.k  # many ties
        self.p = p / p.sum(axis=1, keepdims=True)
        self.w = None if seed % 2 else rng.integers(0, 4, self.n) + (np.arange(self.n) == 0) + 0.5
        self.bits = rng.integers(0, 2, (self.n, self.k)), rng.integers(0, 2, (self.n, self.k))
        d = int(rng.integers(1, 4))
        self.values = rng.normal(size=(self.n, d)), np.round(rng.normal(size=(self.n, d)), 1)
        self.binary = (self.truth > 0).astype(int), (self.predicted > 0).astype(int)


def ours(name: str, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "[a-z0-9_]+ is not defined here")  # NaN, as theirs is
        return getattr(metrics, name)(*args, **options)


def compare(name: str, *args: Any, **options: Any) -> None:
    found, wanted = ours(name, *args, **options), theirs(name, *args, **options)
    np.testing.assert_allclose(found, wanted, rtol=ROUNDING, atol=ROUNDING)


def compare_scores(*args: Any, average: str | None = "binary", **options: Any) -> None:
    """Precision, recall and F1: scikit-learn computes them in one function, which takes time."""
    options["average"] = average
    wanted = theirs("precision_recall_fscore_support", *args, **options)
    for name, value in zip(("precision_score", "recall_score", "f1_score"), wanted, strict=False):
        found = ours(name, *args, **options)
        np.testing.assert_allclose(found, value, rtol=ROUNDING, atol=ROUNDING, err_msg=name)


@trials
def test_labels_as_scikit_learn_counts_them(seed: int) -> None:
    case = Case(seed)
    w = {"sample_weight": case.w}
    truth, predicted = case.truth, case.predicted
    if seed % 4 > 1:
        truth, predicted = 2.0 * truth - 3, 2 * predicted - 3
    compare("accuracy_score", truth, predicted, **w)
    compare("balanced_accuracy_score", truth, predicted, **w)
    compare("confusion_matrix", truth, predicted, **w)
    for average in AVERAGES:
        for zero in (0.0, 1.0):
            compare_scores(truth, predicted, average=average, zero_division=zero, **w)


@trials
def test_two_classes_as_scikit_learn_counts_them(seed: int) -> None:
    case = Case(seed)
    w = {"sample_weight": case.w}
    compare_scores(*case.binary, zero_division=0.0, **w)
    compare_scores(*case.binary, zero_division=1.0, **w)
    signs = tuple(2 * part - 1 for part in case.binary)
    compare_scores(*signs, zero_division=0.0, **w)
    if len(np.unique(np.concatenate(signs))) == 2:
        compare_scores(*signs, zero_division=0.0, pos_label=-1, **w)


@trials
def test_several_labels_as_scikit_learn_counts_them(seed: int) -> None:
    case = Case(seed)
    w = {"sample_weight": case.w}
    compare("accuracy_score", *case.bits, **w)
    for average in AVERAGES:
        compare_scores(*case.bits, average=average, zero_division=0.0, **w)


@trials
def test_confusion_of_chosen_labels(seed: int) -> None:
    case = Case(seed)
    labels = [3, 0, 1]
    if not np.isin(case.truth, labels).any():
        return
    chosen = {"labels": labels, "sample_weight": case.w}
    compare("confusion_matrix", case.truth, case.predicted, **chosen)


@trials
def test_probabilities_as_scikit_learn_scores_them(seed: int) -> None:
    case = Case(seed)
    both = {"sample_weight": case.w, "labels": np.arange(case.k)}
    compare("log_loss", case.truth, case.p, **both)
    compare("brier_score_loss", case.truth, case.p, **both)
    for k in range(1, case.k):
        found = metrics.top_k_accuracy_score(case.truth, case.p, k=k, sample_weight=case.w)
        if case.k > 2:
            expected = theirs("top_k_accuracy_score", case.truth, case.p, k=k, **both)
            assert found == pytest.approx(expected, abs=ROUNDING)
    if len(np.unique(case.truth)) == case.k > 2:
        compare("log_loss", case.truth + 5, case.p, sample_weight=case.w)
        areas = {"multi_class": "ovr", "sample_weight": case.w}
        compare("roc_auc_score", case.truth, case.p, **areas)
    two = case.binary[0], case.p[:, 0]
    named = {"sample_weight": case.w, "labels": [0, 1]}
    compare("log_loss", *two, **named)
    compare("brier_score_loss", *two, **named)
    compare("log_loss", *case.binary, **named)
    compare("brier_score_loss", *case.binary, **named)
    if len(np.unique(two[0])) == 2:
        compare("roc_auc_score", *two, sample_weight=case.w)
        compare("roc_auc_score", 2 * two[0] - 1, 10 * two[1], sample_weight=case.w)
    bits = case.bits[0]
    if (np.ptp(bits, axis=0) == 1).all():
        compare("roc_auc_score", bits, case.p, sample_weight=case.w)


@trials
def test_values_as_scikit_learn_measures_them(seed: int) -> None:
    case = Case(seed)
    truth, predicted = case.values
    constant = truth.copy()
    constant[:, 0] = 0.1
    met = np.hstack([constant[:, :1], predicted[:, 1:]])
    for name in (
        "mean_squared_error",
        "root_mean_squared_error",
        "mean_absolute_error",
        "r2_score",
    ):
        for pair in ((truth, predicted), (constant, predicted), (constant, met)):
            if name == "r2_score" and case.n < 2:
                assert np.isnan(metrics.r2_score(*pair))
                continue
            if name == "r2_score" and pair[0] is constant and case.w is not None:
                continue  # whether a rounded spread is zero differs by the last bit of the mean
            compare(name, *pair, sample_weight=case.w)
        flat = truth[:, :1], predicted[:, 0]
        np.testing.assert_allclose(ours(name, *flat), theirs(name, *flat), rtol=ROUNDING)


def test_areas_of_no_numbers_are_not_numbers() -> None:
    assert np.isnan(metrics.roc_auc_score([0, 1], [np.nan, 0.4]))


def test_functions_take_device_arrays(fake_cupy: Any) -> None:
    case = Case(4)
    on_device = [fake_cupy.asarray(part) for part in (case.truth, case.predicted, case.w)]
    for name in ("accuracy_score", "balanced_accuracy_score"):
        function = getattr(metrics, name)
        found = function(*on_device[:2], sample_weight=on_device[2])
        assert found == pytest.approx(function(case.truth, case.predicted, sample_weight=case.w))
        assert function(case.truth, on_device[1]) == function(case.truth, case.predicted)
    table = metrics.confusion_matrix(*on_device[:2])
    np.testing.assert_array_equal(table.get(), metrics.confusion_matrix(case.truth, case.predicted))
    f1 = metrics.f1_score(*on_device[:2], average="macro")
    assert f1 == pytest.approx(metrics.f1_score(case.truth, case.predicted, average="macro"))
    p = fake_cupy.asarray(case.p)
    assert metrics.log_loss(on_device[0], p) == pytest.approx(metrics.log_loss(case.truth, case.p))


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (lambda: metrics.accuracy_score([1, 0], [1, 0, 1]), r"\(2,\).*\(3,\)"),
        (lambda: metrics.accuracy_score([], []), "empty"),
        (lambda: metrics.accuracy_score([[1, 0]], [1]), "wanted the same"),
        (lambda: metrics.accuracy_score([1], [1], sample_weight=[-1.0]), "must not be negative"),
        (lambda: metrics.f1_score([0, 1], [0.2, 0.7]), "not whole.*not of predict_proba"),
        (lambda: metrics.f1_score([0, 1, 2], [0, 1, 2]), "two classes; there are 3"),
        (lambda: metrics.f1_score([[0, 1]], [[0, 1]]), "two classes; there are 2"),
        (lambda: metrics.f1_score([0, 2], [0, 2]), r"pos_label = 1; the labels are \[0, 2\]"),
        (lambda: metrics.f1_score([0], [0], average="samples"), "average = 'samples'"),  # type: ignore[arg-type]
        (lambda: metrics.log_loss([0, 1, 3], np.eye(2)[[0, 1, 1]]), "pass labels="),
        (lambda: metrics.log_loss([0, 1], np.eye(2), labels=[0, 1, 2]), "labels has 3 names"),
        (lambda: metrics.log_loss([0, 1], [[0.0, 2.0], [0, 1]]), r"not all in \[0, 1\]"),
        (lambda: metrics.log_loss([0, 1], [[-0.5, 0.5], [0, 1]]), r"not all in \[0, 1\]"),
        (lambda: metrics.log_loss([[0, 1]], [[0.5, 0.5]]), r"wanted labels \(n,\)"),
        (lambda: metrics.confusion_matrix([[0, 1]], [[0, 1]]), r"wanted labels \(n,\)"),
        (lambda: metrics.confusion_matrix([0, 1], [[0, 1], [1, 0]]), "wanted the same"),
        (lambda: metrics.top_k_accuracy_score([0, 1], [0, 1]), r"wanted \(n, classes\)"),
        (lambda: metrics.top_k_accuracy_score([0, 1], np.eye(2), k=0), "k = 0"),
        (lambda: metrics.roc_auc_score([0, 1], [0, 1], multi_class="ovo"), "only 'ovr'"),  # type: ignore[arg-type]
        (lambda: metrics.roc_auc_score(np.eye(2), [0, 1]), r"wanted \(2, 2\)"),
        (lambda: metrics.r2_score(np.zeros((2, 2)), np.zeros((2, 1))), "wanted the same"),
        (lambda: metrics.r2_score(np.zeros((2, 2, 2)), np.zeros((2, 2, 2))), r"\(n, k\)"),
    ],
)
def test_bad_input_is_named(action: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        action()


def test_words_are_no_labels() -> None:
    with pytest.raises(InputTypeError, match="y_true"):
        metrics.accuracy_score(["a", "b"], ["a", "b"])


def test_weights_of_the_functions_are_relative() -> None:
    truth, found, w = [0, 1, 1, 0], [0, 1, 0, 1], np.array([1.0, 2.0, 4.0, 0.5])
    for scale in (1e-300, 1e308 / 4):
        assert metrics.accuracy_score(truth, found, sample_weight=w * scale) == pytest.approx(
            3 / 7.5
        )
        assert metrics.f1_score(truth, found, sample_weight=w * scale) == pytest.approx(
            metrics.f1_score(truth, found, sample_weight=w)
        )
    cells = metrics.confusion_matrix(truth, found, sample_weight=w * 1e-300)
    np.testing.assert_allclose(cells, [[1e-300, 5e-301], [4e-300, 2e-300]])
