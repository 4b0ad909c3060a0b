"""Metrics against scikit-learn's, as functions, as records, and on a device."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sklearn

from mlpx import MLP, metrics
from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.kernels.losses import Loss, Quantile
from mlpx.metrics import Metric, Results, TopKAccuracy, choose_metrics

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


def theirs(name: str, *args: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(sklearn, name)(*args, **options)


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


# --- records -------------------------------------------------------------------------------------

SCORERS = {
    "accuracy": ("accuracy_score", {}),
    "balanced_accuracy": ("balanced_accuracy_score", {}),
    "top_k_accuracy": ("top_k_accuracy_score", {"k": 2}),
    "log_loss": ("log_loss", {}),
    "brier_score": ("brier_score_loss", {}),
    "roc_auc": ("roc_auc_score", {"multi_class": "ovr"}),
    "mean_squared_error": ("mean_squared_error", {}),
    "root_mean_squared_error": ("root_mean_squared_error", {}),
    "mean_absolute_error": ("mean_absolute_error", {}),
    "r2": ("r2_score", {}),
} | {
    f"{name}{suffix}": (f"{name}_score", {"average": average, "zero_division": 0.0})
    for name in ("precision", "recall", "f1")
    for suffix, average in {
        "": "binary", "_macro": "macro", "_micro": "micro", "_weighted": "weighted",
    }.items()
}  # fmt: skip
NEEDS_SCORES = ("top_k_accuracy", "log_loss", "brier_score", "roc_auc")
NETWORKS = [
    ("softmax_cross_entropy", 4),
    ("softmax_cross_entropy", 2),
    ("binary_cross_entropy", 1),
    ("binary_cross_entropy", 3),
    ("hinge", 1),
    ("hinge", 3),
    ("mean_squared_error", 1),
    ("huber", 3),
    ("poisson", 2),
]


def suits(metric: Metric, loss: Loss, k: int) -> bool:
    try:
        metric.check(loss, k)
    except InputError:
        return False
    return True


def targets_for(loss: Loss, k: int, n: int, rng: np.random.Generator) -> np.ndarray:
    kind = loss.target_kind(k)
    if kind == "classes":
        return np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    if kind == "binary":
        y = rng.integers(0, 2, (n, k)).astype(np.float32)
        y[:2] = [[0], [1]]
        return y
    return rng.poisson(2, (n, k)).astype(np.float32)


def by_scikit_learn(name: str, model: MLP, x: np.ndarray, y: np.ndarray, w: Any) -> float:
    function, options = SCORERS[name]
    options = dict(options)
    kind = model.loss.target_kind(model.d_out)
    shown: Any = model.predict(x)
    if name in NEEDS_SCORES:
        z = model.predict_logits(x).astype(np.float64)
        shown = z
        if model.loss.link in ("softmax", "sigmoid") and name != "top_k_accuracy":
            from mlpx.kernels.losses import probabilities

            shown = probabilities(np, model.loss, z)
    if kind == "values":
        shown = shown.astype(np.float64)
        if model.loss.link == "exp":
            shown = np.exp(model.predict_logits(x).astype(np.float64))
    if kind == "binary" and model.d_out == 1:
        y = y[:, 0]
    if name == "roc_auc" and shown.ndim == 2 and y.ndim == 1 and shown.shape[1] == 2:
        shown = shown[:, 1]
    return float(theirs(function, y, shown, sample_weight=w, **options))


def test_every_metric_has_its_scorer() -> None:
    assert set(SCORERS) == set(Metric.table)


@pytest.mark.parametrize(("loss", "k"), NETWORKS)
@pytest.mark.parametrize("weighted", [False, True])
def test_evaluate_agrees_with_scikit_learn(loss: str, k: int, weighted: bool) -> None:
    model = MLP([5, k], loss=loss, seed=3)
    suited = [name for name in Metric.table if suits(Metric.resolve(name), model.loss, k)]
    for name in set(Metric.table) - set(suited):
        with pytest.raises(InputError, match=f"metric '{name}'"):
            model.evaluate(np.zeros((2, 5)), np.zeros(2), metrics=[name])
    rng = np.random.default_rng(k)
    x = rng.normal(size=(31, 5)).astype(np.float32)
    y = targets_for(model.loss, k, 31, rng)
    w = rng.integers(0, 3, 31).astype(float) + 0.5 if weighted else None
    found = model.evaluate(x, y, metrics=suited, sample_weight=w, batch_size=7)
    del found["loss"]
    if k == 2:
        assert found.pop("top_k_accuracy", 1) == 1  # theirs has no scores of both of two classes
    assert found == pytest.approx(
        {name: by_scikit_learn(name, model, x, y, w) for name in found}, rel=1e-9
    )
    assert set(suited) - set(found) <= {"top_k_accuracy"}


@pytest.mark.parametrize("name", ["f1", "precision", "recall", "roc_auc", "log_loss"])
def test_metrics_of_two_classes_suit_one_output_and_two(name: str) -> None:
    for loss, k in (("softmax_cross_entropy", 2), ("binary_cross_entropy", 1)):
        assert suits(Metric.resolve(name), Loss.resolve(loss), k)


def test_each_metric_suits_some_network() -> None:
    for name in Metric.table:
        metric = Metric.resolve(name)
        assert any(suits(metric, Loss.resolve(loss), k) for loss, k in NETWORKS), name


@pytest.mark.parametrize(
    ("loss", "k", "metric", "words"),
    [
        ("mean_squared_error", 1, "accuracy", "needs classes; .* loss is 'mean_squared_error'"),
        (
            "softmax_cross_entropy",
            3,
            "r2",
            "needs values; .* 'softmax_cross_entropy', over classes",
        ),
        ("hinge", 3, "log_loss", "needs probabilities, which loss 'hinge' does not have"),
        ("softmax_cross_entropy", 3, "f1", "is of two classes; .* 3 outputs: use 'f1_macro'"),
        ("binary_cross_entropy", 3, "recall", "is of two classes.*'recall_micro'"),
        ("binary_cross_entropy", 3, "log_loss", "needs one class a row"),
        ("binary_cross_entropy", 1, "top_k_accuracy", "needs an output for each class"),
    ],
)
def test_a_metric_that_does_not_suit_is_refused(loss: str, k: int, metric: str, words: str) -> None:
    with pytest.raises(InputError, match=f"metric '{metric}' {words}"):
        choose_metrics([metric], Loss.resolve(loss), k)
    model = MLP([2, k], loss=loss)
    with pytest.raises(InputError, match=words):
        model.fit(np.zeros((4, 2)), np.zeros((4, k)), epochs=1, metrics=[metric], verbose=0)


def test_metrics_by_name_class_or_instance() -> None:
    loss = Loss.resolve("softmax_cross_entropy")
    assert choose_metrics("accuracy", loss, 3) == choose_metrics([metrics.Accuracy], loss, 3)
    assert choose_metrics([TopKAccuracy(k=1)], loss, 3)[0].k == 1  # type: ignore[attr-defined]
    assert choose_metrics(None, loss, 3) == (metrics.Accuracy(),)
    assert choose_metrics(None, Loss.resolve("binary_focal"), 3) == (metrics.Accuracy(),)
    assert choose_metrics(None, Loss.resolve("huber"), 3) == ()
    with pytest.raises(UnknownNameError, match="did you mean 'f1_macro'"):
        choose_metrics(["f1_macor"], loss, 3)
    with pytest.raises(InputError, match="k = 0"):
        TopKAccuracy(k=0)
    with pytest.raises(InputError, match="several"):
        choose_metrics(["r2"], Quantile((0.1, 0.9)), 2)


def test_fit_reports_metrics_of_the_validation_data() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(40, 3)), rng.integers(0, 3, 40)
    model = MLP([3, 8, 3])
    names = ["f1_macro", "log_loss", TopKAccuracy(k=2)]
    history = model.fit(x, y, epochs=2, validation_data=(x, y), metrics=names, verbose=0)
    last = model.evaluate(x, y, metrics=names)
    alone = [model.evaluate(x, y, metrics=[name]) for name in names]
    assert last == {name: value for found in alone for name, value in found.items()}
    assert list(last) == ["loss", "f1_macro", "log_loss", "top_k_accuracy"]
    for name, value in last.items():
        assert history[f"val_{name}"][-1] == pytest.approx(value)


def test_lower_is_better_where_it_measures_an_error() -> None:
    lower = {name for name, metric in Metric.table.items() if not metric.higher_is_better}
    assert lower == {
        "log_loss", "brier_score", "mean_squared_error", "root_mean_squared_error",
        "mean_absolute_error",
    }  # fmt: skip


@settings(max_examples=25)
@given(seed=st.integers(0, 2**32 - 1))
def test_weights_are_repetitions_and_order_is_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, k = 12, 3
    z, y = rng.normal(size=(n, k)), np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    counts = rng.integers(1, 4, n)
    order = rng.permutation(counts.sum())
    repeated = np.repeat(np.arange(n), counts)[order]
    loss = Loss.resolve("softmax_cross_entropy")
    weighted = Results(np, loss, z, y, counts[:, None].astype(float))
    plain = Results(np, loss, z[repeated], y[repeated], None)
    for name in Metric.table:
        metric = Metric.resolve(name)
        if suits(metric, loss, k):
            a, b = metric.compute(weighted), metric.compute(plain)
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("name", list(Metric.table))
def test_metrics_on_a_device_wait_for_nothing(name: str, fake_cupy: Any) -> None:
    import fakecupy

    for loss_name, k in NETWORKS:
        loss, metric = Loss.resolve(loss_name), Metric.resolve(name)
        if not suits(metric, loss, k):
            continue
        rng = np.random.default_rng(5)
        z = rng.normal(size=(20, k)).astype(np.float32)
        y, w = targets_for(loss, k, 20, rng), rng.random((20, 1)).astype(np.float32)
        arrays = [fake_cupy.asarray(part) for part in (z, y, w)]
        before = fakecupy.counters.to_host, fakecupy.counters.synchronizations
        found = metric.compute(Results(fake_cupy, loss, *arrays))
        assert (fakecupy.counters.to_host, fakecupy.counters.synchronizations) == before
        expected = metric.compute(Results(np, loss, z, y, w))
        np.testing.assert_allclose(found.get(), expected, rtol=1e-12)


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
        (lambda: metrics.accuracy_score([1], [1], sample_weight=[-1.0]), "not negative"),
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
