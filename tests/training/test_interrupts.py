"""Ctrl-C leaves an intact model that resumes exactly; signal handlers are restored."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_training import data, net, quiet, same

from mlpx import MLP, Callback
from mlpx.training.interrupts import ending_signals, held_interrupt, plain

pytestmark = pytest.mark.xdist_group("alone")


class Interrupt(Callback):
    """Presses Ctrl-C at the begin or end of an epoch."""

    def __init__(self, event: str, at: int) -> None:
        self.event, self.at = event, at

    def on_epoch_begin(self, run: Any, epoch: int) -> None:
        if (self.event, self.at) == ("begin", epoch):
            signal.raise_signal(signal.SIGINT)

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        if (self.event, self.at) == ("end", epoch):
            signal.raise_signal(signal.SIGINT)


class TestInterrupt:
    @pytest.mark.parametrize("event", ["begin", "end"])
    def test_model_is_whole_and_goes_on_exactly(
        self, event: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("mlpx.training.epochs.RUN_S", 0.0)  # a step at a time
        x, y = data()
        handler = signal.getsignal(signal.SIGINT)
        whole, stopped = net(), net()
        quiet(whole, x, y, epochs=6, optimizer="adam")
        watch = Interrupt(event, 2)
        with pytest.raises(KeyboardInterrupt):
            quiet(stopped, x, y, epochs=6, optimizer="adam", callbacks=[watch])
        assert signal.getsignal(signal.SIGINT) is handler
        state = stopped.training_state
        assert state is not None
        expected = (2, 1, 9) if event == "begin" else (3, 0, 12)
        assert (state.epoch, state.position, state.step) == expected
        quiet(stopped, x, y, epochs=6 - state.epoch, optimizer="adam")
        assert same(whole, stopped)

    def test_at_the_very_end_is_not_lost(self) -> None:
        x, y = data()
        reasons = []

        class Listen(Callback):
            def on_train_end(self, run: Any) -> None:
                reasons.append(run.history.stop_reason)

        with pytest.raises(KeyboardInterrupt):
            quiet(net(), x, y, epochs=2, callbacks=[Interrupt("end", 1), Listen()])
        assert reasons == ["interrupted"]

    def test_pressed_twice_raises_at_once(self) -> None:
        x, y = data()
        seen = []

        class Twice(Callback):
            def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
                signal.raise_signal(signal.SIGINT)
                seen.append("once")
                signal.raise_signal(signal.SIGINT)
                seen.append("twice")

        with pytest.raises(KeyboardInterrupt):
            quiet(net(), x, y, epochs=3, callbacks=[Twice()])
        assert seen == ["once"]

    def test_a_handler_of_the_application_stays(self) -> None:
        x, y = data()
        heard = []
        before = signal.signal(signal.SIGINT, lambda *_: heard.append("heard"))
        try:
            history = quiet(net(), x, y, epochs=3, callbacks=[Interrupt("end", 1)])
        finally:
            signal.signal(signal.SIGINT, before)
        assert heard == ["heard"]
        assert history.stop_reason == "completed"

    def test_fit_in_another_thread_leaves_signals_alone(self) -> None:
        x, y = data()
        done = []
        worker = threading.Thread(
            target=lambda: done.append(quiet(net(), x, y, epochs=3).stop_reason)
        )
        worker.start()
        worker.join()
        assert done == ["completed"]

    def test_real_signal_to_a_real_process(self, tmp_path: Path) -> None:
        """SIGINT during training: exit by KeyboardInterrupt; the saved model resumes exactly."""
        path = tmp_path / "m.safetensors"
        command = [sys.executable, "-c", CHILD, str(path)]
        environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "training\n"
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            assert child.wait(timeout=30) == 0
        stopped = MLP.load(path)
        state = stopped.training_state
        assert state is not None
        assert 0 < state.step < 10**7
        exec(CHILD_DATA, scope := {"np": np})
        whole = MLP([20, 30, 3])
        assert state.step < 400_000, "the signal took too long for this check"
        whole.fit(scope["x"], scope["y"], steps=state.step, batch_size=32, verbose=0)
        assert same(whole, stopped)


class Signals(Callback):
    """Sends these signals at the end of the second epoch, and records which it survived."""

    def __init__(self, *numbers: int) -> None:
        self.numbers, self.survived = numbers, list[int]()

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        if epoch == 1:
            for number in self.numbers:
                signal.raise_signal(number)
                self.survived.append(number)


TERM, HUP, INT = signal.SIGTERM, signal.SIGHUP, signal.SIGINT


class TestBetweenTwoHandlers:
    """A signal that arrives while handlers are set or restored leaves none behind."""

    @pytest.mark.parametrize("at", range(6))
    @pytest.mark.parametrize("held", [ending_signals, held_interrupt])
    @pytest.mark.parametrize("times", [1, 2])
    def test_all_are_put_back(
        self, held: Any, at: int, times: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with ending_signals():
            before = [signal.getsignal(number) for number in (INT, TERM, HUP)]
            if held is ending_signals:
                signal.signal(TERM, signal.SIG_DFL)
                signal.signal(HUP, signal.SIG_DFL)
                before[1:] = [signal.SIG_DFL, signal.SIG_DFL]
            module: Any = signal if held is ending_signals else plain
            true_signal, calls = module.signal, []

            def sends(number: Any, handler: Any) -> Any:
                found = true_signal(number, handler)
                calls.append(number)
                for _ in range(times * (len(calls) == at + 1)):
                    signal.raise_signal(INT)
                return found

            monkeypatch.setattr(module, "signal", sends)
            try:
                with held():
                    pass
            except KeyboardInterrupt:
                calls.append(None)
            monkeypatch.undo()
            assert [signal.getsignal(number) for number in (INT, TERM, HUP)] == before
            assert (None in calls) == (len(calls) > at)


def test_a_python_without_its_own_signals_uses_the_public_ones(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "_signal", None)
    spec = importlib.util.find_spec("mlpx.training.interrupts")
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    assert copy.plain is signal
    before = signal.getsignal(INT)
    with pytest.raises(KeyboardInterrupt), copy.held_interrupt() as held:
        signal.raise_signal(INT)
    assert held == [INT]
    assert signal.getsignal(INT) is before


class TestOtherSignals:
    @pytest.mark.parametrize(
        ("numbers", "survived", "epochs"),
        [((TERM,), 1, 2), ((HUP,), 1, 2), ((HUP, HUP), 2, 2), ((TERM, TERM), 1, None),
         ((TERM, INT), 1, None), ((HUP, HUP, TERM), 2, None)],
    )  # fmt: skip
    def test_end_a_training_as_ctrl_c_does(
        self, numbers: tuple[int, ...], survived: int, epochs: int | None
    ) -> None:
        x, y = data()
        model, watch = net(), Signals(*numbers)
        with ending_signals() as came:
            with pytest.raises(KeyboardInterrupt):
                quiet(model, x, y, epochs=6, callbacks=[watch])
            assert signal.getsignal(TERM) is not signal.SIG_DFL
        assert came in ([numbers[0]], [numbers[-1]], [])
        assert watch.survived == list(numbers[:survived])
        state = model.training_state
        assert state is not None
        assert epochs in (None, state.epoch)
        assert signal.getsignal(TERM) is signal.getsignal(HUP) is signal.SIG_DFL

    def test_are_left_alone_where_they_are_ignored_or_handled(self) -> None:
        heard = []
        before = signal.signal(TERM, lambda *_: heard.append(1)), signal.signal(HUP, signal.SIG_IGN)
        try:
            with ending_signals() as came:
                watch = Signals(TERM, HUP)
                history = quiet(net(), *data(), epochs=3, callbacks=[watch])
        finally:
            signal.signal(TERM, before[0])
            signal.signal(HUP, before[1])
        assert (history.stop_reason, came, heard) == ("completed", [], [1])

    def test_end_a_program_that_does_not_ask_for_it(self) -> None:
        code = (
            "import signal; from mlpx.training.interrupts import *\n"
            "with held_interrupt(): signal.raise_signal(15)"
        )
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -TERM


CHILD_DATA = """
rng = np.random.default_rng(0)
x, y = rng.normal(size=(1000, 20)).astype("float32"), rng.integers(0, 3, size=1000)
"""
CHILD = f"""
import sys
import numpy as np
from mlpx import MLP, Callback
{CHILD_DATA}
class Tell(Callback):
    def on_epoch_end(self, run, epoch, logs):
        if epoch == 1:
            print("training", flush=True)

model = MLP([20, 30, 3])
try:
    model.fit(x, y, steps=10**7, batch_size=32, verbose=0, callbacks=[Tell()])
except KeyboardInterrupt:
    model.save(sys.argv[1])
    print("interrupted", flush=True)
"""
