"""`mlpx evaluate --rows`: training and validation rows instead of test data."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commanding import mlpx
from labelled_data import ANIMALS, X, Y, saved, trained

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


def test_evaluate_the_rows_it_learnt_from_and_held_out():
    trained(ANIMALS[Y], "--validation", 0.25, "--seed", 7, epochs=2)
    history = json.loads(Path("run/history.json").read_text())["epochs"][-1]
    for path in ("run", "run/model.safetensors"):
        found = json.loads(mlpx("evaluate", path, "--rows", "validation", "--json").stdout)
        assert found["loss"] == pytest.approx(history["val_loss"])
        assert (found["part"], found["rows"]) == ("validation", 15)
    found = mlpx("evaluate", "run", "data.npz", "--rows", "train")
    assert found.stdout.endswith("train data      data, 45 rows, on cpu\n")
    text = mlpx("evaluate", "run").stderr
    assert "has no x_test and y_test to evaluate on; see --rows" in text


def test_evaluate_says_which_rows_there_are_not():
    def said(*options):
        found = mlpx("evaluate", *options)
        assert (found.exit_code, found.stdout) == (1, "")
        return found.stderr

    trained(Y, "--validation", 0, epochs=1)
    assert "the run held no rows out" in said("run", "--rows", "validation")
    np.savez("other.npz", x_train=X[:5], y_train=Y[:5])
    assert "only of the run's own data set" in said("run", "other.npz", "--rows", "validation")
    found = json.loads(mlpx("evaluate", "run", "other.npz", "--rows", "train", "--json").stdout)
    assert found["rows"] == 5
    saved(Y[:40], X[:40])
    assert "x_train has 40 rows and had 60 when" in said("run", "--rows", "train")
    assert mlpx("evaluate", "run", "--rows", "tset").exit_code == 2
    config = json.loads(Path("run/config.json").read_text())
    saved(Y)
    for name in ("seed", "validation"):
        without = {key: value for key, value in config.items() if key != name}
        Path("run/config.json").write_text(json.dumps(without))
        for rows in ("train", "validation"):
            assert f"run/config.json has no {name}, so it is not known" in said(
                "run", "--rows", rows
            )
