"""Every metric of the table against scikit-learn, on every network that it suits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scikit_learn_metrics import theirs

from mlpx import MLP, metrics
from mlpx.errors import InputError, UnknownNameError
from mlpx.kernels.losses import Loss, Quantile
from mlpx.metrics import Metric, Results, TopKAccuracy, choose_metrics

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
