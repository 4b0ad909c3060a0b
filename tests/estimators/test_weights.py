"""Weights of rows and of classes, as the estimators take them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from bundled import BOTH, LABELS, SMALL, XR, YR, X, Y
from sklearn import config_context
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlpx import MLPClassifier, MLPRegressor
from mlpx.errors import InputError
from mlpx.estimators.feeding import enough_weighing, spread, weighing

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("batch_size", [10, 40])
@pytest.mark.parametrize("sparse", [False, True])
def test_no_batch_is_of_rows_of_weight_zero_alone(batch_size: int, sparse: bool) -> None:
    """There scikit-learn divides by zero. With few weighted rows, the fit is one of these alone."""
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


def test_rows_that_weigh_are_spread_over_the_batches() -> None:
    """Taken from the batches with most of them, and no more than are needed."""
    order, starts = np.arange(20)[::-1], np.arange(0, 20, 4)
    weighs = np.isin(np.arange(20), order[[2, 9, 10, 16, 17, 19]])  # in five batches 1, 0, 2, 0, 3
    wanted = order.copy()
    wanted[[4, 16, 12, 9]] = order[[16, 4, 9, 12]]
    assert spread(order, weighs, starts).tolist() == wanted.tolist()
    assert order.tolist() == list(range(20))[::-1]
    w = np.where(np.arange(len(Y)) < 12, 1.0, 0.0)  # all in the first batch of four
    options = SMALL | {"batch_size": 40, "shuffle": False, "max_iter": 30}
    fitted = MLPClassifier(**options, alpha=0.1).fit(X, Y, sample_weight=w)
    assert np.abs(fitted.model_.flat).max() < 10


def test_rows_are_left_out_only_where_a_batch_would_have_none_that_weighs() -> None:
    w = np.array([0.0, 1e-39, np.finfo("float32").tiny, 0.0, 1.0, 0.0], "float32")
    assert weighing(w).tolist() == [False, False, True, False, True, False]
    x, y = np.arange(12.0).reshape(6, 2), np.arange(6)
    for rows, kept in ((3, [0, 1, 2, 3, 4, 5]), (2, [2, 4])):
        found = enough_weighing(x, y, w, batch_rows=rows)
        assert [part.tolist() for part in found] == [x[kept].tolist(), kept, w[kept].tolist()]


def test_one_number_weighs_every_row() -> None:
    found, wanted = (
        MLPClassifier(**SMALL).fit(X, Y, sample_weight=w) for w in (2, np.full(len(Y), 2.0))
    )
    assert np.array_equal(found.model_.flat, wanted.model_.flat)


def test_a_part_without_weight_is_refused() -> None:
    w = np.zeros(len(Y))
    w[[3, 77]] = 1.0
    with pytest.raises(ValueError, match=r"zero for all 1[05]\d? rows of a part"):
        MLPClassifier(**SMALL, early_stopping=True).fit(X, Y, sample_weight=w)


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
    with pytest.raises(ValueError, match="'rose', which is not a class"):
        MLPClassifier(**SMALL, class_weight={"rose": 1.0}).fit(X, LABELS)
    with pytest.raises(ValueError, match="'setosa'] = -1; wanted a number from 0"):
        MLPClassifier(**SMALL, class_weight={"setosa": -1}).fit(X, LABELS)
    with pytest.raises(ValueError, match="class_weight leave every weight at zero"):
        MLPClassifier(**SMALL, class_weight={0: 0, 1: 0, 2: 0}).fit(X, Y)
    with pytest.raises(ValueError, match="with several labels use sample_weight"):
        MLPClassifier(**SMALL, class_weight="balanced").fit(X, BOTH)


@pytest.mark.parametrize(
    ("weights", "told"),
    [([-1.0] + [1.0] * 149, "Negative"), ([0.0] * 150, "zero for every row"),
     ([np.nan] + [1.0] * 149, "NaN"), ([1.0] * 3, r"sample_weight.shape = \(3,\)")],
)  # fmt: skip
def test_weights_that_mean_nothing_are_refused(weights: list[float], told: str) -> None:
    for estimator, x, y in ((MLPClassifier(**SMALL), X, Y), (MLPRegressor(**SMALL), XR, YR)):
        with pytest.raises(ValueError, match=told):
            estimator.fit(x, y, sample_weight=weights)


def test_weights_are_routed() -> None:
    weights = np.linspace(0.1, 1, len(Y))
    with config_context(enable_metadata_routing=True):
        routed = MLPClassifier(**SMALL).set_fit_request(sample_weight=True)
        piped = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), routed).fit(
            X, Y, sample_weight=weights
        )
    alone = MLPClassifier(**SMALL).fit(StandardScaler().fit_transform(X), Y, weights)
    assert np.array_equal(piped[-1].model_.flat, alone.model_.flat)


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
    """Whether a row counts is decided by its weight in the network's dtype."""
    w = np.where(np.arange(len(Y)) % 20, 0.01, 1.0)
    options = {**SMALL, "dtype": "float32", "alpha": 0.0, "batch_size": 10}
    curves = [
        MLPClassifier(**options).fit(X, Y, sample_weight=w * scale).loss_curve_
        for scale in (1, 1e-37, 1e-40, 1e30)
    ]
    np.testing.assert_allclose(curves[1:], [curves[0]] * 3, rtol=1e-5)
