"""Options of the estimators about best weights, held-out rows and random draws."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse
from bundled import SMALL, XR, YR, X, Y

from mlpx import MLPClassifier, MLPRegressor
from mlpx.backend.cpu import usable_cores
from mlpx.estimators import feeding as runs
from mlpx.optimizers import SGD

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
WORSE = {"X_val": XR, "y_val": -5 * YR}
"""Data on which every epoch is worse than the one before."""


@pytest.mark.parametrize(
    ("given", "held", "kept"),
    [({"early_stopping": True}, WORSE, 1),
     ({"early_stopping": True, "restore_best": False}, WORSE, 5), ({}, WORSE, 5),
     ({"restore_best": True}, WORSE, 1), ({"restore_best": True}, {}, 5)],
)  # fmt: skip
def test_the_best_epoch_is_put_back_where_it_was_asked_for(
    given: dict[str, Any], held: dict[str, Any], kept: int
) -> None:
    fitted = MLPRegressor(**SMALL, **given).fit(XR, YR, **held)
    wanted = MLPRegressor(**SMALL | {"max_iter": kept}).fit(XR, YR)
    assert np.array_equal(fitted.model_.flat, wanted.model_.flat)
    assert fitted.n_iter_ == 5


def test_learning_goes_on_from_the_last_epoch_not_from_the_best() -> None:
    whole = MLPRegressor(**SMALL | {"max_iter": 10}).fit(XR, YR)
    parts = MLPRegressor(**SMALL, early_stopping=True, warm_start=True)
    first = parts.fit(XR, YR, **WORSE).model_.flat.copy()
    assert parts.fit(XR, YR, **WORSE).loss_curve_ == whole.loss_curve_
    assert np.array_equal(parts.model_.flat, first)  # the best is still that of the first fit


def test_iterations_are_those_of_the_last_fit() -> None:
    fitted = MLPClassifier(**SMALL, warm_start=True)
    for fits in (1, 2):
        fitted.fit(X, Y)
        assert (fitted.n_iter_, len(fitted.loss_curve_)) == (5, 5 * fits)


@pytest.mark.parametrize(
    ("given", "y", "part", "told"),
    [({"early_stopping": True}, YR, True, "partial_fit does not support early_stopping=True"),
     ({}, None, False, "This MLPRegressor estimator requires y to be passed"),
     ({"early_stopping": True, "validation_fraction": 0.005}, YR, False,
      "validation set is too small: 1 of 150 rows, wanted 2")],
)  # fmt: skip
def test_a_fit_that_lacks_something_is_refused(
    given: dict[str, Any], y: Any, part: bool, told: str
) -> None:
    model = MLPRegressor(**given)
    with pytest.raises(ValueError, match=told):
        (model.partial_fit if part else model.fit)(XR, y)
    fine = MLPRegressor(**SMALL, early_stopping=True, validation_fraction=0.01)
    assert len(fine.fit(XR, YR).validation_scores_) == 5  # two rows are enough


def test_steps_that_gather_several_batches_are_those_of_one_as_large() -> None:
    options = SMALL | {"shuffle": False}
    one, other = (
        MLPClassifier(**options, batch_size=rows, solver=solver).fit(X, Y)
        for rows, solver in ((20, SGD(0.1, accumulate=2)), (40, SGD(0.1)))
    )
    np.testing.assert_allclose(one.model_.flat, other.model_.flat, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_no_more_sparse_rows_are_dense_at_a_time_than_are_allowed(
    solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled, fill = [], runs.fill

    def watched(model: Any, window: Any, rows: np.ndarray) -> None:
        filled.append(len(rows))
        fill(model, window, rows)

    monkeypatch.setattr(runs, "fill", watched)
    monkeypatch.setattr(runs, "WINDOW_ELEMENTS", 240)
    options = SMALL | {"max_iter": 1, "solver": solver, "batch_size": 20}
    fitted = MLPClassifier(**options).fit(scipy.sparse.csr_array(X), Y)
    assert fitted.history_.samples == sum(filled)
    assert filled[:3] == [60, 60, 30]
    assert set(filled) == {60, 30}


def test_a_bar_is_drawn_in_the_place_of_lines(capsys: pytest.CaptureFixture[str]) -> None:
    MLPClassifier(**SMALL, verbose="bar").fit(X, Y)
    said = "".join(capsys.readouterr())
    assert "loss" in said
    assert "Iteration" not in said
    MLPClassifier(**SMALL).fit(X, Y)
    assert "".join(capsys.readouterr()) == ""


@pytest.mark.parametrize(
    ("told", "wanted"),
    [("1", 1), ("999999", usable_cores()), ("0", None), ("all", None), ("", None)],
)
def test_a_number_of_threads_is_used_as_far_as_there_are_so_many(
    told: str, wanted: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", told)
    assert MLPClassifier()._threads() == wanted
