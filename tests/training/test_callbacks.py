"""Callbacks see every event, stop a run with a reason, and leave the model intact if they fail."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_training import Script, data, net, quiet, same

from mlpx import MLP, BestWeights, Callback, EarlyStopping, StopOnPlateau
from mlpx.errors import InputError, InputTypeError


class Events(Callback):
    """Records the events it receives."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_check(self, run: Any) -> None:
        self.seen.append(("check", run.columns))

    def on_train_begin(self, run: Any) -> None:
        self.seen.append("begin")

    def on_epoch_begin(self, run: Any, epoch: int) -> None:
        self.seen.append(("epoch begin", epoch))

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        self.seen.append(("epoch end", epoch, dict(logs)))

    def on_train_end(self, run: Any) -> None:
        self.seen.append(("end", run.history.stop_reason, len(run.history.step_loss)))


def run_script(
    values: list[float], *watchers: Callback, name: str = "loss"
) -> tuple[MLP, Any, Script]:
    x, y = data()
    model, script = net(), Script(values, name)
    options: dict[str, Any] = {"validation_data": (x, y)} if name.startswith("val_") else {}
    history = quiet(model, x, y, epochs=len(values), callbacks=[script, *watchers], **options)
    return model, history, script


def test_events_come_in_order_and_count_over_the_models_life() -> None:
    x, y = data()
    model = net()
    quiet(model, x, y, epochs=1)
    events = Events()
    history = quiet(model, x, y, epochs=2, callbacks=[events], validation_data=(x, y))
    columns = ("loss", "accuracy", "val_loss", "val_accuracy")
    assert events.seen == [
        ("check", columns),
        "begin",
        ("epoch begin", 1),
        ("epoch end", 1, history.epochs[0]),
        ("epoch begin", 2),
        ("epoch end", 2, history.epochs[1]),
        ("end", "completed", 8),
    ]
    assert tuple(history.epochs[0]) == columns


def test_one_callback_alone_and_a_generator_will_do() -> None:
    x, y = data()
    first, second = Events(), Events()
    quiet(net(), x, y, epochs=1, callbacks=first)
    quiet(net(), x, y, epochs=1, callbacks=(e for e in [second]))
    assert first.seen == second.seen
    assert len(first.seen) == 5


def test_anything_that_answers_to_the_events_is_a_callback() -> None:
    x, y = data()

    class Duck:
        stopped = False

        def on_check(self, run: Any) -> None: ...
        def on_train_begin(self, run: Any) -> None: ...
        def on_epoch_begin(self, run: Any, epoch: int) -> None: ...
        def on_train_end(self, run: Any) -> None: ...
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            run.stop("enough")

    assert quiet(net(), x, y, callbacks=[Duck()]).stop_reason == "enough"


def test_steps_are_told_as_they_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step, between the begin and end of an epoch; `Duck` above has no `on_steps`."""

    class Steps(Callback):
        def __init__(self) -> None:
            self.seen: list[Any] = []

        def on_epoch_begin(self, run: Any, epoch: int) -> None:
            self.seen.append("begin")

        def on_steps(self, run: Any) -> None:
            self.seen.append((run.steps_done, run.state.position))

        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            self.seen.append("end")

    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 0.0)  # a step at a time
    steps = Steps()
    quiet(net(), *data(), epochs=2, callbacks=[steps])
    first, second = [(n, n) for n in range(1, 5)], [(n + 4, n) for n in range(1, 5)]
    assert steps.seen == ["begin", *first, "end", "begin", *second, "end"]


@pytest.mark.parametrize("event", ["check", "train_begin", "epoch_begin", "epoch_end", "train_end"])
def test_an_exception_ends_the_run_and_leaves_the_model_whole(event: str) -> None:
    x, y = data()

    class Fails(Callback):
        pass

    def fail(self: Any, *details: Any) -> None:
        raise ZeroDivisionError(event)

    setattr(Fails, f"on_{event}", fail)
    model, whole, events = net(), net(), Events()
    for m in (model, whole):
        quiet(m, x, y, epochs=1, optimizer="adam")
    with pytest.raises(ZeroDivisionError, match=event):
        quiet(model, x, y, epochs=2, optimizer="adam", callbacks=[events, Fails()])
    begun = event != "check"
    assert ("begin" in events.seen) == begun
    assert [e[0] for e in events.seen[-1:]] == (["end"] if begun else ["check"])
    epochs = {"epoch_end": 1, "train_end": 2}.get(event, 0)
    if event.startswith("epoch"):
        assert events.seen[-1] == ("end", f"ZeroDivisionError: {event}", 4 * epochs)
    if epochs:
        quiet(whole, x, y, epochs=epochs, optimizer="adam")
    assert same(model, whole)


def test_only_callbacks_that_began_are_ended() -> None:
    """A failed run must not restore the best weights of an earlier one."""
    x, y = data()
    model, best = net(), BestWeights("loss")
    quiet(model, x, y, epochs=2, callbacks=[best])
    quiet(model, x, y, epochs=2)
    before = model.flat.copy()

    class Fails(Callback):
        def on_train_begin(self, run: Any) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        quiet(model, x, y, callbacks=[Fails(), best])
    assert model.flat.tobytes() == before.tobytes()


class TestEarlyStopping:
    def test_waits_for_patience_epochs_and_restores_the_best(self) -> None:
        values = [5.0, 3.0, 4.0, 3.5, 3.0, 1.0]
        model, history, script = run_script(values, EarlyStopping("loss", patience=3))
        assert len(history) == 5
        assert history.stop_reason == (
            "loss did not improve by more than 0 for 3 epochs; best was epoch 2"
        )
        assert model.flat.tobytes() == script.flats[1]

    def test_an_improvement_starts_the_waiting_anew(self) -> None:
        values = [5.0, 5.0, 4.0, 4.0, 3.0, 3.0, 2.0]
        _, history, _ = run_script(values, EarlyStopping("loss", patience=2))
        assert len(history) == 7
        assert history.stop_reason == "completed"

    def test_a_smaller_change_than_the_least_is_none(self) -> None:
        values = [5.0, 4.75, 4.5, 4.25, 4.0]
        watch = EarlyStopping("loss", patience=2, min_change=0.5)
        model, history, script = run_script(values, watch)
        assert len(history) == 3, "4.5 is not more than 0.5 below 5"
        assert model.flat.tobytes() == script.flats[0]
        assert (watch.best, watch.best_epoch) == (5.0, 0)

    def test_keeps_the_last_weights_if_told(self) -> None:
        watch = EarlyStopping("loss", patience=1, restore_best=False)
        model, history, script = run_script([1.0, 2.0, 3.0], watch)
        assert len(history) == 2
        assert model.flat.tobytes() == script.flats[1]

    def test_accuracy_is_better_when_higher(self) -> None:
        values = [0.5, 0.7, 0.6, 0.9]
        watch = EarlyStopping("val_accuracy", patience=1)
        model, history, script = run_script(values, watch, name="val_accuracy")
        assert len(history) == 3
        assert model.flat.tobytes() == script.flats[1]

    @pytest.mark.parametrize(("mode", "epochs"), [("min", 2), ("max", 4), ("auto", 2)])
    def test_mode(self, mode: Any, epochs: int) -> None:
        values = [1.0, 2.0, 3.0, 4.0]
        _, history, _ = run_script(values, EarlyStopping("loss", patience=1, mode=mode))
        assert len(history) == epochs

    def test_nan_is_never_the_best(self) -> None:
        nan = float("nan")
        model, _, script = run_script([nan, 2.0, nan], EarlyStopping("loss", patience=5))
        assert model.flat.tobytes() == script.flats[1]

    def test_can_be_used_again(self) -> None:
        watch = EarlyStopping("loss", patience=2)
        for _ in range(2):
            _, history, _ = run_script([3.0, 3.0, 3.0, 3.0], watch)
            assert len(history) == 3
        _, history, _ = run_script([float("nan")] * 3, watch)
        assert len(history) == 2, "waits from the start again"

    def test_best_weights_are_there_after_ctrl_c(self) -> None:
        class Press(Callback):
            def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
                if epoch == 2:
                    raise KeyboardInterrupt

        x, y = data()
        model, script = net(), Script([1.0, 2.0, 3.0])
        with pytest.raises(KeyboardInterrupt):
            quiet(model, x, y, callbacks=[script, EarlyStopping("loss"), Press()])
        assert model.flat.tobytes() == script.flats[0]

    def test_range_of_its_options(self) -> None:
        with pytest.raises(InputError, match="patience = 0; it must be at least 1"):
            EarlyStopping(patience=0)
        with pytest.raises(InputTypeError, match=r"patience = 1\.5"):
            EarlyStopping(patience=1.5)  # type: ignore[arg-type]
        with pytest.raises(InputError, match="min_change = -1"):
            EarlyStopping(min_change=-1)
        with pytest.raises(InputError, match="mode = 'down'; it must be"):
            EarlyStopping(mode="down")  # type: ignore[arg-type]

    def test_unknown_column_lists_what_there_is(self) -> None:
        x, y = data()
        with pytest.raises(InputError, match=r"monitor = 'los'; this run reports \['loss', 'accu"):
            quiet(net(), x, y, callbacks=[EarlyStopping("los")])
        with pytest.raises(InputError, match=r"'val_f1'; this run reports .*'val_accuracy'\]$"):
            quiet(net(), x, y, callbacks=[EarlyStopping("val_f1")], validation_data=(x, y))


class TestStopOnPlateau:
    def test_is_the_rule_of_tol_and_n_iter_no_change(self) -> None:
        values = [1.0, 0.9, 0.89995, 0.8999, 0.89985]
        model, history, script = run_script(values, StopOnPlateau(tolerance=1e-3, patience=2))
        assert len(history) == 4
        assert "loss did not improve by more than 0.001 for 2 epochs" in history.stop_reason
        assert model.flat.tobytes() == script.flats[3], "the last parameters stay"

    def test_real_training_stops(self) -> None:
        x, y = data()
        history = quiet(net(), x, y, epochs=500, learning_rate=1e-6, callbacks=[StopOnPlateau()])
        assert len(history) == 11


class TestBestWeights:
    def test_puts_them_back_in_place(self) -> None:
        """Existing views of the parameters stay valid."""
        x, y = data()
        model = net()
        flat, W = model.flat, model.parameters["0.W"]
        quiet(model, x, y, epochs=3, callbacks=[Script([1.0, 2.0, 3.0]), BestWeights("loss")])
        assert model.flat is flat
        assert np.array_equal(model.parameters["0.W"], W)

    def test_puts_back_the_best_at_the_end(self) -> None:
        model, history, script = run_script([3.0, 1.0, 2.0], BestWeights("loss"))
        assert len(history) == 3
        assert model.flat.tobytes() == script.flats[1]

    @pytest.mark.parametrize(("latest", "kept"), [(False, 1), (True, 3)])
    def test_of_equal_epochs_the_first_or_the_latest(self, latest: bool, kept: int) -> None:
        best = BestWeights("loss", latest=latest)
        model, _, script = run_script([3.0, 1.0, 2.0, 1.0, 2.0], best)
        assert model.flat.tobytes() == script.flats[kept]
        assert best.best_epoch == kept

    def test_of_a_real_run_is_the_best_value_there_was(self) -> None:
        x, y = data()
        held = data(9)
        model = net()
        history = quiet(
            model, x, y, epochs=30, learning_rate=2.0,
            validation_data=held, callbacks=[BestWeights()],
        )  # fmt: skip
        assert min(history["val_loss"]) < history["val_loss"][-1]
        assert model.evaluate(*held)["loss"] == min(history["val_loss"])


def test_logs_are_plain_floats() -> None:
    x, y = data()
    history = quiet(net(dtype="float32"), x, y, epochs=1, validation_data=(x, y))
    assert {type(value) for value in history.epochs[0].values()} == {float}
    assert history.step_loss.dtype == np.float64


def test_steps_that_are_watched_slowly_are_as_many_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a callback takes is no reason to run fewer steps before it is told again."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    seen: list[int] = []

    class Slow(Callback):
        def on_steps(self, run: Any) -> None:
            clock.now += 1.0
            seen.append(run.steps_done)

    monkeypatch.setattr("mlpx.training.epochs.time", clock)
    x, y = data()
    quiet(net(), np.tile(x, (4, 1)), np.tile(y, 4), batch_size=1, epochs=1, callbacks=[Slow()])
    assert seen == [1, 3, 7, 15, 31, 63, 92]


def test_on_steps_must_be_a_method() -> None:
    class Counts(Callback):
        on_steps = 3  # type: ignore[assignment]

    with pytest.raises(InputTypeError, match="not a callback"):
        quiet(net(), *data(), callbacks=[Counts()])


def test_progress_is_told_before_what_follows_from_it(capsys: pytest.CaptureFixture[str]) -> None:
    """Its lines of an epoch before the callbacks' own, and its last one before their end."""

    class Prints(Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            print(f"after {epoch + 1}")  # noqa: T201

        def on_train_end(self, run: Any) -> None:
            print("end")  # noqa: T201

    quiet(net(), *data(), epochs=15, callbacks=[Prints()], verbose=None)
    words = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert words[:3] == ["epoch 1/15", "after 1", "epoch 2/15"]
    assert words[-3:] == ["after 15", "epoch 15/15", "end"]  # which is no second epoch's
