"""The estimators: scikit-learn's contract, its meaning of every parameter, and what it refused."""

from __future__ import annotations

import copy
import inspect
import json
import math
import pickle
import re
import tracemalloc
import unittest
import warnings
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import scipy.sparse
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_diabetes, load_digits, load_iris
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import estimator_checks_generator

from mlpx import MLP, Callback, Dense, Dropout, History, MLPClassifier, MLPRegressor
from mlpx.errors import CheckpointError, InputError
from mlpx.estimators import settings
from mlpx.estimators.rows import SparseRows
from mlpx.estimators.runs import open_window
from mlpx.kernels.losses import Focal, Quantile, SoftmaxCrossEntropy
from mlpx.optimizers import LBFGS, AdamW
from mlpx.runs import save_run
from mlpx.schedules import Schedule
from mlpx.step import TrainingData

pytest_plugins = ["fakecupy.fixtures"]
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
XR, YR = load_diabetes(return_X_y=True)
XR, YR = XR[:150] * 20, (YR[:150] - YR.mean()) / YR.std()
LABELS = np.array(["setosa", "versicolor", "virginica"])[Y]
SMALL: dict[str, Any] = {"hidden_layer_sizes": (8,), "max_iter": 5, "random_state": 1}

CONFIGURED = {
    "classifier": MLPClassifier(),
    "classifier, lbfgs": MLPClassifier(solver="lbfgs", alpha=0.1),
    "classifier, sgd": MLPClassifier(solver="sgd", learning_rate_init=0.01),
    "classifier, ours": MLPClassifier((9, 8), ["tanh", "gelu"], solver="nadam"),
    "regressor": MLPRegressor(),
    "regressor, lbfgs": MLPRegressor(solver="lbfgs"),
    "regressor, ours": MLPRegressor("huber", solver="adamax"),
}


def checks() -> list[Any]:
    """Every check that scikit-learn yields, for every configuration."""
    return [
        pytest.param(estimator, check, id=f"{name}-{getattr(check, 'func', check).__name__}-{i}")
        for name, configured in CONFIGURED.items()
        for i, (estimator, check) in enumerate(
            estimator_checks_generator(configured, legacy=True, mark=None)
        )
    ]


@pytest.mark.parametrize(("estimator", "check"), checks())
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_contract(estimator: Any, check: Any) -> None:
    """No expected failures; two checks are of what ours and theirs have not got."""
    with suppress(NotOfOurs):
        try:
            check(estimator)
        except unittest.SkipTest as reason:
            known = re.search("SCIPY_ARRAY_API is not set|decision_function", str(reason))
            raise (NotOfOurs if known else AssertionError)(str(reason)) from None


class NotOfOurs(Exception):  # noqa: N818
    """A check of what neither our estimators nor scikit-learn's have."""


THEIRS = {
    "adam": {},
    "sgd": {"solver": "sgd", "learning_rate_init": 0.05},
    "nesterov off": {"solver": "sgd", "nesterovs_momentum": False},
    "plain sgd": {"solver": "sgd", "momentum": 0.0},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling"},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 1.0, "n_iter_no_change": 2},
    "strong penalty": {"alpha": 1.0},
    "lbfgs": {"solver": "lbfgs", "alpha": 0.1},
    "logistic": {"activation": "logistic", "hidden_layer_sizes": (7, 6)},
    "tanh": {"activation": "tanh", "batch_size": 32},
    "identity": {"activation": "identity", "shuffle": False},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "max_iter": 30},
    "epsilon": {"epsilon": 1e-2, "beta_1": 0.8, "beta_2": 0.99},
    "no hidden layer": {"hidden_layer_sizes": ()},
}


BOTH = np.stack([Y == 0, Y != 1], axis=1).astype(int)
DRAWN = np.random.default_rng(0).random(150)
WEIGHTS = {"alike": {}, "weighted": {"sample_weight": 3 * DRAWN * (DRAWN > 0.3)}}
PAIRS: dict[str, Any] = {
    "classes": (TheirClassifier, MLPClassifier, X, Y),
    "two": (TheirClassifier, MLPClassifier, X, (Y == 1).astype(int)),
    "several labels": (TheirClassifier, MLPClassifier, X, BOTH),
    "values": (TheirRegressor, MLPRegressor, XR, YR),
    "counts": (TheirRegressor, MLPRegressor, XR, np.floor(np.exp(YR))),
}


def require_weights(weights: dict[str, Any]) -> None:
    if weights and "sample_weight" not in inspect.signature(TheirClassifier.fit).parameters:
        pytest.skip("this scikit-learn is before 1.7, whose MLPs take no weights")


def warned_of(estimator: Any, x: Any, y: Any, **weights: Any) -> tuple[Any, list[str]]:
    """The estimator fitted, and the first word of each warning that it did not converge."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(x, y, **weights)
    return estimator, [str(warning.message).split()[0] for warning in caught]


@pytest.mark.parametrize("given", THEIRS.values(), ids=THEIRS)
@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_the_same_curve_weights_stop_and_warning_as_theirs(
    given: dict[str, Any], kind: str, weights: dict[str, Any]
) -> None:
    """From the same random_state, to the last digits: so replacing the import is enough."""
    require_weights(weights)
    theirs, ours, x, y = PAIRS[kind]
    options = SMALL | {"max_iter": 12} | ({"loss": "poisson"} if kind == "counts" else {}) | given
    (one, warned), (other, told) = (
        warned_of(made(**options), x, y, **weights) for made in (theirs, ours)
    )
    assert (other.n_iter_, told) == (one.n_iter_, warned)
    assert other.loss_ == pytest.approx(one.loss_, rel=1e-8)
    for name in ("loss_curve_", "validation_scores_"):
        if getattr(one, name, None) is not None:
            np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol=1e-8)
    for name in ("coefs_", "intercepts_"):
        for a, b in zip(getattr(other, name), getattr(one, name), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(other.predict(x), one.predict(x), rtol=1e-7)
    for name in ("n_layers_", "n_outputs_", "out_activation_", "t_", "n_features_in_"):
        assert getattr(other, name) == getattr(one, name), name
    if getattr(one, "best_loss_", None) is not None:
        assert other.best_loss_ == pytest.approx(one.best_loss_)


@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_stays_equal_is_no_worse_without_tolerance(early_stopping: bool) -> None:
    """So neither ends a training in which nothing moves."""
    options = SMALL | {"solver": "sgd", "learning_rate_init": 1e-300, "shuffle": False}
    options |= {"tol": 0.0, "n_iter_no_change": 1, "early_stopping": early_stopping}
    fitted = [made(**options).fit(X, Y) for made in (TheirClassifier, MLPClassifier)]
    assert [estimator.n_iter_ for estimator in fitted] == [5, 5]
    assert len(set(fitted[1].loss_curve_)) == 1


def test_several_values_are_learnt_as_theirs_and_their_losses_added_up() -> None:
    several = np.stack([YR, -YR, YR**2], axis=1)
    pair = [made(**SMALL, alpha=0.0).fit(XR, several) for made in (TheirRegressor, MLPRegressor)]
    np.testing.assert_allclose(pair[1].coefs_[0], pair[0].coefs_[0], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(pair[1].loss_curve_, 3 * np.array(pair[0].loss_curve_), rtol=1e-8)


@pytest.mark.parametrize("kind", ["classes", "values"])
def test_parts_with_weights_are_learnt_as_theirs(kind: str) -> None:
    theirs, ours, x, y = PAIRS[kind]
    require_weights({"some": DRAWN})
    first = {"classes": np.unique(y)} if kind == "classes" else {}
    pair = [made(**SMALL, batch_size=40, shuffle=False) for made in (theirs, ours)]
    for i in range(3):
        for estimator in pair:
            estimator.partial_fit(x, y, sample_weight=DRAWN**i, **(first if i == 0 else {}))
    np.testing.assert_allclose(pair[1].loss_curve_, pair[0].loss_curve_, rtol=1e-8)
    np.testing.assert_allclose(pair[1].coefs_[0], pair[0].coefs_[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("batch_size", [10, 40])
@pytest.mark.parametrize("sparse", [False, True])
def test_no_batch_is_of_rows_of_weight_zero_alone(batch_size: int, sparse: bool) -> None:
    """There scikit-learn's divide by zero. Few rows of weight are a fit of these rows."""
    w = np.zeros(len(Y))
    w[::13] = np.linspace(0.5, 2, 12)
    x = scipy.sparse.csr_array(X) if sparse else X
    options = SMALL | {"batch_size": batch_size, "shuffle": False, "max_iter": 30}
    fitted = MLPClassifier(**options, alpha=0.1).fit(x, Y, sample_weight=w)
    assert np.abs(fitted.model_.flat).max() < 10
    assert fitted.loss_ < fitted.loss_curve_[0]
    if batch_size == 10:
        alone = MLPClassifier(**options, alpha=0.1).fit(X[w > 0], Y[w > 0], w[w > 0])
        assert fitted.loss_curve_ == alone.loss_curve_


def test_a_part_without_weight_is_refused() -> None:
    w = np.zeros(len(Y))
    w[[3, 77]] = 1.0
    with pytest.raises(ValueError, match=r"zero for all 1[05]\d? rows of a part"):
        MLPClassifier(**SMALL, early_stopping=True).fit(X, Y, sample_weight=w)


def test_every_parameter_of_theirs_has_its_default() -> None:
    for ours, theirs in ((MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)):
        mine, wanted = ours().get_params(), theirs().get_params()
        assert {name: mine[name] for name in wanted} == wanted


def test_training_runs_on_the_fastest_engine() -> None:
    fitted = MLPClassifier(**SMALL).fit(X, Y)
    assert fitted.history_.engine == fitted.model_.engine
    assert fitted.history_.engine in ("native", "interpreter")
    if fitted.history_.engine == "interpreter":
        assert "not built" in fitted.history_.engine_reason


@pytest.mark.parametrize("solver", ["adam", "sgd", "lamb"])
@pytest.mark.parametrize("extra", [{}, {"dropout": 0.3}, {"learning_rate": "cosine"}])
def test_warm_start_is_exact(solver: str, extra: dict[str, Any]) -> None:
    """5 and 5 epochs are 10, bit for bit."""
    options = {"hidden_layer_sizes": (9,), "solver": solver, "random_state": 3, "tol": 0.0, **extra}
    if extra.get("learning_rate") == "cosine":
        options["learning_rate"] = Schedule.table["cosine"](1e-3, steps=50)
    whole = MLPClassifier(max_iter=10, **options).fit(X, Y)
    parts = MLPClassifier(max_iter=5, warm_start=True, **options).fit(X, Y).fit(X, Y)
    assert np.array_equal(whole.model_.flat, parts.model_.flat)
    assert whole.loss_curve_ == parts.loss_curve_


def test_partial_fit_is_one_epoch() -> None:
    one = MLPClassifier(**SMALL | {"shuffle": False, "batch_size": 150})
    for _ in range(5):
        one.partial_fit(X, Y, classes=np.arange(3))
    other = MLPClassifier(**SMALL | {"shuffle": False, "batch_size": 150}).fit(X, Y)
    np.testing.assert_allclose(one.model_.flat, other.model_.flat)
    assert not hasattr(MLPClassifier(solver="lbfgs"), "partial_fit")


@pytest.mark.parametrize("solver", ["lbfgs", "sgd"])
def test_weights_count_as_repetition(solver: str) -> None:
    times = np.random.default_rng(0).integers(0, 4, size=len(Y))
    batch = {"batch_size": int(times.sum()), "shuffle": False, "alpha": 0.0, "random_state": 1}
    options = {"hidden_layer_sizes": (5,), "solver": solver, "max_iter": 30, "tol": 1e-7}
    weighted = MLPClassifier(**options | batch | {"batch_size": len(Y)})
    repeated = MLPClassifier(**options | batch)
    weighted.fit(X, Y, sample_weight=times)
    repeated.fit(np.repeat(X, times, axis=0), np.repeat(Y, times))
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-4, atol=1e-6
    )


def test_class_weight() -> None:
    factors = {"setosa": 1.0, "versicolor": 5.0, "virginica": 0.5}
    by_class = MLPClassifier(**SMALL, class_weight=factors).fit(X, LABELS)
    by_row = MLPClassifier(**SMALL).fit(X, LABELS, sample_weight=[factors[y] for y in LABELS])
    np.testing.assert_allclose(by_class.model_.flat, by_row.model_.flat)
    few = np.r_[0:50, 50:60]
    balanced = MLPClassifier(**SMALL, class_weight="balanced").fit(X[few], Y[few])
    plain = MLPClassifier(**SMALL).fit(X[few], Y[few])
    assert balanced.predict_proba(X[few])[:, 1].mean() > plain.predict_proba(X[few])[:, 1].mean()
    with pytest.raises(ValueError, match="'rose', which is no class"):
        MLPClassifier(**SMALL, class_weight={"rose": 1.0}).fit(X, LABELS)


@pytest.mark.parametrize(
    ("weights", "told"),
    [([-1.0] + [1.0] * 149, "Negative"), ([0.0] * 150, "zero for every row"),
     ([np.nan] + [1.0] * 149, "NaN"), ([1.0] * 3, r"sample_weight.shape = \(3,\)")],
)  # fmt: skip
def test_weights_that_mean_nothing_are_refused(weights: list[float], told: str) -> None:
    for estimator, x, y in ((MLPClassifier(**SMALL), X, Y), (MLPRegressor(**SMALL), XR, YR)):
        with pytest.raises(ValueError, match=told):
            estimator.fit(x, y, sample_weight=weights)


def test_our_parts() -> None:
    fitted = MLPClassifier(
        (12, 9), ["gelu", "tanh"], dropout=[0.2, 0.0], solver=AdamW(3e-3, weight_decay=0.1),
        loss=Focal(gamma=1.0), learning_rate=Schedule.table["cosine"](0.02), max_iter=100,
        random_state=0,
    ).fit(X, Y)  # fmt: skip
    kinds = [type(layer) for layer in fitted.model_.layers]
    assert kinds == [Dense, Dropout, Dense, Dense]
    assert fitted.model_.loss == Focal(gamma=1.0)
    assert fitted.score(X, Y) > 0.9
    both = Quantile((0.1, 0.9))
    quantiles = MLPRegressor(both, max_iter=200, random_state=0).fit(XR, YR)
    low, high = quantiles.predict(XR).T
    assert 0.6 < np.mean((low < YR) & (high > YR)) <= 1
    assert MLPClassifier(solver=LBFGS(), **{**SMALL, "max_iter": 50}).fit(X, Y).score(X, Y) > 0.9


@pytest.mark.parametrize(
    ("given", "told"),
    [({"solver": "adma"}, "adma"), ({"activation": "rlu"}, "rlu"), ({"loss": "mse2"}, "mse2"),
     ({"early_stopping_metric": "acc", "early_stopping": True}, "acc"),
     ({"dropout": [0.1, 0.2]}, "2 entries for 1 hidden"), ({"dropout": 1.5}, "rate = 1.5"),
     ({"device": "gpu7"}, "gpu7"), ({"dtype": "int8"}, "int8"), ({"n_threads": 0}, "n_threads"),
     ({"class_weight": "even"}, "class_weight = 'even'"), ({"alpha": -1}, "alpha = -1"),
     ({"batch_size": "all"}, "batch_size = 'all'"),
     ({"hidden_layer_sizes": ""}, "hidden_layer_sizes = ''")],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_named(given: dict[str, Any], told: str) -> None:
    with pytest.raises((ValueError, TypeError), match=told):
        MLPClassifier(**SMALL | given).fit(X, Y)


@pytest.mark.parametrize("name", settings.RANGES)
def test_ranges_have_the_ends_that_they_say(name: str) -> None:
    *ends, brackets = settings.RANGES[name]
    for end, bracket in zip(ends, brackets, strict=True):
        with nullcontext() if bracket in "[]" else pytest.raises(InputError, match=name):
            settings.check(MLPClassifier(**{name: end}))


def test_a_keyword_that_means_something_elsewhere() -> None:
    for action, told in (
        (lambda: MLPRegressor(epochs=3), r"MLPRegressor\(\) has .*; did you mean max_iter\?"),
        (lambda: MLPClassifier(lr=1), r"did you mean learning_rate_init\?"),
        (lambda: MLPClassifier().fit(X, Y, weights=Y), r"did you mean sample_weight\?"),
        (lambda: MLPRegressor().partial_fit(X, Y, weight=Y), r"did you mean sample_weight\?"),
        (lambda: MLPClassifier().fit(X, Y, validation_data=(X, Y)), r"did you mean X_val\?"),
        (lambda: MLPRegressor((16,)).fit(X, Y), r"did you mean hidden_layer_sizes=\(16,\)\?"),
        (lambda: MLPRegressor(16).fit(X, Y), r"did you mean hidden_layer_sizes=16\?"),
    ):
        with pytest.raises(TypeError, match=told):
            action()


def test_own_validation_data_and_metric() -> None:
    options = {"max_iter": 40, "random_state": 0, "n_iter_no_change": 5}
    held = np.arange(len(Y)) % 3 == 0
    fitted = MLPClassifier(
        **options, early_stopping=True, early_stopping_metric="f1_macro", learning_rate_init=0.01
    ).fit(X[~held], LABELS[~held], X_val=X[held], y_val=LABELS[held])
    assert len(fitted.validation_loss_curve_) == fitted.n_iter_ == len(fitted.validation_scores_)
    assert fitted.best_validation_score_ == max(fitted.validation_scores_)
    from sklearn.metrics import f1_score

    again = f1_score(LABELS[held], fitted.predict(X[held]), average="macro")
    assert again == pytest.approx(fitted.best_validation_score_)  # the best epoch was put back
    watched = MLPClassifier(**options).fit(X[~held], Y[~held], X_val=X[held], y_val=Y[held])
    assert len(watched.validation_loss_curve_) == 40  # watched, not obeyed
    with pytest.raises(ValueError, match="X_val and y_val belong together"):
        MLPClassifier().fit(X, Y, X_val=X)


def test_callbacks_and_progress(capsys: pytest.CaptureFixture[str]) -> None:
    class Stop(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if epoch == 2:
                run.stop("enough")

    fitted = MLPClassifier(**SMALL | {"callbacks": [Stop()], "verbose": True}).fit(X, Y)
    assert fitted.n_iter_ == 3
    assert "Iteration 3, loss = " in capsys.readouterr().out


def test_one_class() -> None:
    fitted = MLPClassifier(**SMALL).fit(X, np.full(len(Y), "only"))
    assert np.array_equal(fitted.predict_proba(X), np.ones((len(Y), 1)))
    assert set(fitted.predict(X)) == {"only"}
    assert not fitted.predict_log_proba(X).any()


@pytest.mark.parametrize(
    "y",
    [LABELS, LABELS.astype(object), Y == 1, Y * 10 - 5, Y.astype(float), LABELS.astype("U20")],
    ids=["text", "object", "bool", "numbers", "floats", "wide text"],
)
def test_labels_come_back_as_they_were_given(y: np.ndarray) -> None:
    fitted = MLPClassifier(**SMALL | {"max_iter": 150, "learning_rate_init": 0.02}).fit(X, y)
    found = fitted.predict(X)
    assert found.dtype == y.dtype
    assert np.mean(found == y) > 0.9
    assert np.array_equal(fitted.classes_, np.unique(y))
    assert fitted.predict_proba(X).shape == (len(y), len(fitted.classes_))


def test_several_labels_and_several_values() -> None:
    labels = np.stack([Y == 0, Y != 1], axis=1).astype(int)
    fitted = MLPClassifier(max_iter=150, random_state=0).fit(X, labels)
    assert np.mean(fitted.predict(X) == labels) > 0.9
    assert fitted.predict_proba(X).shape == labels.shape
    sparse = MLPClassifier(max_iter=150, random_state=0).fit(X, scipy.sparse.csr_array(labels))
    assert np.array_equal(sparse.predict(X), fitted.predict(X))
    values = np.stack([YR, -YR, 2 * YR], axis=1)
    several = MLPRegressor(max_iter=300, random_state=0).fit(XR, values)
    assert several.predict(XR).shape == values.shape
    assert several.score(XR, values) > 0.3


@pytest.mark.parametrize("elements", [1 << 21, 240], ids=["one window", "three windows"])
@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_sparse_rows_are_as_dense_ones(
    solver: str, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpx.estimators.runs.WINDOW_ELEMENTS", elements)
    x, options = X * (np.abs(X) > 0.5), SMALL | {"solver": solver, "batch_size": 20}
    fits = []
    for given in (x, scipy.sparse.csr_matrix(x), scipy.sparse.csr_array(x)):
        fits.append(MLPClassifier(**options).fit(given, Y))
    for other in fits[1:]:
        np.testing.assert_allclose(other.model_.flat, fits[0].model_.flat, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(other.predict_proba(fits[0] and x), fits[0].predict_proba(x))
    np.testing.assert_allclose(
        fits[1].predict_proba(scipy.sparse.csc_array(x)), fits[0].predict_proba(x), rtol=1e-6
    )


@pytest.mark.parametrize("n", [60, 1500])
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_sparse_rows_are_validated_as_dense_ones(kind: Any, n: int) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(n, 5)), np.arange(n) % 2
    fits = []
    for given in (x, scipy.sparse.csr_matrix(x)):
        stopping = kind(**{**SMALL, "early_stopping": True}).fit(given, y)
        validated = clone(stopping).set_params(early_stopping=False)
        validated.fit(given, y, X_val=given[: n - 7], y_val=y[: n - 7])
        fits.append((stopping, validated))
    for dense, sparse in zip(*fits, strict=True):
        np.testing.assert_allclose(sparse.model_.flat, dense.model_.flat, rtol=1e-12)
        np.testing.assert_allclose(
            sparse.validation_scores_, dense.validation_scores_, rtol=1e-12, atol=1e-12
        )


def test_sparse_rows_are_never_all_dense() -> None:
    n, d = 4000, 5000
    x = scipy.sparse.random_array(
        (n, d), density=1e-3, format="csr", rng=np.random.default_rng(0), dtype=np.float32
    )
    y = np.arange(n) % 2
    fitted = MLPClassifier((4,), max_iter=1, dtype="float32", random_state=0)
    tracemalloc.start()
    try:
        fitted.fit(x, y).predict(x)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.7 * 4 * n * d  # dense it would be 80 MB, and a copy as much again


def test_a_window_has_whole_batches_and_no_more_than_there_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = SparseRows(scipy.sparse.csr_array(X), np.dtype(np.float32))
    source = TrainingData(rows, np.asarray(Y, np.int64), None)
    for elements, wanted in ((1 << 21, 160), (250, 60), (1, 20)):  # 150 rows of four columns
        monkeypatch.setattr("mlpx.estimators.runs.WINDOW_ELEMENTS", elements)
        assert open_window(MLP([4, 3]), source, 20).rows == wanted


def test_frames_have_names_that_are_checked() -> None:
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    names = ["a", "b", "c", "d"]
    for library in (pandas, polars):
        frame = library.DataFrame({name: X[:, i] for i, name in enumerate(names)})
        fitted = MLPClassifier(**SMALL).fit(frame, library.Series(LABELS.tolist()))
        assert list(fitted.feature_names_in_) == names
        fitted.predict(frame)
        with pytest.raises(ValueError, match="feature names"):
            fitted.predict(frame[["b", "a", "c", "d"]])
        with pytest.warns(UserWarning, match="valid feature names"):
            fitted.predict(X)


def test_they_stand_where_scikit_learns_do() -> None:
    quick = MLPClassifier(**SMALL | {"max_iter": 60, "learning_rate_init": 0.01})
    assert cross_val_score(quick, X, LABELS, cv=3).mean() > 0.8
    piped = make_pipeline(make_column_transformer((StandardScaler(), [0, 1, 2, 3])), quick)
    assert piped.fit(X, LABELS).score(X, LABELS) > 0.9
    calibrated = CalibratedClassifierCV(quick, cv=3).fit(X, LABELS)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)
    voting = VotingClassifier([("a", quick), ("b", clone(quick))], voting="soft").fit(X, LABELS)
    assert voting.score(X, LABELS) > 0.9
    assert "MLPClassifier" in quick._repr_html_()
    assert "dropout" in repr(MLPClassifier(dropout=0.5))
    encoded = make_pipeline(OneHotEncoder(), quick).fit(LABELS[:, None], LABELS)
    assert encoded.score(LABELS[:, None], LABELS) == 1


def test_grid_search_in_two_processes() -> None:
    search = GridSearchCV(
        MLPClassifier(**SMALL | {"max_iter": 30, "learning_rate_init": 0.01}),
        {"dropout": [0.0, 0.1], "hidden_layer_sizes": [(4,), (8,)]}, cv=2, n_jobs=2,
    ).fit(X, Y)  # fmt: skip
    assert search.best_score_ > 0.7


def test_a_worker_uses_the_threads_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    """joblib gives each of its workers a share of the processors through OMP_NUM_THREADS."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert MLPClassifier()._threads() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert MLPClassifier()._threads() is None
    assert MLPClassifier(n_threads=3)._threads() == 3


def test_weights_are_routed() -> None:
    weights = np.linspace(0.1, 1, len(Y))
    with config_context(enable_metadata_routing=True):
        routed = MLPClassifier(**SMALL).set_fit_request(sample_weight=True)
        piped = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), routed).fit(
            X, Y, sample_weight=weights
        )
    alone = MLPClassifier(**SMALL).fit(StandardScaler().fit_transform(X), Y, weights)
    assert np.array_equal(piped[-1].model_.flat, alone.model_.flat)


@pytest.mark.parametrize("how", ["pickle", "joblib", "deepcopy"])
def test_copies_predict_and_go_on_alike(how: str, tmp_path: Path) -> None:
    fitted = MLPClassifier(**SMALL, warm_start=True).fit(X, LABELS)
    fitted.predict(X)  # leaves its caches
    if how == "pickle":
        other = pickle.loads(pickle.dumps(fitted))
    elif how == "deepcopy":
        other = copy.deepcopy(fitted)
    else:
        joblib.dump(fitted, tmp_path / "fitted.joblib")
        other = joblib.load(tmp_path / "fitted.joblib")
    assert np.array_equal(other.predict_proba(X), fitted.predict_proba(X))
    assert np.array_equal(other.fit(X, LABELS).model_.flat, fitted.fit(X, LABELS).model_.flat)


def test_a_model_of_a_gpu_unpickles_without_one(fake_cupy: Any) -> None:
    fitted = MLPClassifier(**SMALL, device="cuda").fit(X, LABELS)
    assert fitted.model_.device == "cuda:0"
    wanted = fitted.predict_proba(X)
    kept = pickle.dumps(fitted)
    assert pickle.loads(kept).model_.device == "cuda:0"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mlpx.model.get_backend", _without_gpu)
        other = pickle.loads(kept)
    assert other.model_.device == "cpu"
    other.device = None
    np.testing.assert_allclose(other.predict_proba(X), wanted, rtol=1e-6)


def _without_gpu(device: Any = None) -> Any:
    from mlpx.backend import get_backend
    from mlpx.errors import DeviceError

    if str(device).startswith("cuda"):
        raise DeviceError("no CUDA device here")
    return get_backend("cpu")


def test_arrays_of_a_device_stay_there(fake_cupy: Any) -> None:
    """Also where some rows are held out, and those that weigh nothing left out."""
    x, w = fake_cupy.asarray(X), (np.arange(len(Y)) % 5 == 0) * 1.0
    options = SMALL | {"early_stopping": True, "batch_size": 3, "max_iter": 2}
    fitted = MLPClassifier(**options, device="cuda").fit(x, fake_cupy.asarray(Y), w)
    found = fitted.predict_proba(x)
    assert type(found) is type(x)
    assert type(fitted.predict(x)) is type(x)
    wanted = MLPClassifier(**options).fit(X, Y, w)
    np.testing.assert_allclose(found.get(), wanted.predict_proba(X), rtol=1e-6)
    np.testing.assert_allclose(fitted.loss_curve_, wanted.loss_curve_, rtol=1e-6)


def test_tensors_come_back_as_tensors() -> None:
    torch = pytest.importorskip("torch", reason="no GPU stack: PyTorch is not installed")
    fitted = MLPClassifier(**SMALL).fit(torch.from_numpy(X), torch.from_numpy(Y))
    assert isinstance(fitted.predict_proba(torch.from_numpy(X)), torch.Tensor)


# Run folders.


@pytest.mark.parametrize("y", [LABELS, Y, Y == 1, np.eye(3, dtype=int)[Y]])
def test_a_classifier_comes_back_from_its_folder(y: np.ndarray, tmp_path: Path) -> None:
    options = SMALL | {"warm_start": True, "dropout": 0.1, "solver": AdamW(1e-3)}
    fitted = MLPClassifier(**options).fit(X, y)
    fitted.save(tmp_path / "run")
    other = MLPClassifier.from_run(tmp_path / "run")
    assert other.get_params() == fitted.get_params()
    assert np.array_equal(other.predict(X), fitted.predict(X))
    assert other.predict(X).dtype == fitted.predict(X).dtype
    for name in ("loss_curve_", "n_iter_", "t_", "best_loss_", "classes_", "n_features_in_"):
        assert np.array_equal(getattr(other, name), getattr(fitted, name)), name
    assert np.array_equal(other.fit(X, y).model_.flat, fitted.fit(X, y).model_.flat)


def test_a_regressor_comes_back_from_its_folder(tmp_path: Path) -> None:
    fitted = MLPRegressor("huber", **SMALL, early_stopping=True).fit(XR, YR)
    fitted.save(tmp_path)
    other = MLPRegressor.from_run(tmp_path)
    assert np.array_equal(other.predict(XR), fitted.predict(XR))
    assert other.validation_scores_ == fitted.validation_scores_
    with pytest.raises(CheckpointError, match=r"use MLPRegressor\.from_run"):
        MLPClassifier.from_run(tmp_path)


def test_the_command_line_reads_what_an_estimator_saved(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mlpx.cli import app

    fitted = MLPClassifier(**SMALL).fit(X, Y)
    fitted.save(tmp_path / "run")
    np.save(tmp_path / "rows.npy", X)
    said = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), str(tmp_path / "rows.npy")])
    assert said.exit_code == 0, said.output
    assert [int(line) for line in said.output.split()] == fitted.predict(X).tolist()


def test_an_estimator_reads_what_the_command_line_trained(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from mlpx.cli import app

    run = tmp_path / "run"
    told = CliRunner().invoke(
        app, ["train", "digits", "--epochs", "5", "--hidden", "30,20", "--out", str(run)]
    )
    assert told.exit_code == 0, told.output
    digits = load_digits()
    fitted = MLPClassifier.from_run(run)
    assert fitted.hidden_layer_sizes == (30, 20)
    assert fitted.score(digits.data, digits.target) > 0.8
    assert np.array_equal(
        fitted.predict(digits.data), MLP.load(run / "model.safetensors").predict(digits.data)
    )
    before = fitted.score(digits.data, digits.target)
    for _ in range(20):
        fitted.partial_fit(digits.data, digits.target)
    assert fitted.score(digits.data, digits.target) > before  # with the scaling it was trained with
    with pytest.raises(CheckpointError, match=r"use MLPClassifier\.from_run"):
        MLPRegressor.from_run(run)


def test_an_estimator_reads_a_run_that_was_stopped_in_its_first_epoch(tmp_path: Path) -> None:
    model = MLP([X.shape[1], 5, 3])
    model.save(tmp_path / "model.safetensors")
    save_run(tmp_path, model, history=History(stop_reason="interrupted"), config={})
    fitted = MLPClassifier.from_run(tmp_path)
    assert (fitted.n_iter_, fitted.loss_curve_, fitted.best_loss_) == (0, [], math.inf)
    assert np.array_equal(fitted.predict(X), model.predict(X))
    fitted.partial_fit(X, Y)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == 1


def test_an_estimator_whose_fit_was_broken_off_is_saved_as_it_is(tmp_path: Path) -> None:
    class Broken(Callback):
        def on_check(self, run: Any) -> None:
            raise RuntimeError("asked to")

    fitted = MLPClassifier(**SMALL, callbacks=[Broken()])
    with pytest.raises(RuntimeError, match="asked to"):
        fitted.fit(X, Y)
    fitted.save(tmp_path / "run")
    again = MLPClassifier.from_run(tmp_path / "run")
    assert np.array_equal(again.predict_proba(X), fitted.predict_proba(X))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match=r"letter\.txt"):
        MLPClassifier(**SMALL).fit(X, Y).save(tmp_path)
    with pytest.raises(CheckpointError):
        MLPClassifier.from_run(tmp_path)
    with pytest.raises(NotFittedError):
        MLPClassifier().save(tmp_path / "new")


def test_a_broken_folder_is_named(tmp_path: Path) -> None:
    MLPClassifier(**SMALL).fit(X, Y).save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["estimator"]["draws"] = {"words": [1, 2]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="holds no MLPClassifier"):
        MLPClassifier.from_run(tmp_path)


def test_before_fit_everything_says_so() -> None:
    for call in ("predict", "predict_proba", "predict_log_proba"):
        with pytest.raises(NotFittedError):
            getattr(MLPClassifier(), call)(X)
    with pytest.raises(AttributeError, match="before fit"):
        _ = MLPClassifier().coefs_


def test_divergence_is_refused() -> None:
    wild = MLPRegressor(solver="sgd", learning_rate_init=1e10, max_iter=50)
    with pytest.raises(ValueError, match="non-finite"), pytest.warns(RuntimeWarning):
        wild.fit(XR * 1e150, YR)


def test_without_scikit_learn_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess
    import sys

    code = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import mlpx\n"
        "try:\n    mlpx.MLPClassifier\n"
        "except ImportError as error:\n    print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mlpx[sklearn]" in said.stdout


@pytest.mark.parametrize("scale", [1e-46, 1e300])
def test_weights_count_by_their_ratios_unless_alpha_counts_them(scale: float) -> None:
    w = np.random.default_rng(0).random(len(Y)) + 0.1
    options = {**SMALL, "dtype": "float32", "alpha": 0.0}
    wanted, found = (
        MLPClassifier(**options).fit(X, Y, sample_weight=each) for each in (w, w * scale)
    )
    np.testing.assert_allclose(found.coefs_[0], wanted.coefs_[0], rtol=1e-4, atol=1e-6)
    assert found.loss_ == pytest.approx(wanted.loss_, rel=1e-5)
    with pytest.raises(InputError, match=r"an estimator's alpha.*give weights around 1"):
        MLPClassifier(**{**options, "alpha": 1e-4}).fit(X, Y, sample_weight=w * scale)


def test_few_heavy_rows_among_light_ones_are_the_same_at_every_scale() -> None:
    """Whether a row weighs something is asked of the weights as the network has them."""
    w = np.where(np.arange(len(Y)) % 20, 0.01, 1.0)
    options = {**SMALL, "dtype": "float32", "alpha": 0.0, "batch_size": 10}
    curves = [
        MLPClassifier(**options).fit(X, Y, sample_weight=w * scale).loss_curve_
        for scale in (1, 1e-37, 1e-40, 1e30)
    ]
    np.testing.assert_allclose(curves[1:], [curves[0]] * 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "fine", "alike"),
    [("beta_1", 0.0, False), ("max_iter", 1, True), ("max_iter", 1, 1.0), ("shuffle", True, 1),
     ("hidden_layer_sizes", (1,), (True,)), ("hidden_layer_sizes", (1,), (1.0,))],
)  # fmt: skip
def test_what_equals_a_parameter_that_was_fine_is_refused(name: str, fine: Any, alike: Any) -> None:
    MLPClassifier(**{**SMALL, name: fine}).fit(X, Y)
    with pytest.raises(TypeError, match=name):
        MLPClassifier(**{**SMALL, name: alike}).fit(X, Y)


@pytest.mark.parametrize("name", ["hidden_layer_sizes", "activation", "dropout"])
def test_a_parameter_that_is_changed_in_place_is_seen(name: str) -> None:
    values: dict[str, Any] = {
        "hidden_layer_sizes": [8], "activation": ["relu"], "dropout": [0.0]
    }  # fmt: skip
    model = MLPClassifier(**values, max_iter=1, random_state=0).fit(X, Y)
    other = {"hidden_layer_sizes": 9, "activation": "tanh", "dropout": 0.5}[name]
    values[name][0] = other
    wanted = MLPClassifier(**values, max_iter=1, random_state=0).fit(X, Y)
    assert model.fit(X, Y).model_.layers == wanted.model_.layers
    np.testing.assert_array_equal(model.predict_proba(X), wanted.predict_proba(X))


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.parametrize("form", [np.asarray, scipy.sparse.csr_matrix])
def test_nan_that_scikit_learn_assumes_away_undoes_no_training(kind: Any, form: Any) -> None:
    model = kind(**SMALL).fit(X, Y)
    before, bad = model.model_.flat.copy(), X.copy()
    bad[3, 1] = np.nan
    with config_context(assume_finite=True):
        for learn in (model.partial_fit, clone(model).fit):
            with pytest.raises(ValueError, match="X has nan at row"):
                learn(form(bad), Y)
    np.testing.assert_array_equal(model.model_.flat, before)


def test_rows_of_the_ignored_label_alone_are_refused() -> None:
    loss = SoftmaxCrossEntropy(ignore_label=1)
    model = MLPClassifier(**SMALL, loss=loss).partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match="ignore_label = 1 in every row"):
        model.partial_fit(X[Y == 1], Y[Y == 1])


def test_labels_beyond_the_known_are_refused_by_partial_fit() -> None:
    model = MLPClassifier(**SMALL).partial_fit(X, Y, classes=[0, 1, 2])
    for unknown in (-1, 3):
        with pytest.raises(ValueError, match="classes not in"):
            model.partial_fit(X, np.where(Y == 1, unknown, Y))
    assert model.t_ == len(X)
    several = MLPClassifier(**SMALL).partial_fit(X, BOTH, classes=[0, 1])
    for y in (np.hstack([BOTH, BOTH]), BOTH[:, 0]):
        with pytest.raises(ValueError, match=r"y.shape = .*; wanted \(n, 2\) labels"):
            several.partial_fit(X, y)


def test_a_batch_of_more_rows_than_there_are_is_clipped() -> None:
    options = SMALL | {"hidden_layer_sizes": 8}
    whole = MLPClassifier(**options, batch_size=len(X)).fit(X, Y)
    with pytest.warns(UserWarning, match="going to be clipped"):
        more = MLPClassifier(**options, batch_size=len(X) + 1).fit(X, Y)
    assert more.loss_curve_ == whole.loss_curve_
    assert MLPClassifier(**options).fit(X[:50], Y[:50]).n_iter_ == 5  # "auto" says nothing
