"""`mlpx train`: what it learns, what it writes, what it refuses, and how it stops and goes on."""

from __future__ import annotations

import csv
import errno
import json
import os
import re
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpx import MLP, Callback, checkpoint
from mlpx.cli import app, complain
from mlpx.cli.experiment import RECIPES, Settings, split
from mlpx.cli.streams import spoken_warnings
from mlpx.data import DATASETS, load_dataset
from mlpx.engines import Engine
from mlpx.errors import DataNotFoundError, InputError
from mlpx.initializers import Initializer
from mlpx.kernels.activations import Activation
from mlpx.kernels.losses import Loss
from mlpx.optimizers import Optimizer
from mlpx.runs import joined, locked, read_config, read_history
from mlpx.sampling import SAMPLINGS

pytestmark = pytest.mark.usefixtures("blank_pictures")

TRUE_FIT = MLP.fit
FILES = ["config.json", "curves.png", "history.json", "model.safetensors"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def mlpx(*arguments):
    return CliRunner(env={"COLUMNS": "300", "TERM": "dumb"}).invoke(
        app, [str(a) for a in arguments]
    )


def train(*arguments):
    found = mlpx("train", *arguments)
    assert found.exit_code == 0, found.output
    return found


def refused(*arguments, code=2):
    found = mlpx("train", *arguments)
    assert (found.exit_code, found.stdout) == (code, ""), found.output
    return " ".join(found.stderr.replace("│", " ").split())


def names(folder):
    return sorted(entry.name for entry in Path(folder).iterdir())


def weights(folder):
    model = MLP.load(Path(folder) / "model.safetensors")
    return {name: np.array(value) for name, value in model.parameters.items()}


def same_weights(one, other):
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all((first[k] == second[k]).all() for k in first)


@pytest.fixture
def table(tmp_path):
    """A small data set of three classes that overlap, so that overfitting shows."""
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    x = (np.eye(3)[y] * 1.5 + rng.normal(size=(120, 3))).astype(np.float32)
    np.savez(tmp_path / "table.npz", x_train=x[:90], y_train=y[:90], x_test=x[90:], y_test=y[90:])
    return tmp_path / "table.npz"


# what it learns and writes


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
    assert lines[2].startswith("epoch 1/1  loss ")
    assert re.fullmatch(r"test accuracy   \d+\.\d\d % on 30 rows", lines[3])
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


# the tables and the data sets


def test_every_name_of_every_table_is_accepted():
    tables = {
        "activation": Activation.table, "optimizer": Optimizer.table, "loss": Loss.table,
        "initializer": Initializer.table, "sampling": SAMPLINGS, "engine": Engine.table,
    }  # fmt: skip
    for option, table in tables.items():
        for name in table:
            # the data set is looked at after the names: what is refused is it
            text = refused("none", f"--{option}", name.replace("_", "-").upper())
            assert "data set" in text, (option, name)


def test_every_recipe_belongs_to_a_data_set():
    assert set(RECIPES) == set(DATASETS)
    for name, recipe in RECIPES.items():
        Settings.choose({"dataset": name})
        assert Settings(dataset=name, **recipe)


# what it refuses, before any training


@pytest.fixture
def no_training(monkeypatch):
    def fit(*_, **__):
        pytest.fail("trained before the check")

    monkeypatch.setattr(MLP, "fit", fit)


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--activation", "relv"], "Invalid value for '--activation': 'relv' is not a known"),
        (["--optimizer", "adm"], "did you mean 'adam'"),
        (["--layers", "3,5,4"], "3,5,4 does not fit table, whose rows have 3 numbers and whose "
                                "targets need 3 outputs; for example --layers 3,5,3"),
        (["--layers", "4,3"], "for example --layers 3,100,3"),
        (["--layers", "3"], "for example --layers 3,100,3"),
        (["--layers", "3,x"], "'3,x'; wanted whole numbers with commas"),
        (["--hidden", "0"], "'0'; wanted whole numbers"),
        (["--layers", "3,3", "--hidden", "4"], "exclude each other"),
        (["--epochs", "3", "--steps", "4"], "exclude each other"),
        (["--epochs", "-1"], "--epochs"),
        (["--lr", "x"], "--lr"),
        (["--lr", "-1"], "--lr"),
        (["--steps", "0"], "--steps"),
        (["--batch-size", "0"], "--batch-size"),
        (["--validation", "1"], "--validation"),
        (["--validation", "0.001"], "0.001 of 90 rows is 0"),
        (["--early-stopping", "val_los"], "it reports loss, accuracy, val_loss, val_accuracy"),
        (["--best-weights", "val_loss", "--validation", "0"], "leaves no validation data"),
        (["--patience", "3"], "needs --early-stopping"),
        (["--device", "gpu"], "did you mean 'cuda'"),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_before_training(table, options, words):
    assert words in refused(table, *options)
    assert not Path("runs").exists()


@pytest.mark.usefixtures("no_training")
def test_an_unknown_data_set_is_wrong_usage():
    assert "did you mean 'digits'" in refused("digit")
    assert "which data set?" in refused()


@pytest.mark.usefixtures("no_training")
def test_a_broken_data_set_is_a_failure():
    Path("bad.npz").write_text("no zip")
    assert "bad.npz" in refused("bad.npz", code=1)
    assert "absent.npz" in refused("absent.npz", code=1)
    assert "data_dir" in refused("mnist", "--data-dir", "absent", "--no-download", code=1)


def test_where_data_is_looked_for_is_passed_on(monkeypatch):
    asked = {}

    def nowhere(name, **options):
        asked.update(options, name=name)
        raise DataNotFoundError("nowhere")

    monkeypatch.setattr("mlpx.data.load_dataset", nowhere)
    refused("mnist", "--data-dir", "there", "--no-download", code=1)
    assert asked == {
        "name": "mnist",
        "data_dir": Path("there"),
        "download": False,
        "progress": None,
    }
    refused("mnist", code=1)
    assert (asked["data_dir"], asked["download"]) == (None, True)


@pytest.mark.usefixtures("no_training")
def test_a_folder_of_other_things_is_left_alone(table):
    Path("mine").mkdir()
    Path("mine/thesis.tex").write_text("precious")
    text = refused(table, "--out", "mine", code=1)
    assert "mine holds thesis.tex and is not a run of mlpx" in text
    assert names("mine") == ["thesis.tex"]
    assert "is a file" in refused(table, "--out", table, code=1)


@pytest.mark.usefixtures("no_training")
def test_a_place_that_cannot_be_written_is_found_before_training(table):
    Path("file").write_text("")
    assert refused(table, "--out", "file/run", code=1).startswith("error: Not a directory: ")


def test_a_csv_log_that_cannot_be_written(table):
    found = mlpx("train", table, "--csv-log", "absent/log.csv")
    assert found.exit_code == 1
    assert "absent/log.csv" in found.stderr
    assert not Path("runs/table").exists()  # made, but nothing came of it


def test_a_full_disk_is_one_line(table, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    found = mlpx("train", table, "--epochs", 1, "--out", "run")
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
    assert "cannot write run/model.safetensors: No space left on device" in found.stderr
    assert not Path("run").exists()  # no part of a file either


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize("resumed", [False, True])
def test_a_disk_that_is_too_small_is_found_before_training(table, resumed, monkeypatch):
    def full(_, start, size):
        assert size > 31 * 3 * 4  # parameters and two moments
        raise OSError(errno.ENOSPC, "No space left on device")

    if resumed:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(MLP, "fit", TRUE_FIT)
            train(table, "--epochs", 1, "--hidden", 4, "--out", "run")
    before = Path("run/model.safetensors").read_bytes() if resumed else None
    monkeypatch.setattr(os, "posix_fallocate", full)
    text = refused(*(("--resume",) if resumed else (table, "--hidden", 4, "--out")), "run", code=1)
    assert "run has no room for the run (No space left on device): it needs " in text
    assert re.search(r"[\d,]+ bytes, [\d,]+ are free; make room, or name a folder on another", text)
    assert Path("run").exists() == resumed
    assert not resumed or Path("run/model.safetensors").read_bytes() == before


@pytest.mark.usefixtures("no_training")
@pytest.mark.parametrize(
    ("x", "y", "words"),
    [
        ([[1, 2, np.nan]], [0], "t: x_test has nan at row 0, column 2"),
        (np.zeros((0, 3)), np.zeros(0, int), "t: x_test is empty"),
        ([[1, 2, 3]], [-1], "t: y_test has label -1 at row 0; this model has 2 classes"),
    ],
)
def test_the_test_data_are_checked_before_training(x, y, words):
    np.savez("t.npz", x_train=np.eye(3), y_train=[0, 1, 0], x_test=x, y_test=y)
    assert words in refused("t.npz", "--validation", 0, "--out", "run", code=1)
    assert not Path("run").exists()


# what is not lost when all is trained


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


def of_a_process(*arguments, **streams):
    code = "from mlpx.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams},
        text=True, check=False, timeout=60,
    )  # fmt: skip


def test_an_output_and_a_log_that_die_end_no_training(table):
    with Path("/dev/full").open("w") as full:
        found = of_a_process(
            "train", table, "--epochs", 20, "--out", "run", "--csv-log", "/dev/full", stdout=full
        )
        notes = found.stderr.splitlines()
        assert found.returncode == 0, notes
        assert [line.partition(" (")[0] for line in notes] == [
            "note: standard output cannot be written any more",
            "note: /dev/full cannot be written any more",
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


# where it writes


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
            assert "run is in use by another training, or is being saved to; wait until" in text
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


# stopping


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
    found = mlpx("train", table, "--optimizer", "sgd", "--lr", 1e30, "--epochs", 9, "--out", "run")
    assert found.exit_code == 1
    assert "error: training diverged: the loss is" in found.stderr
    history = json.loads(Path("run/history.json").read_text(), parse_constant=pytest.fail)
    assert None in history["step_loss"]
    assert np.isnan(read_history(Path("run")).step_loss).any()


class Interrupt(Callback):
    """Ctrl-C at the end of the second epoch."""

    def on_epoch_end(self, run, epoch, logs):
        if epoch == 1:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupted_training_is_kept_and_goes_on_exactly(table, monkeypatch):
    monkeypatch.setattr("mlpx.cli.training_run.StopOnPlateau", Interrupt)
    found = mlpx("train", table, "--epochs", 5, "--out", "run", "--stop-on-plateau")
    assert found.exit_code == 130
    assert found.stderr == (
        "error: interrupted after 6 steps; what was learnt is in run; "
        "go on with: mlpx train --resume run\n"
    )
    assert names("run") == FILES
    assert "stopped" not in found.stdout
    assert json.loads(Path("run/history.json").read_text())["test"] is None
    train("--resume", "run", "--epochs", 3)
    train(table, "--epochs", 5, "--out", "whole")
    assert same_weights("run", "whole")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_a_training_as_ctrl_c_does(table, number, monkeypatch):
    class Ends(Callback):
        def on_epoch_end(self, run, epoch, logs):
            if epoch == 1:
                signal.raise_signal(number)

    monkeypatch.setattr("mlpx.cli.training_run.StopOnPlateau", Ends)
    found = mlpx("train", table, "--epochs", 5, "--out", "run", "--stop-on-plateau")
    assert found.exit_code == 128 + number
    assert found.stderr.startswith("error: interrupted after 6 steps; what was learnt is in run;")
    assert names("run") == FILES
    assert signal.getsignal(number) is signal.SIG_DFL


def test_the_second_ctrl_c_ends_at_once(table, monkeypatch):
    class Twice(Interrupt):
        def on_epoch_end(self, run, epoch, logs):
            super().on_epoch_end(run, epoch, logs)
            super().on_epoch_end(run, epoch, logs)

    monkeypatch.setattr("mlpx.cli.training_run.StopOnPlateau", Twice)
    found = mlpx("train", table, "--epochs", 5, "--out", "run", "--stop-on-plateau")
    assert (found.exit_code, found.stderr) == (130, "error: interrupted; nothing was written\n")
    assert not Path("run").exists()


def test_sigterm_before_the_first_step_of_a_real_process_says_so():
    """Wherever it comes, the exit code tells of it."""
    code = (
        "import signal, sys; import mlpx.cli.training_run as it\n"
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
        return joined(*histories)

    def fits(*given, **options):
        history = TRUE_FIT(*given, **options)
        if moment == "fitted":
            signal.raise_signal(number)
        return history

    train(table, "--epochs", 2, "--out", "run")
    train(table, "--epochs", 5, "--out", "whole")
    monkeypatch.setattr("mlpx.cli.training_run.StopOnPlateau", AtTheEnd)
    monkeypatch.setattr("mlpx.cli.training_run.joined", joins)
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
    monkeypatch.setattr("mlpx.cli.training_run.StopOnPlateau", AtOnce)
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
        while not process.stdout.readline().startswith("epoch 1/"):
            pass
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert errors.startswith("error: interrupted after ")
    assert errors.count("\n") == 1
    assert names("run") == FILES


def test_ctrl_c_before_training_leaves_nothing(table, monkeypatch):
    monkeypatch.setattr(MLP, "fit", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
    found = mlpx("train", table)
    assert (found.exit_code, found.stderr) == (130, "error: interrupted; nothing was written\n")
    assert names("runs") == []


# going on


def test_resume_goes_on_exactly(table):
    options = ("--optimizer", "adam", "--lr", 0.02, "--batch-size", 7, "--seed", 4, "--hidden", 5)
    train(table, *options, "--epochs", 5, "--out", "whole")
    train(table, *options, "--epochs", 2, "--out", "run")
    train("--resume", "run", "--epochs", 3)
    assert same_weights("run", "whole")
    whole, run = read_history(Path("whole")), read_history(Path("run"))
    assert run.epochs == whole.epochs
    assert (run.step_loss == whole.step_loss).all()
    assert (run.samples, run.first_epoch) == (whole.samples, 0)


def test_resume_on_the_device_asked_for(table, monkeypatch):
    train(table, "--epochs", 1, "--out", "run")
    load, asked = MLP.load, []

    def spy(path, **options):
        asked.append(options)
        return load(path, **options)

    monkeypatch.setattr(MLP, "load", spy)
    train("--resume", "run", "--epochs", 1, "--device", "cpu")
    assert asked == [{"device": "cpu"}]


def test_resume_into_another_folder_leaves_the_first(table):
    train(table, "--epochs", 2, "--out", "run")
    before = Path("run/model.safetensors").read_bytes()
    train("--resume", "run/model.safetensors", "--epochs", 1, "--out", "more")
    assert Path("run/model.safetensors").read_bytes() == before
    assert len(read_history(Path("more"))) == 3


def test_resume_with_other_settings_of_the_training(table):
    train(table, "--epochs", 2, "--lr", 0.5, "--out", "run")
    train("--resume", "run", "--optimizer", "sgd", "--batch-size", 9, "--steps", 4)
    config = read_config(Path("run"))
    assert (config["optimizer"], config["learning_rate"]) == ("sgd", None)
    assert (config["batch_size"], config["steps"], config["epochs"]) == (9, 4, None)


@pytest.mark.parametrize("option", ["--hidden", "--seed", "--dtype"])
def test_resume_keeps_the_model(table, option):
    train(table, "--epochs", 1, "--out", "run")
    value = "float64" if option == "--dtype" else "5"
    assert f"{option} belongs to the model" in refused("--resume", "run", option, value)


def test_resume_holds_out_what_the_run_held_out(table):
    train(table, "--epochs", 1, "--validation", 0.2, "--out", "run")
    for share in (0.4, 0):
        text = refused("--resume", "run", "--validation", share)
        assert f"{share:g}, and the run held out 0.2, which stays: rows that it learnt from" in text
    train("--resume", "run", "--epochs", 1, "--validation", 0.2)
    assert len(read_history(Path("run"))["val_loss"]) == 2


def test_resume_what_is_no_run(table):
    assert "absent does not exist; wanted a run folder" in refused("--resume", "absent", code=1)
    Path("empty").mkdir()
    assert "empty is not a run folder" in refused("--resume", "empty", code=1)
    Path("some.safetensors").write_text("")
    text = refused("--resume", "some.safetensors", code=1)
    assert text.startswith("error: some.safetensors is no run folder")
    assert names(".") == ["empty", "some.safetensors", "table.npz"]
    train(table, "--epochs", 1, "--out", "run")
    Path("run/history.json").write_text("{}")
    assert "is not a history" in refused("--resume", "run", code=1)


def test_a_run_is_found_from_elsewhere(table, tmp_path, monkeypatch):
    train("table.npz", "--epochs", 1, "--out", "run")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    assert mlpx("evaluate", "../run").exit_code == 0


def test_a_run_edited_by_hand_is_refused_in_words(table):
    train(table, "--epochs", 1, "--out", "run")
    config = json.loads(Path("run/config.json").read_text())
    for name, value in {"dataset": 5, "seed": "x"}.items():
        Path("run/config.json").write_text(json.dumps(config | {name: value}))
        for given in (("train", "--resume", "run"), ("evaluate", "run")):
            found = mlpx(*given)
            assert (found.exit_code, found.stdout) == (1, "")
            told = f"error: run/config.json has {name} = {json.dumps(value)}; wanted "
            assert found.stderr.startswith(told)
    del config["dataset"]
    Path("run/config.json").write_text(json.dumps(config))
    assert "which data set?" in refused("--resume", "run")
    train(table, "--resume", "run", "--epochs", 1)


def test_resume_by_the_model_file_goes_on_in_its_folder(table):
    train(table, "--epochs", 1, "--out", "run")
    train("--resume", "run/model.safetensors", "--epochs", 1)
    assert len(read_history(Path("run"))) == 2
    train("--resume", "run", "--out", "./run", "--epochs", 1)  # the same folder
    assert len(read_history(Path("run"))) == 3
