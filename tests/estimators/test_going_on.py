"""Estimators that continue training from where the last fit stopped."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundled import SMALL, X, Y

from mlpx import Callback, MLPClassifier
from mlpx.errors import InputError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("changed", [{"alpha": 0.5}, {"activation": "tanh"}])
def test_another_network_of_the_same_shape_goes_on_with_what_was_learnt(
    changed: dict[str, Any],
) -> None:
    fitted = MLPClassifier(**SMALL, dropout=0.1, warm_start=True).fit(X, Y)
    before, flat = fitted.model_, fitted.model_.flat.copy()
    fitted.set_params(**changed, learning_rate_init=1e-300).fit(X, Y)  # nothing moves
    assert fitted.model_.layers != before.layers
    assert np.array_equal(fitted.model_.flat, flat)
    assert fitted.model_.seed == before.seed
    assert fitted.model_.training_state.epoch == len(fitted.loss_curve_) == 10


def test_a_network_of_another_shape_cannot_go_on() -> None:
    fitted = MLPClassifier(**SMALL, warm_start=True).fit(X, Y)
    fitted.set_params(hidden_layer_sizes=(9,))
    with pytest.raises(InputError, match=r"was .*8.* become .*9.*; set warm_start=False"):
        fitted.fit(X, Y)


class CtrlC(Callback):
    """Presses it as the third epoch begins."""

    def on_epoch_begin(self, run: Any, epoch: int) -> None:
        if epoch == 2:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.xdist_group("alone")
def test_an_epoch_that_was_broken_off_goes_on_in_its_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 0.0)  # a step at a time
    options = SMALL | {"batch_size": 40, "warm_start": True}
    whole = MLPClassifier(**options).fit(X, Y)
    parts = MLPClassifier(**options, callbacks=[CtrlC()])
    with pytest.warns(UserWarning, match="interrupted; what was learnt is kept") as said:
        parts.fit(X, Y)
    assert [warning.filename for warning in said] == [__file__]
    assert parts.model_.training_state.position == 1
    parts.set_params(callbacks=None, max_iter=SMALL["max_iter"] - 2).fit(X, Y)
    assert np.array_equal(parts.model_.flat, whole.model_.flat)


def test_lbfgs_broken_off_by_a_callback_is_no_other_error() -> None:
    class Breaks(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            raise KeyboardInterrupt

    one = MLPClassifier((3,), solver="lbfgs", callbacks=[Breaks()])
    with pytest.warns(UserWarning, match="interrupted; what was learnt is kept"):
        one.fit(X, Y)
    assert len(one.loss_curve_) == 1


class RefusesCheck(Callback):
    def on_check(self, run: Any) -> None:
        raise InputError("not this run")


class RefusesBegin(Callback):
    def on_train_begin(self, run: Any) -> None:
        raise ZeroDivisionError


REFUSED: dict[str, tuple[dict[str, Any], Any, dict[str, Any]]] = {
    "other data to go on with": ({}, X + 1, {"checkpoint": "run", "resume": True}),
    "a callback": ({"callbacks": [RefusesCheck()]}, X, {}),
    "a callback as it begins": ({"callbacks": [RefusesBegin()]}, X, {}),
    "validation data": ({}, X, {"X_val": X}),
    "a metric": ({"early_stopping": True, "early_stopping_metric": "r2"}, X, {}),
    "weights": ({}, X[:, :2], {"sample_weight": -np.ones(len(X))}),
    "too few to validate on": ({"early_stopping": True, "validation_fraction": 0.001}, X, {}),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.parametrize("warm", [False, True])
def test_a_fit_that_is_refused_leaves_the_estimator_as_it_was(
    case: str, warm: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = SMALL | {"warm_start": warm, "dropout": 0.1}
    MLPClassifier(**options | {"random_state": 5}).fit(X, Y, checkpoint="run")
    fitted, other = (MLPClassifier(**options).fit(X, Y) for _ in range(2))
    changed, x, given = REFUSED[case]
    before = dict(vars(fitted))
    kept = (fitted.model_.flat.copy(), fitted.model_.seed, fitted.model_.training_state)
    with pytest.raises((ValueError, ZeroDivisionError)):
        fitted.set_params(**changed).fit(x, Y, **given)
    fitted.set_params(**{name: getattr(other, name) for name in changed})
    after = vars(fitted)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert np.array_equal(fitted.model_.flat, kept[0])
    assert fitted.model_.seed == kept[1]
    assert fitted.model_.training_state is kept[2]
    # The next fit draws what it would have drawn.
    for each in (fitted, other):
        each.set_params(early_stopping=True).fit(X, Y)
    assert np.array_equal(fitted.model_.flat, other.model_.flat)


def test_a_first_part_that_is_refused_says_nothing_of_the_classes() -> None:
    one = MLPClassifier(**SMALL)
    with pytest.raises(InputError, match="the classes that were learnt are"):
        one.partial_fit(X, Y, classes=[0, 1])
    assert not hasattr(one, "classes_")
    one.partial_fit(X, Y, classes=[0, 1, 2])
