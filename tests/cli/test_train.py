"""`mlpx train`: what it learns, what it says, and what it writes where."""

from __future__ import annotations

import csv
import errno
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from commanding import FILES, TRUE_FIT, mlpx, names, refused, train
from typer.testing import CliRunner

from mlpx import MLP
from mlpx.cli import app
from mlpx.cli.train.settings import RECIPES
from mlpx.cli.train.setup import split
from mlpx.data import load_dataset
from mlpx.training.run_folder import locked, read_config, read_history

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


def test_plain_digits_is_good():
    found = train("digits")
    history = json.loads(Path("runs/digits/history.json").read_text())
    assert history["test"]["accuracy"] >= 0.97
    assert f"test accuracy   {100 * history['test']['accuracy']:.2f} % on 360 rows" in found.stdout
    for word in (
        "device          cpu (",
        "engine ",
        "samples/s",
        "runs/digits/: model.safetensors",
    ):
        assert word in found.stdout
    assert names("runs/digits") == FILES
    assert len(history["epochs"]) == RECIPES["digits"]["epochs"]
    assert set(history["epochs"][0]) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert len(history["step_loss"]) == history["steps"]


def test_the_model_takes_stored_values(table):
    train("digits", "--epochs", 1)
    model = MLP.load("runs/digits/model.safetensors")
    data = load_dataset("digits")
    assert model.layers[0].scale == data.scale == 1 / 16
    tested = json.loads(Path("runs/digits/history.json").read_text())["test"]
    assert model.evaluate(data.x_test, data.y_test) == tested


def test_the_options_reach_the_model_and_the_training(table):
    train(
        table, "--layers", "3,7,5,3", "--activation", "tanh", "--initializer", "normal",
        "--dtype", "float64", "--seed", 5, "--optimizer", "sgd", "--lr", 0.25, "--epochs", 3,
        "--batch-size", 10, "--sampling", "with-replacement", "--engine", "interpreter",
        "--validation", 0.2, "--device", "cpu", "--out", "run",
    )  # fmt: skip
    data = load_dataset(table)
    parts = split(data, share=0.2, seed=5)
    from mlpx import Dense

    wanted = MLP(
        [3, Dense(7, activation="tanh", initializer="normal"),
         Dense(5, activation="tanh", initializer="normal"), Dense(3, initializer="normal")],
        dtype="float64", seed=5,
    )  # fmt: skip
    history = wanted.fit(
        *parts.train, epochs=3, batch_size=10, optimizer="sgd", learning_rate=0.25,
        sampling="with_replacement", validation_data=parts.validation, engine="interpreter",
        verbose=0,
    )  # fmt: skip
    found = MLP.load("run/model.safetensors")
    assert (found.flat == wanted.flat).all()
    assert read_history(Path("run")).epochs == history.epochs
    config = read_config(Path("run"))
    assert config["layers"] == [3, 7, 5, 3]
    given = {"activation": "tanh", "seed": 5, "learning_rate": 0.25, "dataset": str(table)}
    assert given.items() <= config.items()


def test_an_optimizer_of_all_rows_at_once(table):
    train(table, "--optimizer", "lbfgs", "--epochs", 2, "--out", "run")
    assert len(read_history(Path("run")).step_loss) == 2
    assert read_config(Path("run"))["batch_size"] is None
    train("--resume", "run", "--optimizer", "adam", "--epochs", 1)
    assert read_config(Path("run"))["batch_size"] == 32
    found = mlpx("train", table, "--optimizer", "lbfgs", "--batch-size", 9, "--out", "other")
    assert found.exit_code == 1
    assert "lbfgs works on all 81 rows at once: leave batch_size" in " ".join(found.stderr.split())


def test_what_is_said(table):
    found = train(table, "--epochs", 1, "--hidden", 4, "--out", "run")
    lines = found.stdout.splitlines()
    assert lines[:2] == [
        "table: 81 rows to train, 9 to validate, 30 to test",
        "model: 3-4-3, 31 parameters, float32",
    ]
    assert lines[2] == "run: run/, with a checkpoint every 30s"
    assert lines[3].startswith("epoch 1/1  loss ")
    assert re.fullmatch(r"test accuracy   \d+\.\d\d % on 30 rows", lines[4])
    (training,) = (line for line in lines if line.startswith("training "))
    assert re.fullmatch(r"training        \d+\.\d s, 1 epoch, 3 steps, [\d,]+ samples/s", training)
    assert "stopped" not in found.stdout
    assert "2 epochs, 6 steps" in train(table, "--epochs", 2, "--hidden", 4, "--out", "run").stdout


def test_the_first_result_stands_out(table):
    found = CliRunner().invoke(app, ["train", str(table), "--epochs", "1"], color=True)
    bold = [line for line in found.stdout.splitlines() if "\x1b[1m" in line]
    assert [line.split()[:2] for line in bold] == [["test", "accuracy"]]


def test_the_engine_asked_for_runs(table):
    found = train(table, "--epochs", 1, "--engine", "interpreter", "--out", "run")
    assert "engine          interpreter (asked for)\n" in found.stdout


def test_the_classes_are_named(tmp_path):
    x, y = np.eye(3), np.arange(3)
    train("digits", "--epochs", 1, "--out", "digits")
    names = load_dataset("digits").class_names
    assert read_config(Path("digits"))["class_names"] == (None if names is None else list(names))
    assert names is not None
    np.savez("plain.npz", x_train=x, y_train=y)
    train("plain.npz", "--epochs", 1, "--validation", 0, "--out", "plain")
    assert read_config(Path("plain"))["class_names"] is None


def test_steps_instead_of_epochs(table):
    train(table, "--steps", 7, "--out", "run")
    assert len(read_history(Path("run")).step_loss) == 7


def test_widths_with_dashes(table):
    train(table, "--layers", "3-4-3", "--epochs", 1, "--out", "run")
    assert read_config(Path("run"))["layers"] == [3, 4, 3]


def test_hidden_widths_only(table):
    train(table, "--hidden", "4,6", "--epochs", 1, "--out", "run")
    assert read_config(Path("run"))["layers"] == [3, 4, 6, 3]


def test_the_validation_rows_are_held_out_and_the_same_for_a_seed():
    data = load_dataset("digits")
    parts, again, other = (split(data, share=0.1, seed=seed) for seed in (3, 3, 4))
    assert len(parts.train[0]) == 1293
    assert len(parts.validation[0]) == 144
    rows = np.concatenate([parts.train[0], parts.validation[0]])
    assert sorted(map(bytes, rows)) == sorted(map(bytes, data.x_train))
    assert (parts.validation[0] == again.validation[0]).all()
    assert not (parts.validation[0] == other.validation[0]).all()
    for x, y in (parts.train, parts.validation):
        index = {bytes(row): label for row, label in zip(data.x_train, data.y_train, strict=True)}
        assert [index[bytes(row)] for row in x] == list(y)


def test_no_validation_and_no_test_data(tmp_path):
    x, y = np.eye(4), np.arange(4)
    np.savez("half.npz", x_train=x, y_train=y)
    found = train("half.npz", "--validation", 0, "--epochs", 1)
    assert set(read_history(Path("runs/half")).epochs[0]) == {"loss", "accuracy"}
    assert "test accuracy" not in found.stdout
    assert "accuracy " in found.stdout


def test_real_targets_are_a_regression():
    x = np.linspace(-1, 1, 60)[:, None]
    np.savez("line.npz", x_train=x, y_train=2 * x[:, 0] + 1, x_test=x, y_test=2 * x[:, 0] + 1)
    found = train("line.npz", "--epochs", 60, "--lr", 0.01, "--hidden", 16)
    assert read_config(Path("runs/line"))["loss"] == "mean_squared_error"
    assert "accuracy" not in found.stdout
    np.save("x.npy", np.array([[0.5]]))
    assert float(mlpx("predict", "runs/line", "x.npy").stdout) == pytest.approx(2, abs=0.2)


def test_a_class_that_only_the_test_data_has_gets_its_output():
    x = np.eye(3)
    np.savez("t.npz", x_train=x, y_train=[0, 1, 0], x_test=x, y_test=[0, 1, 2])
    train("t.npz", "--epochs", 1, "--validation", 0, "--out", "run")
    assert read_config(Path("run"))["layers"] == [3, 100, 3]


def test_quiet_is_silent(table):
    found = train(table, "--epochs", 1, "-q")
    assert (found.stdout, found.stderr) == ("", "")


def test_without_matplotlib_it_says_how_to_get_it(table, monkeypatch):
    train(table, "--epochs", 1, "--out", "run")
    for module in [name for name in sys.modules if name.startswith("matplotlib")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    found = train(table, "--epochs", 1, "--out", "run")
    assert "pip install 'mlpx[plot]'" in found.stdout
    assert names("run") == [name for name in FILES if name != "curves.png"]  # no stale picture


def test_a_batch_larger_than_the_data_is_a_note(table):
    found = train(table, "--epochs", 1, "--batch-size", 1000)
    assert found.stderr == "note: batch_size = 1000 is larger than the data; trained with 81\n"


@pytest.mark.usefixtures("no_training")
def test_one_training_at_a_time_in_a_folder(table):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MLP, "fit", TRUE_FIT)
        train(table, "--epochs", 1, "--out", "run")
    before = {name: Path("run", name).read_bytes() for name in FILES}
    resumed = ["--resume", "run"]
    with locked(Path("run")):
        for given in ([table, "--out", "run"], resumed, [*resumed, "--out", "b"],
                      ["--resume", "run/model.safetensors"]):  # fmt: skip
            text = refused(*given, code=1)
            assert "run is in use by process " in text
    assert {name: Path("run", name).read_bytes() for name in FILES} == before
    assert not Path("b").exists()


def test_runs_get_names_of_their_own(table):
    for _ in range(3):
        train(table, "--epochs", 1, "-q")
    assert names("runs") == ["table", "table-2", "table-3"]


def test_an_earlier_run_and_an_empty_folder_may_be_written_to(table):
    Path("run").mkdir()
    train(table, "--epochs", 1, "--out", "run")
    Path("run/notes.txt").write_text("mine")
    train(table, "--epochs", 2, "--out", "run")
    assert len(read_history(Path("run"))) == 2
    assert names("run") == sorted([*FILES, "notes.txt"])


def test_a_csv_log(table):
    train(table, "--epochs", 2, "--csv-log", "log.csv", "--out", "run")
    train("--resume", "run", "--epochs", 1, "--csv-log", "log.csv")
    lines = list(csv.DictReader(Path("log.csv").read_text().splitlines()))
    assert [line["epoch"] for line in lines] == ["1", "2", "3"]
    assert float(lines[2]["val_loss"]) == read_history(Path("run"))["val_loss"][2]


def test_early_stopping_keeps_the_best_epoch(table):
    options = (table, "--epochs", 200, "--lr", 0.1, "--early-stopping", "val-loss", "--patience", 3)
    found = train(*options, "--out", "run")
    losses = read_history(Path("run"))["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 4 < 200
    reason = "val_loss did not improve by more than 0 for 3 epochs"
    assert f"stopped         {reason}; best was epoch {best + 1}\n" in found.stdout
    data = load_dataset(table)
    kept = MLP.load("run/model.safetensors")
    assert kept.evaluate(*split(data, share=0.1, seed=0).validation)["loss"] == losses[best]


def test_best_weights_and_plateau(table):
    train(table, "--epochs", 12, "--lr", 0.1, "--best-weights", "val_loss", "--out", "best")
    losses = read_history(Path("best"))["val_loss"]
    data = load_dataset(table)
    kept = MLP.load("best/model.safetensors").evaluate(*split(data, share=0.1, seed=0).validation)
    assert len(losses) == 12
    assert kept["loss"] == min(losses)
    train(table, "--epochs", 50, "--lr", 0, "--stop-on-plateau", "--patience", 2, "--out", "flat")
    assert len(read_history(Path("flat"))) == 3


def test_a_diverged_training_is_a_failure_that_is_kept(table):
    found = mlpx("train", table, "--optimizer", "sgd", "--lr", 1e30, "--epochs", 9, "--out", "a b")
    assert found.exit_code == 1
    assert "error: training diverged: the loss is" in found.stderr
    assert found.stderr.endswith("before it went wrong: mlpx train --resume 'a b' --lr RATE\n")
    history = json.loads(Path("a b/history.json").read_text(), parse_constant=pytest.fail)
    assert None in history["step_loss"]
    assert np.isnan(read_history(Path("a b")).step_loss).any()
    (stopped,) = [line for line in found.stdout.splitlines() if line.startswith("stopped ")]
    assert re.fullmatch(r"stopped +diverged: the loss is \w+ at step \d+", stopped)
    assert found.stderr.count("\n") == 1  # no note tells the same
    train("--resume", "a b", "--lr", 0.01, "--epochs", 2)
    assert np.isfinite(MLP.load("a b/model.safetensors").flat).all()


def test_a_checkpoint_that_is_not_written_is_told_also_if_all_is_to_be_quiet(table, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("mlpx.training.checkpoints.write_atomically", full)
    found = mlpx("train", table, "--epochs", 2, "--out", "run", "--quiet")
    assert (found.exit_code, found.stdout) == (0, "")
    first, second = found.stderr.splitlines()
    assert first.startswith("note: no checkpoint was written")
    assert first.endswith("training goes on, and the next one is tried when due")
    assert second.endswith("the end of the run is not kept")


def test_a_run_may_go_back_at_lower_rates(table):
    options = ("--optimizer", "sgd", "--lr", 30, "--out", "run")
    found = mlpx("train", table, *options, "--on-divergence", "restore")
    assert found.exit_code == 0
    assert "note: the loss is " in found.stderr
    assert read_config(Path("run"))["on_divergence"] == "restore"
    assert "time 1 of at most 5" in json.loads(Path("run/history.json").read_text())["notes"][0]
