"""`mlpx train --resume`: a run goes on exactly."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
from commanding import FILES, mlpx, names, refused, same_weights, train

from mlpx import MLP, Callback
from mlpx.training.run_folder import read_config, read_history

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


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
    assert text.startswith("error: some.safetensors is neither a run folder nor")
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


def test_control_characters_of_a_run_do_not_reach_the_terminal(table):
    train(table, "--epochs", 1, "--out", "run")
    config = json.loads(Path("run/config.json").read_text())
    escape = "\x1b[2J"
    for changed in ({"dataset": f"{escape}.npz"}, {"checkpoint_every": escape}):
        Path("run/config.json").write_text(json.dumps(config | changed))
        for command in ("evaluate run", "train --resume run"):
            found = mlpx(*command.split())
            assert "\x1b" not in found.output
            assert found.exit_code == (command[0] == "t" or "dataset" in changed)


def test_resume_by_the_model_file_goes_on_in_its_folder(table):
    train(table, "--epochs", 1, "--out", "run")
    train("--resume", "run/model.safetensors", "--epochs", 1)
    assert len(read_history(Path("run"))) == 2
    train("--resume", "run", "--out", "./run", "--epochs", 1)  # the same folder
    assert len(read_history(Path("run"))) == 3


@pytest.mark.parametrize("policy", ["stop", "continue"])
@pytest.mark.parametrize("every", ["30s", "off"])
def test_a_model_that_is_not_finite_replaces_none(table, policy, every):
    train(table, "--optimizer", "sgd", "--epochs", 2, "--out", "run")
    before = {name: Path("run", name).read_bytes() for name in names("run")}
    wild = ("--lr", 1e30, "--on-divergence", policy, "--checkpoint-every", every, "--quiet")
    found = mlpx("train", "--resume", "run", "--epochs", 3, *wild)
    assert found.exit_code == 1
    assert "model.safetensors is that from before, and nothing else was written" in found.stderr
    assert before == {name: Path("run", name).read_bytes() for name in before}
    calm = ("--lr", 0.01, "--on-divergence", "stop", "--epochs", 2)
    train("--resume", "run", *calm)
    assert np.isfinite(MLP.load("run/model.safetensors").flat).all()


def test_a_model_that_is_not_finite_may_be_replaced_by_another(table):
    wild = ("--optimizer", "sgd", "--lr", 1e30, "--on-divergence", "continue", "--epochs", 2)
    for _ in range(2):
        train(table, *wild, "--out", "run")
        assert names("run") == FILES


def test_ctrl_c_of_a_run_that_is_not_finite_is_still_ctrl_c(table, monkeypatch):
    class Interrupts(Callback):
        def on_epoch_end(self, run, epoch, logs):
            signal.raise_signal(signal.SIGINT)

    train(table, "--optimizer", "sgd", "--epochs", 2, "--out", "run")
    monkeypatch.setattr("mlpx.cli.train.setup.StopOnPlateau", Interrupts)
    wild = ("--lr", 1e30, "--on-divergence", "continue", "--stop-on-plateau")
    found = mlpx("train", "--resume", "run", *wild)
    assert found.exit_code == 130
    assert "model.safetensors is that from before" in found.stderr
