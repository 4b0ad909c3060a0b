"""L-BFGS finds minima, runs like other optimizers, and refuses what it cannot do."""

from __future__ import annotations

import gc
import signal
import sys
import weakref
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Callback, Dense
from mlpx.errors import InputError, MissingExtraError
from mlpx.layers import BatchNorm, Dropout
from mlpx.optimizers import LBFGS


def problem(n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(4)
    x = draw.normal(size=(n, 5))
    return x, (x @ draw.normal(size=5) > 0).astype(int)


def test_lbfgs_reaches_the_minimum_of_logistic_regression() -> None:
    pytest.importorskip("scipy")
    x, y = problem()
    model = MLP([5, 2], dtype="float64")
    rule = LBFGS(weight_decay=0.1, tolerance=1e-8)
    history = model.fit(x, y, optimizer=rule, epochs=100, verbose=0)
    assert "CONVERGENCE" in history.stop_reason
    assert history["loss"][-1] < history["loss"][0]
    W, b = model.parameters["0.W"], model.parameters["0.b"]
    z = x @ W + b
    P = np.exp(z - z.max(1, keepdims=True))
    P /= P.sum(1, keepdims=True)
    dz = (P - np.eye(2)[y]) / len(x)
    assert np.abs(x.T @ dz + 0.1 * W).max() < 1e-7  # decay on W
    assert np.abs(dz.sum(0)).max() < 1e-7  # none on b


def test_lbfgs_runs_as_other_optimizers_do() -> None:
    pytest.importorskip("scipy")
    x, y = problem()
    model = MLP([5, 8, 2], activation="tanh")
    history = model.fit(x, y, optimizer="lbfgs", epochs=4, validation_data=(x, y), verbose=0)
    assert len(history) == len(history.step_loss) == 4
    assert history.stop_reason == "completed"
    assert model.training_state.step == model.training_state.epoch == 4
    np.testing.assert_allclose(history["loss"], history["val_loss"], rtol=1e-6)
    after = model.fit(x, y, optimizer="lbfgs", epochs=4, verbose=0)
    assert after.first_epoch == 4
    assert after["loss"][-1] < history["loss"][-1]


def test_lbfgs_says_what_it_cannot_do() -> None:
    x, y = problem()
    with pytest.raises(InputError, match=r"batch_size = 10.*leave batch_size and sampling out"):
        MLP([5, 2]).fit(x, y, optimizer="lbfgs", batch_size=10, verbose=0)
    with pytest.raises(InputError, match="gives lbfgs no gradient"):
        MLP([5, 2]).fit(x, y, optimizer="lbfgs", gradient="search", verbose=0)
    with pytest.raises(InputError, match="the layer 'dropout' draws random numbers; lbfgs"):
        MLP([5, Dropout(0.5), 2]).fit(x, y, optimizer="lbfgs", verbose=0)
    with pytest.raises(InputError, match=r"0\.W has a max_norm; lbfgs moves without"):
        MLP([5, Dense(2, max_norm=1.0)]).fit(x, y, optimizer="lbfgs", verbose=0)


def test_no_epochs_of_lbfgs_change_nothing() -> None:
    x, y = problem()
    model = MLP([5, 2])
    before = model.flat.copy()
    history = model.fit(x, y, optimizer="lbfgs", epochs=0, verbose=0)
    assert (len(history), history.stop_reason) == (0, "completed")
    assert np.array_equal(model.flat, before)


def test_running_statistics_are_no_part_of_the_decay() -> None:
    x, y = problem()
    model = MLP([5, Dense(4, activation="tanh"), BatchNorm(), 2], dtype="float64")
    rule = LBFGS(weight_decay=0.1, decay_all=True)
    history = model.fit(x, y, optimizer=rule, epochs=5, verbose=0)
    assert len(history) == 5
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.xdist_group("alone")
@pytest.mark.parametrize("at", [1, 3], ids=["in mid-training", "in the last iteration"])
def test_ctrl_c_ends_lbfgs_after_an_iteration(at: int) -> None:
    class CtrlC(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if epoch == at:
                signal.raise_signal(signal.SIGINT)

        def on_train_end(self, run: Any) -> None:
            ends.append((len(run.history), run.history.stop_reason))

    ends: list[tuple[int, str]] = []
    x, y = problem()
    with pytest.raises(KeyboardInterrupt):
        MLP([5, 8, 2]).fit(x, y, optimizer="lbfgs", epochs=4, callbacks=[CtrlC()], verbose=0)
    assert ends == [(at + 1, "interrupted")]


def test_an_iterations_loss_is_that_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the line search evaluated another point after it."""

    def minimise(evaluate: Any, start: np.ndarray, *, callback: Any, **options: Any) -> Any:
        end = start - evaluate(start)[1]
        evaluate(end)
        evaluate(start)
        with suppress(StopIteration):
            callback(intermediate_result=SimpleNamespace(x=end))
        return SimpleNamespace(x=end, message="enough")

    monkeypatch.setattr("mlpx.training.full_batch._minimise", lambda: minimise)
    x, y = problem()
    model = MLP([5, 8, 2])
    before = model.evaluate(x, y)["loss"]
    history = model.fit(x, y, optimizer="lbfgs", epochs=1, verbose=0)
    after = model.evaluate(x, y)["loss"]
    assert history["loss"] == [pytest.approx(after, rel=1e-6)]
    assert after < 0.99 * before


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(MissingExtraError, match=r"optimizer='lbfgs'.*mlpx\[lbfgs\]"):
        MLP([5, 2]).fit(*problem(), optimizer="lbfgs", verbose=0)


def test_data_are_free_when_the_training_is_over(only_new_garbage: None) -> None:
    """SciPy's callbacks know the run, and the run its loop: no cycle is left of that."""
    pytest.importorskip("scipy")
    runs: list[Any] = []

    class Look(Callback):
        def on_train_begin(self, run: Any) -> None:
            runs.append(weakref.ref(run))

    x, y = problem()
    gc.disable()
    try:
        MLP([5, 2]).fit(x, y, optimizer="lbfgs", epochs=2, callbacks=[Look()], verbose=0)
        assert runs[0]() is None
    finally:
        gc.enable()
