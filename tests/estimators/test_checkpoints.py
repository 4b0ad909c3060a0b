"""An estimator whose fit is killed goes on with the same bits."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse

from mlpx import Callback
from mlpx.errors import InputError
from mlpx.estimators import MLPClassifier, MLPRegressor, feeding
from mlpx.estimators.bookkeeper import Bookkeeper
from mlpx.training.writer import Writer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 5))
LABELS = np.array(["a", "b", "c"])[
    (X @ RNG.normal(size=(5, 3)) + RNG.normal(size=(60, 3))).argmax(1)
]
FOUND = ("loss_curve_", "validation_scores_", "n_iter_", "t_", "best_validation_score_",
         "learning_rate_", "_no_improvement_count", "best_loss_")  # fmt: skip


class Killed(BaseException):
    pass


class Kill(Callback):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_steps(self, run: Any) -> None:
        if run.steps_done >= self.steps:
            raise Killed


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Writer, "start", lambda self, work: self._do(work))


CASES: dict[str, dict[str, Any]] = {
    "adam": {},
    "early stopping": {"early_stopping": True, "n_iter_no_change": 3, "learning_rate_init": 0.1},
    "best": {"early_stopping": True, "restore_best": True},
    "adaptive": {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 1},
    "invscaling": {"solver": "sgd", "learning_rate": "invscaling", "learning_rate_init": 0.3},
    "dropout": {"dropout": 0.3},
    "in order": {"shuffle": False},
    "float32": {"dtype": "float32"},
}


def made(case: str, kill: int | None = None, **more: Any) -> MLPClassifier:
    given = {"hidden_layer_sizes": (6,), "batch_size": 16, "max_iter": 8, "random_state": 3}
    callbacks = None if kill is None else [Kill(kill)]
    return MLPClassifier(**{**given, **CASES[case], **more}, callbacks=callbacks)


def same(a: MLPClassifier, b: MLPClassifier) -> bool:
    return (
        a.model_.flat.tobytes() == b.model_.flat.tobytes()
        and all(str(getattr(a, name, None)) == str(getattr(b, name, None)) for name in FOUND)
        and (a.history_.step_loss == b.history_.step_loss).all()
    )


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("rows", ["dense", "sparse"])
def test_a_killed_fit_is_finished_with_the_same_bits(case: str, rows: str, tmp_path: Path) -> None:
    x = scipy.sparse.csr_array(X) if rows == "sparse" else X
    whole = made(case).fit(x, LABELS)
    for kill in (1, 7, 14):
        folder = tmp_path / str(kill)
        with pytest.raises(Killed):
            made(case, kill).fit(x, LABELS, checkpoint=folder, every=1)
        # Another random state: everything that was drawn is in the checkpoint.
        assert same(
            made(case, random_state=8).fit(x, LABELS, checkpoint=folder, resume=True), whole
        )


def test_regression(tmp_path: Path) -> None:
    def fit(**given: Any) -> MLPRegressor:
        options = {k: given.pop(k) for k in ("callbacks",) if k in given}
        return MLPRegressor(
            hidden_layer_sizes=(4,),
            max_iter=5,
            tol=0,
            random_state=1,
            n_iter_no_change=99,
            **options,
        ).fit(X, X.sum(1), **given)

    with pytest.warns(match="Maximum iterations"):
        whole = fit()
    with pytest.raises(Killed):
        fit(callbacks=[Kill(3)], checkpoint=tmp_path, every="1 epoch")
    with pytest.warns(match="Maximum iterations"):
        resumed = fit(checkpoint=tmp_path, resume=True)
    assert resumed.loss_curve_ == whole.loss_curve_
    assert resumed.model_.flat.tobytes() == whole.model_.flat.tobytes()


@pytest.mark.parametrize(
    "given",
    [{}, {"max_fun": 4}, {"tol": 0.1}],
    ids=["iterations", "evaluations", "tolerance"],
)
@pytest.mark.parametrize("rows", ["dense", "sparse"])
def test_lbfgs_killed_after_each_iteration(
    given: dict[str, Any], rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sparse rows come in three windows."""
    monkeypatch.setattr(feeding, "WINDOW_ELEMENTS", 5 * 22)
    x = scipy.sparse.csr_array(X) if rows == "sparse" else X

    class KillAtEnd(Callback):
        def __init__(self, iteration: int) -> None:
            self.iteration = iteration

        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if run.steps_done == self.iteration:
                raise Killed

    def fitted(kill: int | None = None, **more: Any) -> tuple[MLPClassifier, list[str]]:
        options = {"solver": "lbfgs", "alpha": 0.1, "max_iter": 5, **given}
        one = made("adam", **options)
        one.callbacks = kill and [KillAtEnd(kill)]
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            one.fit(x, LABELS, **more)
        return one, [str(warning.message) for warning in caught]

    whole, told = fitted()
    assert whole.model_.training_state.epoch == whole.n_iter_
    for last in range(1, whole.n_iter_ + 1):
        with pytest.raises(Killed):
            fitted(last, checkpoint=tmp_path, every=1, resume=True)
    for _ in range(2):  # after the first it is finished
        resumed, said = fitted(checkpoint=tmp_path, resume=True)
        assert same(resumed, whole)
        assert (resumed.loss_, said) == (whole.loss_, told)


def test_the_checkpoint_of_a_network_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        made("adam", 3).fit(X, LABELS, checkpoint=tmp_path, every=1)
    with pytest.raises(InputError, match=r"cut short after .* resume=True"):
        made("adam").fit(X, LABELS, checkpoint=tmp_path)
    model = made("adam", max_iter=1)
    with pytest.warns(match="Maximum iterations"):
        model.fit(X, LABELS)
    y = np.searchsorted(model.classes_, LABELS)
    model.model_.fit(X, y, checkpoint=tmp_path / "net", epochs=2, verbose=0)
    with pytest.raises(InputError, match="is not the checkpoint of an estimator"):
        made("adam").fit(X, LABELS, checkpoint=tmp_path / "net", resume=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("case", ["text", "numbers", "two", "objects"])
def test_classes_of_other_names_are_refused(case: str, tmp_path: Path) -> None:
    """The data, in which they are numbered, are the same."""
    at = np.searchsorted(["a", "b", "c"], LABELS)
    before, now = {
        "text": (np.array(["a", "b", "c"]), np.array(["a", "b", "d"])),
        "numbers": (np.array([0, 1, 2]), np.array([0, 1, 3])),
        "two": (np.array(["a", "b", "b"]), np.array(["a", "c", "c"])),
        "objects": (np.array(["a", "b", "c"], object), np.array(["a", "b", "d"], object)),
    }[case]
    with pytest.raises(Killed):
        made("adam", 3).fit(X, before[at], checkpoint=tmp_path, every=1)
    other = made("adam", max_iter=1)
    with pytest.warns(match="Maximum iterations"):
        other.fit(X, now[at])
    flat, n = other.model_.flat.copy(), other.n_iter_
    told = [re.escape(str(np.unique(labels).tolist())) for labels in (now, before)]
    words = f"of another run: classes are {told[0]}, they were {told[1]}. Give"
    with pytest.raises(InputError, match=words):
        other.fit(X, now[at], checkpoint=tmp_path, resume=True)
    assert other.n_iter_ == n
    assert np.array_equal(other.model_.flat, flat)
    made("adam").fit(X, before[at], checkpoint=tmp_path, resume=True)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_checkpoint_of_an_earlier_version_has_no_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, state = made("adam").fit(X, LABELS), Bookkeeper.state

    def earlier(self: Bookkeeper) -> dict[str, Any]:
        return {name: value for name, value in state(self).items() if name != "classes"}

    monkeypatch.setattr(Bookkeeper, "state", earlier)
    with pytest.raises(Killed):
        made("adam", 3).fit(X, LABELS, checkpoint=tmp_path, every=1)
    assert same(made("adam").fit(X, LABELS, checkpoint=tmp_path, resume=True), whole)
