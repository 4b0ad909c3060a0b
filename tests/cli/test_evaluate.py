"""`mlpx evaluate`: its results, options and errors."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from commanding import mlpx as run

from mlpx import MLP
from mlpx.data import load_dataset
from mlpx.errors import DataNotFoundError
from mlpx.training.run_folder import locate as true_locate


def test_evaluate_a_run_uses_its_data_set(trained):
    found = run("evaluate", trained)
    assert found.exit_code == 0
    assert found.stdout.startswith("accuracy        100.00 %\nloss            0.0")
    assert "bright, 20 rows, on cpu" in found.stdout


@pytest.mark.parametrize("what", ["", "model.safetensors"])
def test_evaluate_json_is_what_the_model_says(trained, what):
    found = json.loads(run("evaluate", trained / what, "--json").stdout)
    data = load_dataset(trained.parent / "bright.npz")
    wanted = MLP.load(trained / "model.safetensors").evaluate(data.x_test, data.y_test)
    told = {"dataset": "bright", "part": "test", "rows": 20, "device": "cpu"}
    assert found == {**told, **wanted}


def test_evaluate_a_lone_model_file_needs_a_data_set(trained, tmp_path):
    alone = tmp_path / "model.safetensors"
    alone.write_bytes((trained / "model.safetensors").read_bytes())
    found = run("evaluate", alone)
    assert found.exit_code == 2
    assert "DATASET" in found.stderr
    assert run("evaluate", alone, trained.parent / "bright.npz").exit_code == 0


def test_evaluate_where_and_how_it_is_told(trained, calls):
    assert run("evaluate", trained, "--device", "cpu", "--batch-size", 7).exit_code == 0
    assert calls["load"] == {"device": "cpu"}
    assert calls["evaluate"] == {"batch_size": 7}


def test_evaluate_looks_for_data_where_it_is_told(trained, monkeypatch):
    asked = {}

    def nowhere(name, **options):
        asked.update(options, name=name)
        raise DataNotFoundError("nowhere")

    monkeypatch.setattr("mlpx.data.load_dataset", nowhere)
    run("evaluate", trained, "mnist", "--data-dir", "there", "--no-download")
    assert asked["name"] == "mnist"
    assert (asked["data_dir"], asked["download"]) == (Path("there"), False)


def test_evaluate_json_is_json_whatever_is_found(trained, monkeypatch):
    monkeypatch.setattr(MLP, "evaluate", lambda *_, **__: {"loss": float("nan")})
    found = json.loads(run("evaluate", trained, "--json").stdout, parse_constant=pytest.fail)
    assert found["loss"] is None


def test_evaluate_refuses_data_without_a_test_part(trained, tmp_path):
    np.savez(tmp_path / "half.npz", x_train=np.zeros((4, 6)), y_train=np.zeros(4, dtype=int))
    found = run("evaluate", trained, tmp_path / "half.npz")
    assert found.exit_code == 1
    assert "has no x_test" in found.stderr


def test_evaluate_refuses_data_of_another_width(trained, tmp_path):
    x, y = np.zeros((4, 5)), np.zeros(4, dtype=int)
    np.savez(tmp_path / "narrow.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    found = run("evaluate", trained, tmp_path / "narrow.npz")
    assert found.exit_code == 1
    assert "narrow: x_test has 5 columns; this model was built for 6" in found.stderr


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"format": "mlpx-run", "version": 99}'])
def test_a_folder_that_is_no_run_is_refused(trained, tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    found = run("evaluate", tmp_path)
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
    assert "config.json" in found.stderr


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_warning_is_a_note(trained, monkeypatch, command):
    """As `mlpx train` has it."""

    def warn(run):
        warnings.warn("it is odd", UserWarning, stacklevel=1)
        return true_locate(run)

    monkeypatch.setattr("mlpx.training.run_folder.locate", warn)
    np.save("rows.npy", load_dataset(trained.parent / "bright.npz").x_test)
    found = run(command, trained, *(["rows.npy"] if command == "predict" else []))
    assert (found.exit_code, found.stderr) == (0, "note: it is odd\n")
