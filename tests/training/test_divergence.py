"""A loss that is not finite is seen soon, told with its cause, and handled as asked."""

from __future__ import annotations

import csv
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_training import same

from mlpx import (
    EMA,
    MLP,
    SGD,
    BatchNorm,
    Callback,
    Checkpoints,
    CSVLog,
    Dense,
    Dropout,
    EarlyStopping,
    MLPRegressor,
)
from mlpx.backend.base import Mirror
from mlpx.errors import InputError, UnknownNameError
from mlpx.network.saved import read
from mlpx.schedules import Constant, ReduceOnPlateau, Sequential
from mlpx.training.checkpoint_files import numbered
from mlpx.training.divergence import RESTORES, Watch
from mlpx.training.recorded import data_of
from mlpx.training.writer import Writer

D = 4
BAD = 601
"""The row with the value that is not finite."""


@pytest.fixture(autouse=True)
def a_step_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 0.0)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checkpoints are written in time, without a thread."""
    monkeypatch.setattr(Writer, "start", lambda self, work: work())


def data(n: int = 2000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, D)).astype(np.float32)
    return x, x[:, 0] + 0.1 * rng.normal(size=n).astype(np.float32)


def with_bad_row(value: float = np.nan) -> tuple[np.ndarray, np.ndarray]:
    x, y = data()
    x[BAD, 2] = value
    return x, y


def net(*layers: Any, **options: Any) -> MLP:
    return MLP([D, *(layers or (5, "relu")), 1], **{"loss": "mean_squared_error"} | options)


def fit(model: MLP, x: Any, y: Any, **options: Any) -> Any:
    """In batches of two rows, in their order, so that row 601 is in step 301."""
    given = {"batch_size": 2, "sampling": "sequential", "optimizer": "sgd", "check_finite": False}
    return model.fit(x, y, **given | {"epochs": 3, "verbose": 0} | options)


def diverging(model: MLP, x: Any, y: Any, **options: Any) -> Any:
    with pytest.warns(RuntimeWarning, match="the loss is") as said:
        history = fit(model, x, y, **options)
    assert {warning.filename for warning in said} == {__file__}
    return history


class TestLatency:
    @pytest.mark.parametrize("engine", ["auto", "interpreter"])
    def test_is_seen_in_the_middle_of_an_epoch(self, engine: str) -> None:
        history = diverging(net(), *with_bad_row(), engine=engine)
        assert len(history.step_loss) == 301
        assert np.isfinite(history.step_loss[:300]).all()
        assert history.epochs == []

    def test_is_seen_after_the_steps_of_one_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("mlpx.training.epochs.RUN_S", 1e9)  # 1, 2, 4, ... steps
        assert len(diverging(net(), *with_bad_row()).step_loss) == 511

    def test_in_a_last_batch_that_is_larger(self) -> None:
        x, y = data(2001)
        x[-1] = np.inf
        told = diverging(net(5, BatchNorm(), "relu"), x, y).stop_reason
        assert "at step 1,000 (epoch 1, rows 1998, 1999, 2000): x is not" in told

    def test_one_infinite_loss_among_finite_ones_is_seen(self) -> None:
        x, y = data()
        y[BAD] = 1e30  # its square overflows, but no gradient does
        model = net(1)
        history = diverging(model, x, y, learning_rate=1e-33)
        assert len(history.step_loss) == 301
        assert np.isfinite(model.flat).all()

    def test_in_the_last_step_of_an_epoch(self) -> None:
        x, y = data()
        x[-1] = np.inf
        history = diverging(net(), x, y)
        assert (len(history.step_loss), history.epochs) == (1000, [])
        assert "at step 1,000 (epoch 1, rows 1998, 1999): x is not finite in row 1999." in (
            history.stop_reason
        )

    def test_losses_that_arrive_late_are_seen_then(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The mirror of a device that is one call behind."""
        asked: list[Any] = []

        class Late(Mirror):
            def fetch(self, start: int, stop: int) -> slice:
                before = asked[-1]
                asked.append((start, stop))
                return slice(0, 0) if before is None else slice(*before)

            def forget(self) -> None:
                asked.append(None)

        asked.append(None)
        monkeypatch.setattr("mlpx.backend.cpu.CpuBackend.mirror", lambda self, x: Late(x))
        x, y = data()
        fit(net(), x, y, epochs=1)
        x[BAD] = np.nan
        history = diverging(net(), x[-1800:], y[-1800:], batch_size=2, epochs=1)
        assert len(history.step_loss) == 202
        first = [(i, i + 1) for i in range(999)]
        assert asked == [None, *first, *first[:202]]
        asked.append(None)
        fit(net(), *data(8), epochs=2)
        assert asked[-7:] == [*first[:3], None, *first[:3]]

    def test_in_steps_before_a_run_went_on(
        self, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A device had not told of it yet when the checkpoint was made."""
        x, y = data()
        y[BAD] = 1e30
        given = {"learning_rate": 1e-33, "checkpoint": tmp_path / "run", "every": 400}
        with monkeypatch.context() as later:
            later.setattr(Watch, "look", lambda self, run, end: None)
            with pytest.raises(ZeroDivisionError):
                fit(net(1), x, y, **given, callbacks=[Dies(410, 0)])
        history = diverging(net(1), x, y, **given, resume=True)
        assert len(history.step_loss) == 401
        assert "at step 301 (epoch 1, rows 600, 601): " in history.stop_reason

    def test_callbacks_are_not_told_of_steps_that_diverged(self) -> None:
        class Steps(Callback):
            last = 0

            def on_steps(self, run: Any) -> None:
                self.last = run.steps_done

            def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
                raise AssertionError("it is not reported")

        steps = Steps()
        diverging(net(), *with_bad_row(), callbacks=[steps])
        assert steps.last == 300

    @pytest.mark.parametrize("engine", ["auto", "interpreter"])
    def test_cuda_is_not_awaited_for_it(
        self, engine: str, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = []
        for looks in (True, False):
            if not looks:
                monkeypatch.setattr(Watch, "look", lambda self, run, end: None)
            model = net(device="cuda")
            fit(model, *data(40), engine=engine, epochs=1)
            fake_cupy.counters.reset()
            fit(model, *data(40), engine=engine, epochs=1)
            found.append({**vars(fake_cupy.counters)})
        assert found[0] == {**found[1], "to_host_later": 19}  # after each step but the last

    @pytest.mark.parametrize("engine", ["auto", "interpreter"])
    def test_cuda_sees_it_soon(self, engine: str, fake_cupy: Any) -> None:
        history = diverging(net(device="cuda"), *with_bad_row(), engine=engine)
        assert 301 <= len(history.step_loss) <= 304
        assert "step 301 (epoch 1, rows 600, 601): x is not finite in row 601." in (
            history.stop_reason
        )


class TestReport:
    def test_of_a_row_that_is_not_finite(self) -> None:
        x, y = with_bad_row()
        history = diverging(net(), x, y, batch_size=100, sampling="shuffle")
        assert history.stop_reason.startswith("diverged: the loss is nan at step ")
        assert " and 97 more): x is not finite in row 601. Correct such rows" in history.stop_reason
        y[7] = np.inf
        history = diverging(net(), *data()[:1], y, batch_size=2000)
        assert "(epoch 1, rows 0, 1, 2 and 1,997 more): y is not finite in row 7." in (
            history.stop_reason
        )

    def test_of_a_row_beyond_the_range_of_the_model(self) -> None:
        x, y = data()
        x = x.astype(np.float64)
        x[BAD] = 1e39
        assert "x is not finite in row 601." in diverging(net(), x, y).stop_reason

    def test_rows_count_in_what_fit_was_given(self) -> None:
        x, y = data(40)
        x[[11, 30]] = np.nan  # at least one of them is trained on
        told = diverging(net(), x, y, validation_split=0.1).stop_reason
        assert told.partition("x is not finite in row ")[2].partition(".")[0] in ("11", "30")

    @pytest.mark.parametrize(("accumulate", "bad"), [(1, 601), (3, 605)])
    def test_of_a_row_that_is_too_large(self, accumulate: int, bad: int) -> None:
        x, y = data()
        x[bad] = 3e38
        model = net(5, "relu", 6)
        model.parameters["0.W"][...] = 1
        rule = SGD(1e-9, accumulate=accumulate)
        told = diverging(model, x, y, optimizer=rule).stop_reason
        assert "the output of layer 0 (dense) is the first that is not finite, in row" in told
        assert f" in row {bad};" in told
        assert "with the parameters after 0 steps, " in told
        assert "the gradient of 0.W is not finite. Lower the learning rate or scale x" in told

    @pytest.mark.parametrize("accumulate", [1, 3])
    def test_of_a_layer_whose_parameters_are_too_large(self, accumulate: int) -> None:
        x, y = data()
        model = net(5, "relu", 6)
        model.parameters["0.W"][...] = 1
        model.parameters["2.W"][...] = 3e38
        told = diverging(model, np.abs(x), y, optimizer=SGD(accumulate=accumulate)).stop_reason
        assert "the output of layer 2 (dense) is the first that is not finite" in told
        more = "" if accumulate == 1 else ", 2 and 3 more"
        assert f"at step 1 (epoch 1, rows 0, 1{more}): " in told

    def test_of_a_loss_that_overflows_alone(self) -> None:
        x, y = data()
        y[BAD] = 1e30
        told = diverging(net(1), x, y, learning_rate=1e-33).stop_reason
        assert "after 301 steps, every output is finite and the loss is not, in row 601;" in told
        assert "the largest gradient is that of 1.b (norm 1e+30)" in told

    def test_of_a_rate_that_is_too_high(self) -> None:
        told = diverging(net(5, "relu", 6), *data(), learning_rate=1e4).stop_reason
        assert "every output and the loss are finite: the steps since then made them ove" in told
        assert "the largest gradient is that of 0.W (norm " in told

    @pytest.mark.parametrize("seed", [0, 4, 5, 7, 10])
    def test_draws_the_masks_of_the_step(self, seed: int) -> None:
        """Dropout takes the input that is too large in some steps, and leaves it in others."""
        x, y = np.ones((40, 1), np.float32), np.zeros(40, np.float32)
        model = MLP([1, Dropout(0.5), Dense(1)], loss="mean_squared_error", seed=seed)
        model.parameters["1.W"][...] = 2e38  # times 2, as half of the inputs are dropped
        history = diverging(model, x, y, batch_size=1, learning_rate=0.0)
        assert np.isfinite(history.step_loss[0])
        told = "the output of layer 1 (dense) is the first that is not finite; the gradient of 1.W "
        assert told in history.stop_reason

    def test_has_parameters_from_before(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Those of the epoch that was 100 steps or more after the last of which they were kept."""
        rates = Sequential((Constant(1e-3), Constant(1e30)), (290,))
        history = diverging(linear(), *data(), batch_size=40, epochs=9, learning_rate=rates)
        assert "at step 292 (epoch 6, " in history.stop_reason
        assert "): with the parameters after 200 steps, " in history.stop_reason

    def test_of_a_short_run_has_no_parameters_left(self) -> None:
        told = diverging(net(), *data(), epochs=None, steps=9, learning_rate=1e30).stop_reason
        assert told.endswith(
            ": the parameters are not finite any more. Lower the learning rate or scale x"
        )

    def test_without_memory_is_shorter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any, **__: Any) -> Any:
            raise MemoryError

        monkeypatch.setattr("mlpx.training.diagnosis.TrainingProgram", full)
        told = diverging(net(), *data(), learning_rate=1e4).stop_reason
        assert ": there is not enough memory to look for the cause. Lower the learn" in told


class TestContinue:
    def test_tells_once_and_trains_to_the_end(self) -> None:
        x, y = data()
        y[BAD] = 1e30
        model = net(1)
        history = diverging(model, x, y, learning_rate=1e-33, on_divergence="continue")
        assert (history.stop_reason, len(history)) == ("completed", 3)
        assert history["loss"] == [np.inf] * 3
        (note,) = history.notes
        assert note.startswith("the loss is inf at step 301 (epoch 1, rows 600, 601): ")
        assert note.endswith("; training goes on")

    @pytest.mark.parametrize("steps", [410, 1001])
    @pytest.mark.filterwarnings("ignore:the loss is")
    def test_tells_the_same_if_it_is_broken_off(
        self, steps: int, tmp_path: Path, at_once: None
    ) -> None:
        x, y = data()
        y[BAD] = 1e30
        given = {"learning_rate": 1e-33, "on_divergence": "continue", "epochs": 2}
        kept = {"checkpoint": tmp_path / "run", "every": 400 if steps < 1000 else "1 epoch"}
        wanted = fit(net(1), x, y, **given)
        with pytest.raises(ZeroDivisionError):
            fit(net(1), x, y, **given, **kept, callbacks=[Dies(steps, 0)])
        history = fit(net(1), x, y, **given, **kept, resume=True)
        assert history.notes == wanted.notes
        assert len(history.notes) == 1


GROWING = {"learning_rate": 1.05, "batch_size": 40, "epochs": 12}
"""The loss of a linear model grows by a factor until it overflows in step 340, of epoch 7; at half
the rate it falls.
"""
LONG = {"learning_rate": 0.8, "batch_size": 10, "epochs": 4}
"""The same in step 584, of epoch 3."""


def linear(**options: Any) -> MLP:
    return MLP([D, 1], loss="mean_squared_error", **options)


def restored(model: MLP, **options: Any) -> Any:
    return diverging(model, *data(), **GROWING | {"on_divergence": "restore"} | options)


class Dies(Callback):
    """Breaks the training off after some steps, once the run has gone back so often."""

    def __init__(self, steps: int, restores: int) -> None:
        self.steps, self.restores = steps, restores

    def on_steps(self, run: Any) -> None:
        if run.watch.restores == self.restores and run.steps_done >= self.steps:
            raise ZeroDivisionError


class TestRestore:
    def test_goes_back_to_the_last_good_state_at_half_the_rate(self) -> None:
        model = linear()
        history = restored(model)
        assert (history.stop_reason, len(history)) == ("completed", 12)
        assert model.training_state.schedule == {"scale": 0.5}
        assert model.training_state.step == len(history.step_loss) == 600
        assert history.samples == 12 * 2000
        (note,) = history.notes
        assert note.startswith("the loss is inf at step 340 (epoch 7, rows 1560, 1561, 1562 and 37")
        assert note.endswith(
            "; back to the state after 300 steps, at half the learning rate, time 1 of at most 5"
        )
        assert np.isfinite(history.step_loss).all()
        assert history.step_loss.argmax() == 300  # it falls from there
        assert np.isfinite(history["loss"]).all()

    def test_is_what_a_run_at_half_the_rate_does_from_there(self) -> None:
        model, other = linear(), linear()
        restored(model)
        fit(other, *data(), **GROWING | {"epochs": 6})
        other.training_state.schedule = {"scale": 0.5}
        fit(other, *data(), **GROWING | {"epochs": 6})
        assert same(model, other)

    @pytest.mark.parametrize(
        "options",
        [{}, {"optimizer": SGD(accumulate=2, average=EMA(0.9)), "learning_rate": 1.5},
         {"record_gradient_norms": True}, {"sampling": "shuffle", "learning_rate": 4.0},
         {"device": "cuda", "learning_rate": 4.0, "epochs": 1}],
    )  # fmt: skip
    def test_gives_the_same_bits_whenever_it_is_seen(
        self, options: Any, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = []
        given = {"epochs": 9, "engine": "interpreter"} | options
        device = given.pop("device", "cpu")
        for run_s in (0.0, 1e9):
            monkeypatch.setattr("mlpx.training.epochs.RUN_S", run_s)
            model = linear(device=device)
            history = restored(model, **given)
            found.append((model, history))
        (one, first), (other, second) = found
        assert same(one, other)
        assert first.epochs == second.epochs
        assert first.notes == second.notes
        assert len(first.notes) >= 1
        np.testing.assert_array_equal(first.step_loss, second.step_loss)
        for name, norms in first.gradient_norms.items():
            np.testing.assert_array_equal(norms, second.gradient_norms[name])
            assert len(norms) == len(first.step_loss)

    def test_stops_after_five_times(self) -> None:
        model = linear()
        before = model.flat.copy()
        history = restored(model, learning_rate=1e30)
        assert len(history.notes) == RESTORES
        assert [f"time {i} of at most 5" in history.notes[i - 1] for i in range(1, 6)] == [True] * 5
        assert history.stop_reason.startswith("diverged: the loss is ")
        assert "; back to the state after 0 steps. Lower the learning rate" in history.stop_reason
        assert model.training_state.schedule == {"scale": 2.0**-RESTORES}
        assert model.flat.tobytes() == before.tobytes()
        assert len(history.step_loss) == len(history) == history.samples == 0

    def test_does_not_try_what_no_rate_can_help(self) -> None:
        model = net()
        history = diverging(model, *with_bad_row(), on_divergence="restore")
        assert history.notes == []
        assert "row 601; back to the state after 0 steps. Correct such rows" in history.stop_reason
        assert np.isfinite(model.flat).all()

    def test_keeps_no_state_that_is_not_finite(self) -> None:
        """The last step of an epoch makes the parameters infinite, and the next step shows it."""
        x, y = data(200)
        x[-1] = 1e38
        model = MLP([D, 1], loss="mean_absolute_error")
        model.parameters["0.W"][...] = 0
        rates = Sequential((Constant(1e-6), Constant(1e3)), (99,))
        history = diverging(model, x, y, learning_rate=rates, on_divergence="restore")
        assert history.notes[0].startswith("the loss is nan at step 101 (epoch 2, ")
        assert "; back to the state after 0 steps, " in history.notes[0]

    def test_of_an_epoch_begun_before(self) -> None:
        """The part of the epoch that an earlier fit trained does not count as this one's."""
        model = linear()
        given = GROWING | {"learning_rate": 1.4}
        fit(model, *data(), **given | {"epochs": None}, steps=20)
        history = restored(model, learning_rate=1.4, epochs=2)
        assert "; back to the state after 20 steps, " in history.notes[0]
        assert len(history.step_loss) == 80
        means = [history.step_loss[:30].mean(), history.step_loss[30:].mean()]
        np.testing.assert_allclose(history["loss"], means, rtol=1e-6)

    def test_tells_of_what_is_trained_and_not_of_its_average(self) -> None:
        notes = [restored(linear(), optimizer=SGD(average=a)).notes for a in (None, "ema")]
        assert notes[0] == notes[1]

    @pytest.mark.filterwarnings("ignore:the loss is")
    @pytest.mark.parametrize(
        ("options", "steps", "restores"),
        [({}, 150, 0), ({}, 339, 0), ({}, 310, 1), (LONG, 570, 0), (LONG, 700, 1),
         ({"learning_rate": 2.1}, 330, 1), ({"optimizer": SGD(average="ema")}, 339, 0)],
    )  # fmt: skip
    def test_goes_on_from_a_checkpoint_with_the_same_bits(
        self, options: Any, steps: int, restores: int, tmp_path: Path, at_once: None
    ) -> None:
        given = GROWING | {"on_divergence": "restore"} | options
        kept = {"checkpoint": tmp_path / "run", "every": 40}
        whole, broken, model = linear(), linear(), linear(seed=5)
        wanted = fit(whole, *data(), **given)
        with pytest.raises(ZeroDivisionError):
            fit(broken, *data(), **given, **kept, callbacks=[Dies(steps, restores)])
        history = fit(model, *data(), **given, **kept, resume=True)
        assert same(model, whole)
        assert model.training_state.schedule == whole.training_state.schedule
        assert (history.epochs, history.notes) == (wanted.epochs, wanted.notes)
        np.testing.assert_array_equal(history.step_loss, wanted.step_loss)

    def test_may_be_asked_for_when_a_run_is_finished(self, tmp_path: Path, at_once: None) -> None:
        """The state in the middle of epoch 6, to which it goes back from epoch 7, has a log."""
        kept = {"checkpoint": tmp_path / "run", "every": 40}
        with pytest.raises(ZeroDivisionError):
            fit(linear(), *data(), **GROWING, **kept, callbacks=[Dies(290, 0)])
        history = restored(linear(), **kept, resume=True)
        assert "; back to the state after 280 steps, " in history.notes[0]
        losses = diverging(linear(), *data(), **GROWING).step_loss
        np.testing.assert_array_equal(history.step_loss[:280], losses[:280])

    def test_checkpoints_go_on_from_there(
        self, tmp_path: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        looked: list[Any] = []
        monkeypatch.setattr(
            "mlpx.training.checkpoints.data_of", lambda run: looked.append(run) or data_of(run)
        )
        restored(linear(), checkpoint=Checkpoints(tmp_path, every=40, keep=99), epochs=8)
        steps = [read(path).beside["run"]["steps_done"] for _, path in numbered(tmp_path)]
        assert steps == [*range(0, 340, 40), *range(340, 400, 40), 400]
        assert len(looked) == 1

    @pytest.mark.filterwarnings("ignore:the loss is")
    def test_callbacks_go_back_too(self, tmp_path: Path) -> None:
        class Counts(Callback):
            def __init__(self) -> None:
                self.kept = {"epochs": 0}

            def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
                self.kept["epochs"] += 1

            def state(self) -> dict[str, Any]:
                return self.kept

            def restore(self, run: Any, state: dict[str, Any]) -> None:
                self.kept = state

        counts, path = Counts(), tmp_path / "log.csv"
        stopping = EarlyStopping("loss", patience=11)
        model = linear()
        given = {"callbacks": [counts, CSVLog(path), stopping], "learning_rate": 4.2, "epochs": 3}
        x, y = data(400)
        history = fit(model, x, y, **GROWING | given, on_divergence="restore")  # of 10 steps each
        assert [note.rpartition("back to ")[2] for note in history.notes] == [
            "the state after 0 steps, at half the learning rate, time 1 of at most 5"
        ]
        assert counts.kept["epochs"] == len(history) == 3
        with path.open() as file:
            logged = list(csv.DictReader(file))
        assert [row["epoch"] for row in logged] == ["1", "2", "3"]
        assert [float(row["loss"]) for row in logged] == history["loss"]
        assert stopping.best == min(history["loss"])

    def test_a_checkpoint_of_the_best_follows(self, tmp_path: Path) -> None:
        model = linear()
        kept = Checkpoints(tmp_path / "run", every="1 epoch", best="loss")
        history = restored(model, checkpoint=kept)
        best = MLP.load(tmp_path / "run" / "best.safetensors")
        assert best.evaluate(*data())["loss"] < 0.02
        assert kept.best.best == min(history["loss"])

    def test_works_with_rates_that_follow_the_loss(self) -> None:
        """The schedule of a plateau multiplies the same scale, and does not raise it again."""
        schedule = ReduceOnPlateau(1.05, patience=9, factor=0.5)
        model = linear()
        restored(model, learning_rate=schedule)
        assert model.training_state.schedule["scale"] == 0.5
        schedule = ReduceOnPlateau(patience=1, least=0.9)
        state = {"scale": 0.5, "waited": 1.0, "best": 0.0}
        assert schedule.after_epoch(state, {"loss": 1.0})["scale"] == 0.5

    def test_lbfgs_has_no_rate(self) -> None:
        with pytest.raises(InputError, match="lbfgs, which has no learning rate to halve"):
            fit(linear(), *data(), optimizer="lbfgs", batch_size=None, on_divergence="restore")


def test_lbfgs_tells_of_it_as_well() -> None:
    given = {"optimizer": "lbfgs", "batch_size": None}
    told = diverging(linear(), *with_bad_row(), **given).stop_reason
    assert told.startswith("diverged: the loss is nan at step 1 (epoch 1, rows 0, 1, 2 and 1,997 ")
    assert "x is not finite in row 601." in told
    history = diverging(linear(), *with_bad_row(), **given, on_divergence="continue")
    assert history.stop_reason.startswith("lbfgs ended: ")
    assert history.notes[0].endswith("; training goes on")


def test_lbfgs_stops_after_the_iteration(monkeypatch: pytest.MonkeyPatch) -> None:
    def minimise(evaluate: Any, start: np.ndarray, *, callback: Any, **options: Any) -> Any:
        loss, _ = evaluate(start)
        with pytest.raises(StopIteration):
            callback(intermediate_result=SimpleNamespace(x=start, fun=loss))
        return SimpleNamespace(x=start, fun=loss)

    monkeypatch.setattr("mlpx.training.minimiser.known_setulb", lambda: None)
    monkeypatch.setattr("mlpx.training.minimiser.public_minimize", lambda: minimise)
    x, y = data()
    y[BAD] = 1e30
    history = diverging(linear(), x, y, optimizer="lbfgs", batch_size=None)
    assert "the loss is inf at step 1 (epoch 1, rows 0, 1, 2 and 1,997 more): with the para" in (
        history.stop_reason
    )


def test_an_estimator_has_the_loss_at_which_it_stopped() -> None:
    x, y = data(40)
    y[7] = 1e30
    model = MLPRegressor(
        hidden_layer_sizes=(), solver="sgd", learning_rate_init=1e-33, max_iter=5, batch_size=8
    )
    with pytest.warns(RuntimeWarning, match=r"the loss is inf .* in row 7;"):
        model.fit(x, y)
    assert (model.loss_, model.loss_curve_, model.n_iter_) == (np.inf, [np.inf], 1)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'restore'"):
        fit(linear(), *data(), on_divergence="restores")
