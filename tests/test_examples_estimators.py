"""The examples of the estimators run, and reach what they say."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

EXAMPLES = Path(__file__).parents[1] / "examples"
REACHED = {
    "adult_pipeline": 0.845,
    "adult_grid_search": 0.82,
    "adult_calibration": 0.82,
    "device_switch": 0.93,
}
"""The least test accuracy, in a quick run."""


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.slow] if "search" in n else []) for n in REACHED],
)
def test_it_runs_and_prints_what_it_reached(
    name: str, data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setenv("MLPX_DATA", str(data_dir))
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")  # of the processes of the search
    drawn = name in ("adult_pipeline", "adult_calibration")
    given = ["--quick", *(["--out", str(tmp_path)] if drawn else [])]
    monkeypatch.setattr("sys.argv", [f"{name}.py", *given])
    importlib.import_module(name).main()
    said = capsys.readouterr().out
    reached = [float(value) for value in re.findall(r"accuracy (0\.\d+)", said)]
    assert reached
    assert min(reached) > REACHED[name], said
    if drawn:
        assert imread(tmp_path / f"{name}.png").shape[1] > 400


def test_data_that_are_not_there_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    with pytest.raises(FileNotFoundError, match=r"no adult\.data in .*archive\.ics\.uci\.edu"):
        importlib.import_module("_adult").load(tmp_path)
