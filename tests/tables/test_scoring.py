"""Scores are scikit-learn's, and their intervals as wide as theory says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn import metrics

from mlpx.errors import InputError
from mlpx.tables import scoring
from mlpx.tables.resampling import Resamples
from mlpx.tables.scoring import Ranked, Score, score, score_classes, score_quantiles, score_values

RNG = np.random.default_rng(3)


def classified(n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(k)
    y = rng.integers(0, k, n)
    z = rng.normal(size=(n, k)).round(1)  # with ties
    z[np.arange(n), y] += 1.0
    p = np.exp(z)
    return y, p / p.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("k", [2, 4])
def test_scores_of_classes_are_those_of_scikit_learn(k: int) -> None:
    y, p = classified(200, k)
    found = score_classes(y, p)
    wanted = {
        "accuracy": metrics.accuracy_score(y, p.argmax(axis=1)),
        "balanced_accuracy": metrics.balanced_accuracy_score(y, p.argmax(axis=1)),
        "log_loss": metrics.log_loss(y, p),
        "brier_score": metrics.brier_score_loss(y, p),
        "roc_auc": metrics.roc_auc_score(y, p[:, 1] if k == 2 else p, multi_class="ovr"),
    }
    assert {name: each.value for name, each in found.items()} == pytest.approx(wanted, rel=1e-12)
    assert all(each.low < each.value < each.high for each in found.values())
    assert [each.higher_is_better for each in found.values()] == [True, True, False, False, True]


def test_scores_of_values_are_those_of_scikit_learn() -> None:
    y = 1e4 + RNG.normal(size=100)
    predicted = (y + 0.3 * RNG.normal(size=100)).astype(np.float64)
    found = score(y, predicted)
    wanted = {
        "root_mean_squared_error": metrics.root_mean_squared_error(y, predicted),
        "mean_absolute_error": metrics.mean_absolute_error(y, predicted),
        "r2": metrics.r2_score(y, predicted),
    }
    assert {name: each.value for name, each in found.items()} == pytest.approx(wanted, rel=1e-9)
    assert all(each.low < each.value < each.high for each in found.values())


def test_the_score_of_quantiles_is_that_of_scikit_learn() -> None:
    y, q = RNG.normal(size=200), (0.1, 0.5, 0.8)
    predicted = np.sort(RNG.normal(size=(200, 3)), axis=1)
    (found,) = score_quantiles(y, predicted, quantiles=q).values()
    each = [metrics.mean_pinball_loss(y, predicted[:, j], alpha=alpha) for j, alpha in enumerate(q)]
    assert found.value == pytest.approx(np.mean(each), rel=1e-12)
    assert found.low < found.value < found.high
    assert not found.higher_is_better
    with pytest.raises(InputError, match=r"wanted \(n,\) and \(n, 2\)"):
        score_quantiles(y, predicted, quantiles=(0.1, 0.5))


@pytest.mark.parametrize("name", ["accuracy", "balanced_accuracy", "log_loss", "roc_auc"])
def test_a_draw_scores_what_its_rows_score(name: str) -> None:
    y, p = classified(60, 3)
    resamples = Resamples.of(60, count=20)
    rows = [np.repeat(np.arange(60), times.astype(int)) for times in resamples.times]
    drawn = [score_classes(y[at], p[at])[name].value for at in rows]
    found = score_classes(y, p, resamples=resamples)[name].draws
    np.testing.assert_allclose(found, drawn, rtol=1e-9)


def test_a_draw_of_values_scores_what_its_rows_score() -> None:
    y, predicted = RNG.normal(size=40), RNG.normal(size=40)
    resamples = Resamples.of(40, count=20)
    rows = [np.repeat(np.arange(40), times.astype(int)) for times in resamples.times]
    for name, found in score_values(y, predicted, resamples=resamples).items():
        drawn = [score_values(y[at], predicted[at])[name].value for at in rows]
        np.testing.assert_allclose(found.draws, drawn, rtol=1e-9)


def test_an_interval_is_as_wide_as_that_of_a_share() -> None:
    y, p = classified(4000, 2)
    found = score_classes(y, p)["accuracy"]
    half = 1.96 * math.sqrt(found.value * (1 - found.value) / 4000)
    assert found.high - found.low == pytest.approx(2 * half, rel=0.1)


def test_areas_by_placement_are_close_to_those_ranked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    y, p = classified(3000, 2)
    resamples = Resamples.of(3000, count=200)
    exact = score_classes(y, p, resamples=resamples)["roc_auc"]
    monkeypatch.setattr(scoring, "RANKED_ANEW", 100)
    near = score_classes(y, p, resamples=resamples)["roc_auc"]
    assert near.value == exact.value
    assert abs(near.draws - exact.draws).mean() < 0.05 * exact.draws.std()
    assert not np.array_equal(near.draws, exact.draws)


def test_an_area_needs_both_kinds() -> None:
    found = score_classes(np.zeros(5, int), np.full((5, 2), 0.5))
    assert math.isnan(found["roc_auc"].value)
    assert math.isnan(found["roc_auc"].low)
    assert found["accuracy"].value == 1.0
    ranked = Ranked(np.array([True, False, False]), np.array([0.5, 0.1, 0.9]))
    areas = ranked.areas(np.array([[1, 1, 1], [1, 2, 0], [0, 1, 1]], np.float32))
    np.testing.assert_array_equal(areas, [0.5, 1.0, math.nan])


def test_a_class_without_rows_is_left_out_of_means() -> None:
    y, p = classified(80, 3)
    y[y == 2] = 0
    found = score_classes(y, p)
    recalls = [(p.argmax(axis=1) == y)[y == j].mean() for j in (0, 1)]
    assert found["balanced_accuracy"].value == pytest.approx(np.mean(recalls))
    areas = [metrics.roc_auc_score(y == j, p[:, j]) for j in (0, 1)]
    assert found["roc_auc"].value == pytest.approx(np.mean(areas))


def test_a_difference_is_made_draw_by_draw() -> None:
    y, p = classified(500, 2)
    better, worse = score_classes(y, p), score_classes(y, 0.8 * p + 0.1)
    found = better["log_loss"].minus(worse["log_loss"])
    assert found.value == better["log_loss"].value - worse["log_loss"].value
    assert found.high < 0  # the intervals of the two overlap all the same
    assert better["log_loss"].high > worse["log_loss"].low
    with pytest.raises(InputError, match="not of one metric"):
        better["log_loss"].minus(worse["accuracy"])


def test_other_shapes_are_refused() -> None:
    with pytest.raises(InputError, match=r"wanted \(n,\) and \(n, k\)"):
        score_classes(np.zeros(3, int), np.zeros((4, 2)))
    with pytest.raises(InputError, match=r"not \(n,\)"):
        score_values(np.zeros(3), np.zeros(4))


def test_a_score_reads_as_a_line_and_as_json() -> None:
    found = Score("accuracy", 0.85216, 0.8471, 0.85699, np.zeros(3))
    assert str(found) == "0.8522 (0.8471 to 0.857)"
    assert found.as_dict() == {"value": 0.85216, "low": 0.8471, "high": 0.85699}
