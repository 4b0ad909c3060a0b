"""The estimators against scikit-learn's: same parameters and random draws, same fit."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np
import pytest
from bundled import BOTH, DRAWN, LABELS, SMALL, XR, YR, X, Y
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.ensemble import VotingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.neural_network import MLPClassifier as TheirClassifier
from sklearn.neural_network import MLPRegressor as TheirRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from mlpx import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


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
WEIGHTS: list[dict[str, Any]] = [{}]
if "sample_weight" in inspect.signature(TheirClassifier.fit).parameters:  # since 1.7
    WEIGHTS.append({"sample_weight": 3 * DRAWN * (DRAWN > 0.3)})
PAIRS: dict[str, Any] = {
    "classes": (TheirClassifier, MLPClassifier, X, Y),
    "two": (TheirClassifier, MLPClassifier, X, (Y == 1).astype(int)),
    "several labels": (TheirClassifier, MLPClassifier, X, BOTH),
    "values": (TheirRegressor, MLPRegressor, XR, YR),
    "counts": (TheirRegressor, MLPRegressor, XR, np.floor(np.exp(YR))),
}


def warned_of(estimator: Any, x: Any, y: Any, **weights: Any) -> tuple[Any, list[str]]:
    """The fitted estimator, and the first word of each convergence warning."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        estimator.fit(x, y, **weights)
    return estimator, [str(warning.message).split()[0] for warning in caught]


@pytest.mark.parametrize("given", THEIRS.values(), ids=THEIRS)
def test_the_same_curve_weights_stop_and_warning_as_theirs(given: dict[str, Any]) -> None:
    """From the same random_state, to the last digits: so replacing the import is enough."""
    for kind in PAIRS:
        for weights in WEIGHTS:
            compare(given, kind, weights)


def compare(given: dict[str, Any], kind: str, weights: dict[str, Any]) -> None:
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


@pytest.mark.parametrize("given", [{"tol": 1e6}, {"max_fun": 4, "alpha": 0.1}, {"max_iter": 1}])
def test_lbfgs_that_ends_early_says_and_keeps_what_theirs_does(given: dict[str, Any]) -> None:
    """Before the first step, between two, after the first."""
    for weights in WEIGHTS:
        compare({"solver": "lbfgs", **given}, "values", weights)


def test_lbfgs_ends_where_theirs_finds_that_the_loss_falls_no_more() -> None:
    given = {"solver": "lbfgs", "hidden_layer_sizes": (), "max_iter": 500, "tol": 0.0}
    compare(given, "values", {})


@pytest.mark.parametrize("early_stopping", [False, True])
def test_what_stays_equal_is_no_worse_without_tolerance(early_stopping: bool) -> None:
    """So neither stops a training in which nothing changes."""
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
    if len(WEIGHTS) == 1:
        pytest.skip("this scikit-learn is before 1.7, whose MLPs take no weights")
    first = {"classes": np.unique(y)} if kind == "classes" else {}
    pair = [made(**SMALL, batch_size=40, shuffle=False) for made in (theirs, ours)]
    for i in range(3):
        for estimator in pair:
            estimator.partial_fit(x, y, sample_weight=DRAWN**i, **(first if i == 0 else {}))
    np.testing.assert_allclose(pair[1].loss_curve_, pair[0].loss_curve_, rtol=1e-8)
    np.testing.assert_allclose(pair[1].coefs_[0], pair[0].coefs_[0], rtol=1e-6, atol=1e-9)


def test_every_parameter_of_theirs_has_its_default() -> None:
    for ours, theirs in ((MLPClassifier, TheirClassifier), (MLPRegressor, TheirRegressor)):
        mine, wanted = ours().get_params(), theirs().get_params()
        assert {name: mine[name] for name in wanted} == wanted


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


@pytest.mark.slow  # each process imports all of it
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
