"""`mlpx train`: nothing is lost when it is interrupted, or nobody listens any more."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from commanding import FILES, TRUE_FIT, mlpx, names, same_weights, train

from mlpx import MLP, Callback, History
from mlpx.cli import complain
from mlpx.cli.streams import spoken_warnings
from mlpx.cli.train.setup import prepare
from mlpx.errors import InputError
from mlpx.training.interrupts import asking_allowed
from mlpx.training.run_folder import read_history

pytestmark = [
    pytest.mark.usefixtures("elsewhere", "blank_pictures"),
    pytest.mark.xdist_group("alone"),
]


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), InputError("none")])
def test_the_model_is_written_before_it_is_tested(table, error, monkeypatch):
    def fail(*_, **__):
        assert Path("run/model.safetensors").exists()
        raise error

    monkeypatch.setattr(MLP, "evaluate", fail)
    found = mlpx("train", table, "--epochs", 2, "--out", "run")
    assert found.exit_code == (130 if isinstance(error, KeyboardInterrupt) else 1)
    assert found.stderr.endswith("; the run is in run\n")
    assert names("run") == FILES
    assert json.loads(Path("run/history.json").read_text())["test"] is None


@pytest.mark.parametrize("file", FILES)
def test_ctrl_c_while_the_run_is_written_waits_for_it(table, file, monkeypatch):
    replace = os.replace

    def interrupted(part, target):
        if target.name == file:
            signal.raise_signal(signal.SIGINT)
        replace(part, target)

    monkeypatch.setattr(os, "replace", interrupted)
    found = mlpx("train", table, "--epochs", 2, "--out", "run")
    assert found.exit_code == 130
    assert found.stderr.startswith("error: interrupted")
    assert found.stderr.endswith("; the run is in run\n")
    assert names("run") == FILES


def of_a_process(*arguments, first="", **streams):
    code = f"{first}from mlpx.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        text=True, check=False, timeout=60,
    )  # fmt: skip


FULL = """
import os
from mlpx import CSVLog
begin = CSVLog.on_train_begin
def filled(self, run):
    begin(self, run)
    os.dup2(os.open("/dev/full", os.O_WRONLY), self._file.fileno())
CSVLog.on_train_begin = filled
"""
"""The disk of the log is full once it has its header."""


def test_an_output_and_a_log_that_die_end_no_training(table):
    with Path("/dev/full").open("w") as full:
        found = of_a_process(
            "train", table, "--epochs", 20, "--out", "run", "--csv-log", "log.csv",
            first=FULL, stdout=full,
        )  # fmt: skip
        notes = found.stderr.splitlines()
        assert found.returncode == 0, notes
        assert [line.partition(" (")[0] for line in notes] == [
            "note: standard output cannot be written any more",
            "note: log.csv cannot be written any more",
        ]
        assert names("run") == FILES


def test_nobody_need_be_there_to_be_told(monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    for stream in (None, SimpleNamespace(write=full, flush=full, isatty=bool)):
        monkeypatch.setattr(sys, "stderr", stream)
        with spoken_warnings():
            warnings.warn("a note", RuntimeWarning, stacklevel=1)
        complain("a failure")


def test_what_is_deprecated_or_was_told_is_not_told(capsys):
    with spoken_warnings():
        warnings.warn("a note", RuntimeWarning, stacklevel=1)
        warnings.warn("a note", RuntimeWarning, stacklevel=1)  # of another line
        warnings.warn("a library's own affair", DeprecationWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: a note\n"


def test_a_reader_that_goes_ends_no_training(table):
    ours, theirs = os.pipe()
    os.close(ours)
    found = of_a_process("train", table, "--epochs", 20, "--out", "run", stdout=theirs)
    os.close(theirs)
    assert found.returncode == 0
    assert found.stderr == (
        "note: standard output cannot be written any more (Broken pipe); training goes on\n"
    )
    assert names("run") == FILES


def without_checkpoints(folder):
    """What a finished run has; one that was cut short has checkpoints beside it."""
    return [name for name in names(folder) if not name.startswith("checkpoint-")]


class Interrupt(Callback):
    """Ctrl-C at the end of the second epoch."""

    def on_epoch_end(self, run, epoch, logs):
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.parametrize("more", [(), ("--epochs", 3)], ids=["as planned", "as many more"])
def test_an_interrupted_training_is_kept_and_goes_on_exactly(table, more, monkeypatch):
    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Interrupt)
    found = mlpx("train", table, "--epochs", 5, "--out", "run", "--stop-on-plateau")
    assert found.exit_code == 130
    assert found.stderr == (
        "error: interrupted after 6 steps; what was learnt is in run; "
        "go on with: mlpx train --resume run\n"
    )
    assert without_checkpoints("run") == FILES != names("run")
    assert "stopped" not in found.stdout
    assert json.loads(Path("run/history.json").read_text())["test"] is None
    train("--resume", "run", *more)
    assert names("run") == FILES
    train(table, "--epochs", 5, "--out", "whole")
    assert same_weights("run", "whole")
    assert len(read_history(Path("run"))) == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_a_training_as_ctrl_c_does(table, number, monkeypatch):
    class Ends(Callback):
        def on_epoch_end(self, run, epoch, logs):
            if epoch == 1:
                signal.raise_signal(number)

    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Ends)
    found = mlpx("train", table, "--epochs", 5, "--out", "a run", "--stop-on-plateau")
    assert found.exit_code == 128 + number
    assert found.stderr == (
        "error: interrupted after 6 steps; what was learnt is in a run; "
        "go on with: mlpx train --resume 'a run'\n"
    )
    assert without_checkpoints("a run") == FILES
    assert signal.getsignal(number) is signal.SIG_DFL


usr1 = pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="no SIGUSR1")


@usr1
def test_a_checkpoint_asked_for_where_there_is_none_ends_nothing(table, monkeypatch):
    def ask(*_):
        assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL  # or all tests end here
        signal.raise_signal(signal.SIGUSR1)

    class Asks(Callback):
        on_train_begin = on_epoch_end = on_train_end = ask

    def prepared(options):
        ask()
        return prepare(options)

    monkeypatch.setattr("mlpx.cli.train.run.prepare", prepared)
    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Asks)
    options = ("--epochs", 2, "--stop-on-plateau")
    try:
        with asking_allowed():
            train(table, *options, "--checkpoint-every", "off", "--out", "run")
            train(table, *options, "--out", "kept")
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert same_weights("run", "kept")


@usr1
def test_no_moment_of_a_command_is_ended_by_a_wish_for_a_checkpoint():
    text = (
        "import atexit, os, signal\n"
        "from mlpx import cli\n"
        "ask = lambda **_: os.kill(os.getpid(), signal.SIGUSR1)\n"
        "atexit.register(ask)\n"
        "cli.app = ask\n"
        "cli.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, b"")


@usr1
def test_a_checkpoint_asked_for_is_written(table, monkeypatch):
    class Asks(Callback):
        def on_epoch_end(self, run, epoch, logs):
            assert signal.getsignal(signal.SIGUSR1) is not signal.SIG_DFL
            signal.raise_signal(signal.SIGUSR1)
            asked.append(run.callbacks[-1].asked)

    asked = []
    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Asks)
    train(table, "--epochs", 2, "--stop-on-plateau", "--out", "run")
    assert asked == [True, True]


@usr1
@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda *_: None])
def test_a_handler_of_the_application_stays(table, handler, monkeypatch):
    seen = []

    class Sees(Callback):
        def on_epoch_end(self, run, epoch, logs):
            seen.append(signal.getsignal(signal.SIGUSR1))

    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Sees)
    signal.signal(signal.SIGUSR1, handler)
    try:
        train(table, "--epochs", 1, "--stop-on-plateau", "--out", "run")
        seen.append(signal.getsignal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert seen == [handler, handler]


def test_the_second_ctrl_c_ends_at_once(table, monkeypatch):
    class Twice(Interrupt):
        def on_epoch_end(self, run, epoch, logs):
            super().on_epoch_end(run, epoch, logs)
            super().on_epoch_end(run, epoch, logs)

    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Twice)
    found = mlpx("train", table, "--epochs", 5, "--out", "a run", "--stop-on-plateau")
    assert found.exit_code == 130
    assert found.stderr == (
        "error: interrupted; go on from the last checkpoint with: mlpx train --resume 'a run'\n"
    )
    assert all(name.startswith("checkpoint-") for name in names("a run"))


def test_sigterm_before_the_first_step_of_a_real_process_says_so():
    """Wherever it comes, the exit code tells of it."""
    code = (
        "import signal, sys; import mlpx.cli.train.run as it\n"
        "from mlpx.cli import main\n"
        "it.prepare = lambda _: exec('signal.raise_signal(15)', {'signal': signal})\n"
        "sys.argv[1:] = ['train', 'digits']; main()"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 128 + signal.SIGTERM
    assert found.stderr == "error: interrupted; nothing was written\n"


@pytest.mark.parametrize(
    ("moment", "number"),
    [("on_train_end", signal.SIGINT), ("joined", signal.SIGTERM), ("fitted", signal.SIGINT)],
)
def test_a_signal_when_all_is_learnt_loses_nothing(table, moment, number, monkeypatch):
    class AtTheEnd(Callback):
        def on_train_end(self, run):
            if moment == "on_train_end":
                signal.raise_signal(number)

    def joins(*histories):
        if moment == "joined":
            signal.raise_signal(number)
        return true_joined(*histories)

    def fits(*given, **options):
        history = TRUE_FIT(*given, **options)
        if moment == "fitted":
            signal.raise_signal(number)
        return history

    train(table, "--epochs", 2, "--out", "run")
    train(table, "--epochs", 5, "--out", "whole")
    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", AtTheEnd)
    true_joined = History.joined
    monkeypatch.setattr(History, "joined", joins)
    monkeypatch.setattr(MLP, "fit", fits)
    found = mlpx("train", "--resume", "run", "--epochs", 3, "--stop-on-plateau")
    assert found.exit_code == 128 + number
    assert found.stderr == "error: interrupted after the training; the run is in run\n"
    assert same_weights("run", "whole")
    history = read_history(Path("run"))
    assert (history.stop_reason, len(history)) == ("completed", 5)


class AtOnce(Callback):
    """Ctrl-C when training has begun and no step was taken."""

    def on_train_begin(self, run):
        raise KeyboardInterrupt


def test_ctrl_c_before_the_first_step_leaves_nothing(table, monkeypatch):
    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", AtOnce)
    found = mlpx("train", table, "--stop-on-plateau")
    assert (found.exit_code, found.stderr) == (130, "error: interrupted; nothing was written\n")
    assert names("runs") == []


def test_ctrl_c_of_a_real_process_within_an_epoch(table):
    code = "from mlpx.cli import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "train", str(table), "--epochs", "100000", "--out", "run"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process:
        assert any(line.startswith("epoch 1/") for line in process.stdout)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.startswith("error: interrupted after ")
    assert errors.count("\n") == 1
    assert without_checkpoints("run") == FILES


def test_ctrl_c_before_training_leaves_nothing(table, monkeypatch):
    monkeypatch.setattr(MLP, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    found = mlpx("train", table)
    assert (found.exit_code, found.stderr) == (130, "error: interrupted; nothing was written\n")
    assert names("runs") == []
