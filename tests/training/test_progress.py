"""The progress display: it fits the terminal and shows the right figures."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from types import SimpleNamespace

import numpy as np
import pytest

from mlpx import MLP, EarlyStopping
from mlpx.errors import InputError
from mlpx.training import progress
from mlpx.training.history import History
from mlpx.training.progress import Bar, Lines, display, duration, shortened, tail

LOGS = {"loss": 0.12345, "accuracy": 0.98765, "val_loss": 0.23456, "val_accuracy": 0.97222}


@pytest.mark.parametrize(
    ("room", "text"),
    [
        (200, "loss 0.1235  accuracy 0.9877  val_loss 0.2346  val_accuracy 0.9722  41,234 samples/s"
              "  0:12 left"),
        (80, "loss 0.1235  accuracy 0.9877  val_accuracy 0.9722  41,234 samples/s  0:12 left"),
        (61, "loss 0.1235 acc 0.988 val_acc 0.972 41k samples/s 0:12 left"),
        (55, "loss 0.1235 acc 0.988 val_acc 0.972 41k/s 0:12 left"),
        (40, "loss 0.1235 val_acc 0.972 0:12 left"),
        (22, "loss 0.1235 0:12 left"),
        (12, "0:12 left"),
        (5, ""),
    ],
)  # fmt: skip
def test_as_much_as_fits_is_shown(room, text):
    for columns in (room, len(text)):
        assert tail(columns, LOGS, rate=41234, clock="0:12 left") == text


def test_the_validation_loss_stays_where_it_is_all_there_is():
    found = tail(60, {"loss": 0.5, "val_loss": 0.25}, rate=950, clock="1:00 left")
    assert found == "loss 0.5000  val_loss 0.2500  950 samples/s  1:00 left"
    found = tail(50, {"loss": 0.5, "val_loss": 0.25}, rate=950, clock="1:00 left")
    assert found == "loss 0.5000 val_loss 0.2500 950/s 1:00 left"


def test_nothing_is_known_yet():
    assert tail(60, {}, rate=0, clock="0:00 left") == "0 samples/s  0:00 left"


def test_never_more_than_fits():
    for room in range(120):
        assert len(tail(room, LOGS, rate=41234, clock="0:12 left")) <= room


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (999, "999"), (999.6, "1.0k"), (1234, "1.2k"), (9400, "9.4k"),
     (9940, "9.9k"), (9950, "10k"), (41234, "41k"), (999_600, "1.0M"), (2.5e7, "25M")],
)  # fmt: skip
def test_shortened(count, text):
    assert shortened(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")]
)
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_what_verbose_means(monkeypatch):
    assert [list(map(type, display(verbose))) for verbose in (0, 1, 2)] == [[], [Bar], [Lines]]
    (lines,), (all_lines,) = display(None), display(2)
    assert type(lines) is Lines  # pytest captures stdout: no terminal
    assert (lines.few, all_lines.few) == (10, None)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert list(map(type, display(None))) == [Bar]


@pytest.mark.parametrize("verbose", [3, -1, "loud", 1.5])
def test_another_verbose_is_refused(verbose):
    with pytest.raises(InputError, match="verbose"):
        display(verbose)


def fit(verbose):
    x, y = np.eye(4, dtype=np.float32), np.arange(4)
    model = MLP([4, 4])
    model.fit(x, y, epochs=2, batch_size=2, verbose=verbose)
    return model.fit(x, y, epochs=2, batch_size=2, verbose=verbose)


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({"epochs": 1, "batch_size": 4}, (1, 1, "epoch 1/1")),
        ({"epochs": 0}, (0, 1, "")),
        ({"epochs": 3, "batch_size": 2}, (6, 6, "epoch 3/3")),
        ({"steps": 3, "batch_size": 2}, (3, 3, "epoch 2/2")),
    ],
)
def test_the_bar_is_full_at_the_end_of_what_was_asked_for(monkeypatch, options, wanted):
    ended, end = [], Bar.on_train_end
    monkeypatch.setattr(
        Bar, "on_train_end", lambda bar, run: ended.append(bar.bar.tasks[0]) or end(bar, run)
    )
    MLP([4, 4]).fit(np.eye(4), np.arange(4), verbose=1, **options)
    (task,) = ended
    assert (task.completed, task.total, task.description) == wanted


def test_lines_count_epochs_over_the_models_life(capsys):
    history = fit(2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"epoch {n}" for n in ("1/2", "2/2", "3/4", "4/4")
    ]
    assert f"loss {history['loss'][1]:.4f}  accuracy {history['accuracy'][1]:.4f}  " in lines[3]
    assert re.search(r"  [\d,]+ samples/s$", lines[3])


def test_lines_of_epochs_that_are_broken_off(capsys):
    model = MLP([4, 4])
    for _ in range(2):
        model.fit(np.eye(4), np.arange(4), steps=3, batch_size=2, verbose=2)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        f"epoch {n}" for n in ("1/2", "2/2", "2/3", "3/3")
    ]


def test_silence(capsys):
    fit(0)
    assert capsys.readouterr() == ("", "")


def on_a_terminal(code, columns):
    """What a program writes to a terminal with `columns` columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "LINES", "CI")}
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**env, "TERM": "xterm-256color"},
    ) as process:  # fmt: skip
        os.close(theirs)
        found = b""
        try:
            while piece := os.read(ours, 1 << 16):
                found += piece
        except OSError:
            pass  # the other side has closed: all is read
        assert process.wait() == 0, found.decode()
    os.close(ours)
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", found.decode())


@pytest.mark.parametrize(
    ("columns", "words"),
    [(80, r"acc.* val_acc.*samples/s "), (120, r"accuracy.* val_accuracy.*samples/s  "), (67, "")],
)
def test_the_bar_is_one_line_of_the_terminal(columns, words):
    code = (
        "import numpy as np, mlpx; x = np.eye(4, dtype='float32'); y = np.arange(4);"
        "mlpx.MLP([4, 4]).fit(x, y, epochs=12, batch_size=2, validation_data=(x, y))"
    )
    (last,) = {
        line for line in re.split(r"[\r\n]+", on_a_terminal(code, columns)) if "12/12" in line
    }
    assert columns - 1 <= len(last) <= columns
    assert last.startswith("epoch 12/12 ━━━━━━")
    assert re.search(rf"loss \d.*{words}in 0:0\d$", last)


def test_the_bar_is_drawn_as_training_goes_on():
    code = (
        "import numpy as np, mlpx, mlpx.training.progress as p; p.REFRESH_S = 0; x = np.eye(4);"
        "mlpx.MLP([4, 4]).fit(x, np.arange(4), epochs=3, batch_size=2)"
    )
    drawn = re.findall(r"epoch (\d)/3 .*? loss [\d.]+ ", on_a_terminal(code, 80))
    assert set(drawn) == {"1", "2", "3"}


def epochs_told(capsys, **options):
    x, y = np.eye(4, dtype=np.float32), np.arange(4)
    MLP([4, 4]).fit(x, y, batch_size=4, **options)
    return [int(n) for n in re.findall(r"^epoch (\d+)/", capsys.readouterr().out, re.MULTILINE)]


@pytest.mark.parametrize("epochs", [1, 9, 10, 11, 60, 101, 500])
def test_where_there_is_no_terminal_about_ten_lines_are_told(capsys, epochs):
    told = epochs_told(capsys, epochs=epochs)
    assert told == sorted(set(told))
    assert (told[0], told[-1]) == (1, epochs)
    assert min(epochs, 6) <= len(told) <= 12


def test_a_line_an_epoch_for_those_who_ask_for_it(capsys):
    assert epochs_told(capsys, epochs=60, verbose=2) == list(range(1, 61))


def test_the_last_epoch_is_told_when_it_comes_early(capsys):
    stop = EarlyStopping("loss", patience=3, min_change=1e9)
    assert epochs_told(capsys, epochs=1000, callbacks=[stop]) == [1, 4]


def test_within_an_epoch_the_bar_shows_the_loss_of_the_last_step(monkeypatch):
    shown = []
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 0.0)  # a step at a time
    monkeypatch.setattr(Bar, "_show", lambda bar, run, logs: shown.append(logs))
    monkeypatch.setattr("mlpx.training.progress.REFRESH_S", 0.0)
    history = MLP([4, 4]).fit(np.eye(4), np.arange(4), epochs=2, batch_size=2, verbose=1)
    steps, (first, second) = [{"loss": loss} for loss in history.step_loss], history.epochs
    assert shown == [*steps[:2], first, first | steps[2], first | steps[3], second]
    monkeypatch.setattr("mlpx.training.progress.REFRESH_S", 1e9)
    history = MLP([4, 4]).fit(np.eye(4), np.arange(4), epochs=2, batch_size=2, verbose=1)
    assert shown[6:] == history.epochs[-1:]  # the last epoch, whenever it ends


def test_the_bar_tells_its_rate_and_the_time_left(monkeypatch):
    """After 50 s, a quarter of 40 steps of 30 samples each is done; 5 more were before."""
    clock = SimpleNamespace(now=7.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    monkeypatch.setenv("COLUMNS", str(len("epoch 1/3 ━━━━━━ ") + 52))  # the least for all of it
    run = SimpleNamespace(
        total_steps=45, steps_done=5, samples_done=150, last_epoch=3,
        state=SimpleNamespace(epoch=0), recent_loss=lambda: 0.5,
    )  # fmt: skip
    bar, told = Bar(), []
    bar.on_train_begin(run)
    bar.bar.update = lambda task, **given: told.append(given)
    clock.now += 0.19
    bar.on_steps(run)
    assert told == []
    run.steps_done, run.samples_done, clock.now = 15, 450, 57.0
    bar.on_epoch_end(run, 0, {"loss": 0.25, "val_loss": 1.0})
    run.state.epoch = 3  # the last is over, whatever comes
    run.steps_done, clock.now = 45, 107.0
    bar.on_steps(run)
    bar.on_train_end(run)
    first, last = told
    assert (first["completed"], first["description"]) == (15, "epoch 1/3")
    assert first["tail"] == "loss 0.2500  val_loss 1.0000  6 samples/s  2:30 left"
    assert (last["completed"], last["description"]) == (45, "epoch 3/3")
    assert last["tail"] == "loss 0.5000  val_loss 1.0000  3 samples/s  in 1:40"


def test_lines_tell_the_rate_since_the_last_one(monkeypatch):
    """Of 15 epochs, every second one, the first and the last."""
    clock = SimpleNamespace(now=7.0, perf_counter=lambda: clock.now)
    monkeypatch.setattr(progress, "time", clock)
    flushed, out = [], io.StringIO()
    out.flush = lambda: flushed.append(len(out.getvalue().splitlines()))
    monkeypatch.setattr(sys, "stdout", out)
    before = [{"loss": 1.0}] * 2  # of a run that goes on
    history = History(first_epoch=8, epochs=before, samples=700)
    run = SimpleNamespace(last_epoch=25, history=history, samples_done=700)
    lines = Lines(10)
    lines.on_train_begin(run)
    for epoch in range(1, 16):
        clock.now += 2.0
        run.history.epochs.append({"loss": 0.5})
        run.history.samples += 100 * epoch
        lines.on_epoch_end(run, epoch, run.history.epochs[-1])
    lines.on_train_end(run)
    told = out.getvalue().splitlines()
    assert told[0] == "epoch 11/25  loss 0.5000  50 samples/s"
    assert told[1] == "epoch 12/25  loss 0.5000  100 samples/s"
    assert told[2] == "epoch 14/25  loss 0.5000  175 samples/s"  # of 300 and 400 in 4 s
    assert [line.split("/")[0][6:] for line in told[3:]] == ["16", "18", "20", "22", "24", "25"]
    assert flushed == list(range(1, 10))
