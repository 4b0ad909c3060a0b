"""Settings of a run edited by hand: an invalid one is named, with its file."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from mlpx.cli.train.settings import Settings
from mlpx.errors import CheckpointError
from mlpx.training.run_folder import is_run, read_config
from mlpx.training.settings import SETTINGS

WRONG: dict[str, list[Any]] = {
    "dataset": [5, None, ["digits"], {}, "a\x1b[2J.npz", "\ud800.npz"],
    "layers": [5, "4,3", [4, "3"], [4, 0], [4, 3.5], [True]],
    "hidden": [5, [-1]],
    "activation": [None, 5, "relv", ["relu"], {}],
    "loss": [5, "loss", []],
    "initializer": [5, "x"],
    "optimizer": [None, 5, "adm", {"name": "adam"}],
    "learning_rate": ["x", -1, float("nan"), float("inf"), True, [0.1]],
    "epochs": ["x", -1, 1.5, True],
    "steps": ["x", 0],
    "sampling": [None, 5, "x"],
    "batch_size": ["x", 0, 1.5, True],
    "rows": [None, 0, 1.5, "x"],
    "classes": ["x", [None], [1.5], 3],
    "validation": [None, "x", -0.1, 1, float("nan")],
    "device": [5, []],
    "engine": [None, 5, "x"],
    "threads": ["x", 0],
    "checkpoint": ["x", -1, 1.5],
    "digest": [None, 5],
    "dtype": [None, 5, "float16"],
    "seed": [None, "x", -1, 1.5, True],
    "early_stopping": [5, ["loss"]],
    "stop_on_plateau": [None, 1, "yes"],
    "patience": ["x", 0],
    "best_weights": [5],
    "on_divergence": [None, 5, "restor"],
    "csv_log": [5, "\0", "a\nb", "\udcff"],
    "checkpoint_every": [None, 30],
    "target": [5, "\ud800"],
    "task": [None, 5, "classify"],
    "test": [None, 0.2, "a\nb"],
    "drop": [None, "a", [1], ["\ud800"]],
    "group": [5],
    "time": [5],
    "encoding": [None, 5],
    "preset": [5, "plane"],
    "quantiles": [0.5, ["a"], [0, 0.5], [1.0], [True]],
    "calibrated": [None, 1, "yes"],
    "intervals": [None, 0, "no"],
    "class_names": [5, "abc", [1, 2]],
}


def write(folder: Path, **entries: Any) -> None:
    content = {"format": "mlpx-run", "version": 1, **entries}
    (folder / "config.json").write_text(json.dumps(content))


def test_every_setting_of_a_run_is_checked() -> None:
    beside = {"checkpoint", "class_names", "classes", "digest", "rows"}
    assert {entry.name for entry in fields(Settings)} | beside == set(SETTINGS)
    assert set(WRONG) == set(SETTINGS)


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_a_setting_is_refused(name: str, tmp_path: Path) -> None:
    for value in WRONG[name]:
        write(tmp_path, **{name: value})
        with pytest.raises(CheckpointError) as caught:
            read_config(tmp_path)
        told = f"{tmp_path / 'config.json'} has {name} = {json.dumps(value)}; wanted "
        assert str(caught.value) == told + SETTINGS[name].text
        assert is_run(tmp_path)  # a run with a mistake, which may be written anew


def test_what_a_run_has_is_accepted(tmp_path: Path) -> None:
    settings = Settings("digits").config() | {"class_names": ["a"], "layers": [4, 3], "mlpx": "1"}
    write(tmp_path, **settings, mine=[1], epochs_=None)
    assert read_config(tmp_path)["mine"] == [1]
