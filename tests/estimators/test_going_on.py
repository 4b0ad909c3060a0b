"""Estimators that continue training from where the last fit stopped."""

from __future__ import annotations

import signal
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
