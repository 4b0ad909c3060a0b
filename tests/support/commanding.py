"""`mlpx train` within a test: what it is told, says, and leaves in a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpx import MLP
from mlpx.cli import app

TRUE_FIT = MLP.fit
FILES = ["config.json", "curves.png", "history.json", "model.safetensors"]


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
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


@pytest.fixture
def no_training(monkeypatch):
    def fit(*_, **__):
        pytest.fail("trained before the check")

    monkeypatch.setattr(MLP, "fit", fit)
