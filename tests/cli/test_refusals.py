"""`mlpx train`: what it refuses before any training."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest
from commanding import TRUE_FIT, mlpx, names, refused, train

from mlpx import MLP
from mlpx.cli.train.settings import RECIPES, Settings, TrainOptions
from mlpx.data import DATASETS
from mlpx.engines import Engine
from mlpx.errors import DataNotFoundError
from mlpx.kernels.activations import Activation
from mlpx.kernels.initializers import Initializer
from mlpx.kernels.losses import Loss
from mlpx.network import checkpoint
from mlpx.optimizers import Optimizer
from mlpx.training.sampling import SAMPLINGS

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


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
        Settings.choose(TrainOptions(dataset=name))
        assert Settings(dataset=name, **recipe)


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
def test_targets_that_are_no_labels_need_another_loss():
    np.savez("odd.npz", x_train=np.eye(4), y_train=np.array([0.0, 0.5, 1.0, 1.5]))
    text = refused("odd.npz", "--loss", "softmax-cross-entropy")
    assert "--loss: softmax_cross_entropy needs whole-number labels; y_train of odd has oth" in text


def test_a_report_is_not_written_into_a_file():
    Path("notes.txt").write_text("precious")
    found = mlpx("bench", "--out", "notes.txt")
    assert (found.exit_code, found.stdout) == (2, "")
    assert "notes.txt is a file; name a folder" in found.stderr


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


@pytest.mark.parametrize("name", ["a\nb.csv", "\udcff.csv"])
def test_a_name_with_which_a_run_could_not_be_read_again(table, name):
    found = mlpx("train", table, "--csv-log", name)
    assert found.exit_code == 1
    assert "wanted text without control characters" in found.stderr


def test_a_csv_log_that_cannot_be_written(table):
    found = mlpx("train", table, "--csv-log", "absent/log.csv")
    assert found.exit_code == 1
    assert "absent/log.csv" in found.stderr
    assert not Path("runs/table").exists()  # made, but nothing came of it


def test_a_full_disk_is_one_line_but_for_the_checkpoints(table, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint.os, "fsync", full)
    found = mlpx("train", table, "--epochs", 1, "--out", "run")
    notes = found.stderr.splitlines()
    assert (found.exit_code, len(notes)) == (1, 3)
    assert "No space left on device; training goes on, and the next one is tried" in notes[0]
    assert "No space left on device; " in notes[1]
    assert "cannot write run/model.safetensors: No space left on device" in notes[2]
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
