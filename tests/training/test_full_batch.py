"""L-BFGS finds minima, runs like other optimizers, and refuses what it cannot do."""

from __future__ import annotations

import gc
import shutil
import signal
import sys
import weakref
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Callback, Dense
from mlpx.errors import InputError, MissingExtraError, UnknownNameError
from mlpx.layers import BatchNorm, Dropout
from mlpx.optimizers import LBFGS
from mlpx.training import minimiser
from mlpx.training.full_batch import ANEW
from mlpx.training.writer import Writer


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


def test_decay_multipliers() -> None:
    x, y = problem()

    def trained(**options: Any) -> Any:
        model = MLP([5, Dense(4, activation="tanh"), 2], dtype="float64")
        model.fit(x, y, optimizer=LBFGS(**options), epochs=5, verbose=0)
        return model.flat

    without, half = trained(weight_decay=0.0), trained(weight_decay=0.1)
    told = {"weight_decay": 0.2, "decay_all": True}
    spared = trained(**told, decay_multipliers={"weight": 0.5, "bias": 0})
    np.testing.assert_array_equal(spared, half)
    none = trained(**told, decay_multipliers={"weight": 0, "bias": 0})
    np.testing.assert_array_equal(none, without)
    with pytest.raises(UnknownNameError, match="'7' is not a known parameter"):
        trained(**told, decay_multipliers={"7": 0})


@pytest.mark.xdist_group("alone")
@pytest.mark.parametrize("at", [1, 3], ids=["in mid-training", "in the last iteration"])
def test_ctrl_c_ends_lbfgs_after_an_iteration(at: int, tmp_path: Path) -> None:
    """And from there it goes on with the same bits."""

    class CtrlC(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            if epoch == at:
                signal.raise_signal(signal.SIGINT)

        def on_train_end(self, run: Any) -> None:
            ends.append((len(run.history), run.history.stop_reason))

    ends: list[tuple[int, str]] = []
    x, y = problem()
    with pytest.raises(KeyboardInterrupt):
        MLP([5, 8, 2], seed=1).fit(
            x, y, optimizer="lbfgs", epochs=4, callbacks=[CtrlC()], verbose=0, checkpoint=tmp_path
        )
    assert ends == [(at + 1, "interrupted")]
    resumed = trained(MLP([5, 8, 2], seed=1), epochs=4, checkpoint=tmp_path, resume=True)
    assert resumed == trained(MLP([5, 8, 2], seed=1), epochs=4)


def test_an_iterations_loss_is_that_of_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if the line search of another SciPy evaluated another point after it."""

    def minimise(evaluate: Any, start: np.ndarray, *, callback: Any, **options: Any) -> Any:
        end = start - evaluate(start)[1]
        value, _ = evaluate(end)
        evaluate(start)
        with suppress(StopIteration):
            callback(intermediate_result=SimpleNamespace(x=end, fun=value))
        return SimpleNamespace(x=end, fun=value)

    monkeypatch.setattr(minimiser, "known_setulb", lambda: None)
    monkeypatch.setattr(minimiser, "public_minimize", lambda: minimise)
    x, y = problem()
    model = MLP([5, 8, 2])
    before = model.evaluate(x, y)["loss"]
    history = model.fit(x, y, optimizer="lbfgs", epochs=1, verbose=0)
    after = model.evaluate(x, y)["loss"]
    assert history["loss"] == [pytest.approx(after, rel=1e-6)]
    assert after < 0.99 * before


def test_without_scipy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    model = MLP([5, 2])
    with pytest.raises(MissingExtraError, match=r"optimizer='lbfgs'.*mlpx\[lbfgs\]"):
        model.fit(*problem(), optimizer="lbfgs", verbose=0)
    assert model.training_state is None  # nothing was begun


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


class Killed(BaseException):
    pass


class Kill(Callback):
    """Ends everything in the iteration after `last`."""

    def __init__(self, last: int) -> None:
        self.last = last

    def on_steps(self, run: Any) -> None:
        if run.steps_done > self.last:
            raise Killed


class Results(Callback):
    """Keeps what SciPy would have returned."""

    begun = 0

    def on_epoch_begin(self, run: Any, epoch: int) -> None:
        self.begun += 1

    def on_train_end(self, run: Any) -> None:
        self.result, self.value = run.loop.result, run.loop.value


@pytest.fixture
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each checkpoint is written when it is due."""
    monkeypatch.setattr(Writer, "start", lambda self, work: self._do(work))


def trained(
    model: MLP, *callbacks: Callback, epochs: int = 6, rule: Any = "lbfgs", **more: Any
) -> dict[str, Any]:
    """All that a training leaves."""
    results, (x, y) = Results(), problem()
    history = model.fit(
        x, y, optimizer=rule, epochs=epochs, callbacks=[*callbacks, results], verbose=0, **more
    )
    result = asdict(results.result)
    return {
        "flat": model.flat.tobytes(),
        "epochs": history.epochs,
        "step_loss": list(history.step_loss),
        "stop_reason": history.stop_reason,
        "notes": history.notes,
        "state": (model.training_state.step, model.training_state.epoch),
        "value": results.value,
        **result,
        "x": result["x"].tobytes(),
    }


def killed_after_each(n: int, fresh: Any, folder: Path, **given: Any) -> None:
    """Train and be killed after the first iteration, go on and be killed after the second, ..."""
    for last in range(n):
        with pytest.raises(Killed):
            trained(fresh(), Kill(last), checkpoint=folder, every=1, resume=True, **given)


CASES: dict[str, tuple[list[Any], dict[str, Any]]] = {
    "float32": ([5, 8, 2], {}),
    "float64": ([5, 8, 2], {"dtype": "float64"}),
    "batch norm": ([5, Dense(8, activation="tanh"), BatchNorm(), 2], {}),
}


@pytest.mark.usefixtures("_at_once")
@pytest.mark.parametrize("case", CASES)
def test_killed_after_each_iteration_it_ends_with_the_same_bits(case: str, tmp_path: Path) -> None:
    """It keeps two pairs only, so that the oldest ones are dropped in between."""
    pytest.importorskip("scipy")
    layers, options = CASES[case]
    rule = LBFGS(weight_decay=0.01, memory=2)

    def fresh() -> MLP:
        return MLP(layers, seed=1, **options)

    whole = trained(fresh(), rule=rule)
    assert whole["nit"] == len(whole["epochs"]) == 6
    assert whole["message"] == "STOP: TOTAL NO. OF ITERATIONS REACHED LIMIT"
    killed_after_each(6, fresh, tmp_path, rule=rule)
    assert trained(fresh(), rule=rule, checkpoint=tmp_path, resume=True) == whole
    # Finished, it stays as it is; and more iterations are as if they had been asked for at once.
    idle = Results()
    assert trained(fresh(), idle, rule=rule, checkpoint=tmp_path, resume=True) == whole
    assert idle.begun == 0
    longer = trained(fresh(), rule=rule, checkpoint=tmp_path, resume=True, epochs=8)
    assert longer == trained(fresh(), rule=rule, epochs=8)


@pytest.mark.usefixtures("_at_once")
def test_what_has_converged_does_not_go_on(tmp_path: Path) -> None:
    pytest.importorskip("scipy")
    rule = LBFGS(tolerance=1e-2, weight_decay=0.1)
    whole = trained(MLP([5, 2]), rule=rule, epochs=99, checkpoint=tmp_path)
    assert "lbfgs ended: CONVERGENCE" in whole["stop_reason"]
    assert trained(MLP([5, 2]), rule=rule, epochs=99, checkpoint=tmp_path, resume=True) == whole
    # Killed between its last iteration and the end, it converges then.
    killed_after_each(whole["nit"], lambda: MLP([5, 2]), tmp_path / "2", rule=rule, epochs=99)
    again = trained(MLP([5, 2]), rule=rule, epochs=99, checkpoint=tmp_path / "2", resume=True)
    assert again == whole


@pytest.mark.usefixtures("_at_once")
def test_an_unknown_scipy_starts_anew_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("scipy")

    def fresh() -> MLP:
        return MLP([5, 8, 2], seed=1)

    whole = trained(fresh())
    monkeypatch.setattr(minimiser, "KNOWN", ((0, 1), (0, 9)))
    assert trained(fresh()) == whole
    killed_after_each(3, fresh, tmp_path)
    resumed = trained(fresh(), checkpoint=tmp_path, resume=True)
    assert (resumed["nit"], resumed["state"], resumed["message"]) == (6, (6, 6), whole["message"])
    assert resumed["notes"] == [ANEW]
    assert resumed["epochs"][:1] == whole["epochs"][:1]
    assert resumed["epochs"][-1]["loss"] < whole["epochs"][2]["loss"]
    # Nor has one that is known the pairs of one that is not.
    shutil.copytree(tmp_path, tmp_path / "2")
    monkeypatch.undo()
    longer = trained(fresh(), checkpoint=tmp_path / "2", resume=True, epochs=8)
    assert (longer["nit"], longer["notes"]) == (8, [ANEW])
