"""`mlpx train` that is killed: its run is there, says what it is, and is finished as planned."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from commanding import FILES, mlpx, names, refused, same_weights, train

from mlpx import Callback
from mlpx.training.checkpoint_files import latest, name_of, numbered
from mlpx.training.run_folder import MODEL, read_config, read_history, run_folder

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


def test_a_killed_training_is_finished_as_planned(table, killed):
    options = (table, "--epochs", 5, "--optimizer", "adam", "--seed", 4)
    train(*options, "--out", "whole", "--csv-log", "whole.csv")
    killed(*options, "--out", "run", "--csv-log", "run.csv")
    assert not set(names("run")) & set(FILES)
    killed("--resume", "run", after=3)
    train("--resume", "run")
    assert names("run") == FILES
    assert same_weights("run", "whole")
    whole, run = read_history(Path("whole")), read_history(Path("run"))
    assert (run.epochs, run.samples) == (whole.epochs, whole.samples)
    assert (run.step_loss == whole.step_loss).all()
    assert Path("run.csv").read_text() == Path("whole.csv").read_text()
    assert read_config(Path("run")) | {"csv_log": None} == read_config(Path("whole")) | {
        "csv_log": None,
        "checkpoint_every": "1",
    }


@pytest.mark.parametrize("lost", ["gone", "empty"])
def test_a_run_makes_no_log_outside_of_its_folder(table, killed, lost):
    """Somebody else's run could name any file that is to be there."""
    killed(table, "--epochs", 5, "--out", "run", "--csv-log", "run.csv")
    Path("run.csv").unlink()
    if lost == "empty":
        Path("run.csv").touch()
    told = "run is a run whose log, /.*run.csv, is outside of it and is not there, or is empty; "
    assert re.search(told + ".* --csv-log", refused("--resume", "run", code=1).replace("\n", " "))
    assert Path("run.csv").exists() == (lost == "empty")
    assert not lines("run.csv")
    train("--resume", "run", "--csv-log", "run.csv")
    assert lines("run.csv") == 6


def test_a_log_inside_of_the_runs_folder_that_is_gone_is_made_again(table, killed):
    Path("run").mkdir()
    killed(table, "--epochs", 5, "--out", "run", "--csv-log", "run/log.csv")
    Path("run/log.csv").unlink()
    train("--resume", "run")
    assert lines("run/log.csv") == 6


def lines(path):
    return len(Path(path).read_text().splitlines()) if Path(path).exists() else 0


def test_what_is_there_of_it_predicts(table, killed):
    killed(table, "--epochs", 5, "--out", "run")
    last = latest(Path("run")).path
    for given in ("run", last):
        found = mlpx("evaluate", given)
        assert (found.exit_code, found.stderr) == (0, "")


def test_as_many_more_epochs_or_steps(table, killed):
    train(table, "--epochs", 4, "--out", "whole")
    killed(table, "--epochs", 9, "--out", "run")
    train("--resume", "run", "--epochs", 2)
    assert same_weights("run", "whole")
    killed(table, "--epochs", 9, "--out", "more")
    train("--resume", "more", "--steps", 6)
    assert same_weights("more", "whole")


def test_an_epoch_that_was_cut_short_counts(table, killed, monkeypatch):
    monkeypatch.setattr("mlpx.training.epochs.RUN_S", 0.0)  # a step at a time
    train(table, "--epochs", 2, "--out", "whole")
    killed(table, "--epochs", 9, "--out", "run", step=5)
    train("--resume", "run", "--epochs", 1)
    assert same_weights("run", "whole")
    text = " ".join(mlpx("train", "--help").stdout.replace("│", " ").split())
    assert "with --resume that many more, counting one that was cut short." in text


def test_it_goes_on_from_the_newest_checkpoint_only(table, killed):
    train(table, "--epochs", 5, "--out", "whole")
    killed(table, "--epochs", 5, "--out", "run")
    older, newest = sorted(Path("run").iterdir())
    text = refused("--resume", older, code=1)
    told = f"{older} is not the newest checkpoint of its run, which goes on from {newest}; name"
    assert told in text
    content = newest.read_bytes()
    newest.write_bytes(content[:-1])  # then the older one is what it goes on from
    with pytest.warns(UserWarning, match="the checkpoint before it is taken"):
        assert run_folder(older) == Path("run")
    newest.write_bytes(content)
    train("--resume", newest)
    assert same_weights("run", "whole")


def test_it_goes_on_in_another_folder(table, killed):
    train(table, "--epochs", 5, "--out", "whole")
    killed(table, "--epochs", 5, "--out", "run")
    before = names("run")
    train("--resume", "run", "--out", "other")
    assert (names("run"), names("other")) == (before, FILES)
    assert same_weights("other", "whole")


def test_with_other_settings_its_model_is_trained_anew(table, killed):
    killed(table, "--epochs", 5, "--out", "run")
    train("--resume", "run", "--lr", 0.5, "--epochs", 1)
    history = read_history(Path("run"))
    assert (len(history), history.first_epoch) == (3, 0)
    assert names("run") == FILES


def test_its_checkpoints_do_not_outlive_a_newer_model(table, killed, monkeypatch):
    class Interrupt(Callback):
        def on_epoch_end(self, run, epoch, logs):
            if epoch == 3:
                signal.raise_signal(signal.SIGINT)

    killed(table, "--epochs", 5, "--out", "run")
    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Interrupt)
    options = ("--lr", 0.5, "--epochs", 9, "--stop-on-plateau", "--checkpoint-every", "off")
    assert mlpx("train", "--resume", "run", *options).exit_code == 130
    assert names("run") == FILES
    train("--resume", "run", "--epochs", 1, "--no-stop-on-plateau")
    assert len(read_history(Path("run"))) == 5


def test_it_remembers_when_to_stop(table, killed):
    options = (table, "--epochs", 40, "--early-stopping", "loss", "--patience", 2, "--lr", 30)
    train(*options, "--out", "whole")
    stopped = read_history(Path("whole")).stop_reason
    assert stopped.startswith("loss did not improve")
    killed(*options, "--out", "run")
    train("--resume", "run")
    assert same_weights("run", "whole")
    assert read_history(Path("run")).stop_reason == stopped
    train("--resume", "run", "--early-stopping", "off", "--epochs", 3)
    assert read_history(Path("run")).stop_reason == "completed"


def test_what_came_before_it_is_kept(table, killed):
    train(table, "--epochs", 2, "--out", "run")
    train(table, "--epochs", 7, "--out", "whole")
    before = {name: Path("run", name).read_bytes() for name in FILES}
    killed("--resume", "run", "--epochs", 5)
    assert before == {name: Path("run", name).read_bytes() for name in FILES}
    found = latest(Path("run"))
    assert set(found.beside["before"]["epochs"]) == {"names", "values"}  # there may be a million
    model = mlpx("evaluate", "run/" + MODEL).stdout
    shutil.copytree("run", "copy")
    os.utime("copy/" + MODEL)  # the clock says nothing of which is newer
    for run in ("run", "copy"):
        shown = mlpx("evaluate", run)
        assert shown.stdout == mlpx("evaluate", found.path).stdout != model
        told = f"note: the run in {run} was cut short: this is {found.path.name}, which is newer"
        assert shown.stderr == f"{told} than {MODEL}\n"
    for _, path in numbered(Path("copy")):
        os.truncate(path, 1000)
    assert mlpx("evaluate", "copy").stdout == model
    train("--resume", "run")
    assert same_weights("run", "whole")
    assert read_history(Path("run")).epochs == read_history(Path("whole")).epochs


def test_a_run_that_has_not_done_a_step_replaces_no_model(table, killed):
    train(table, "--epochs", 2, "--out", "run")
    shown = mlpx("evaluate", "run").stdout
    killed(table, "--epochs", 5, "--hidden", 7, "--out", "run", after=0)
    assert names("run") != FILES
    found = mlpx("evaluate", "run")
    assert (found.stdout, found.stderr) == (shown, "")


def test_it_is_not_replaced(table, killed):
    killed(table, "--epochs", 5, "--out", "a run")
    before = names("a run")
    text = refused(table, "--out", "a run", code=1)
    told = "a run has a run that was cut short after 6 of 15 steps: finish it with mlpx train "
    assert f"{told}--resume 'a run', name another folder" in text
    assert names("a run") == before


def test_another_table_is_refused(table, killed):
    killed(table, "--epochs", 5, "--out", "run")
    import numpy as np

    with np.load(table) as file:
        arrays = dict(file)
    arrays["x_train"][3, 0] += 1
    np.savez(table, **arrays)
    found = mlpx("train", "--resume", "run")
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
    assert "is of another run: x has other values" in found.stderr


def test_off(table):
    train(table, "--epochs", 2, "--checkpoint-every", "off", "--out", "run")
    assert names("run") == FILES
    assert "every = 'x'; wanted a number" in refused(table, "--checkpoint-every", "x")


@pytest.mark.parametrize("every", ["30s", "off"])
def test_a_real_process(table, every):
    code = "from mlpx.cli import main; main()"
    command = [sys.executable, "-c", code, "train", str(table), "--epochs", "100000"]
    process = subprocess.Popen(
        [*command, "--out", "run", "--checkpoint-every", every], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert any(line.startswith("epoch 1/") for line in process.stdout)
        for number in (1, 2) if every != "off" else ():
            until_s = time.monotonic() + 30
            while not Path("run", name_of(number)).exists():
                assert process.poll() is None
                assert time.monotonic() < until_s
                time.sleep(0.01)
            process.send_signal(signal.SIGUSR1)  # asks for one more
        os.kill(process.pid, signal.SIGKILL)
    text = refused("--resume", "run", "--epochs", 1, code=1) if every == "off" else ""
    assert ("is not a run folder" in text) == (every == "off")
    if not text:
        train("--resume", "run", "--epochs", 1)
        assert json.loads(Path("run/history.json").read_text())["stop_reason"] == "completed"
