"""Gradient checks of every row of every table, and the command that runs them."""

from __future__ import annotations

import itertools
from typing import Any

import fakecupy
import pytest
from gradient_samples import SteepTanh
from typer.testing import CliRunner

from mlpx import Dense
from mlpx.cli import app
from mlpx.cli.gradcheck import show
from mlpx.gradcheck import cases
from mlpx.gradcheck.cases import CHECKS, Outcome, outcomes

ROWS = [(family, name) for family in CHECKS for name in sorted(family.table)]
IDS = [(family.kind, name) for family, name in ROWS]
DTYPES = ["float64", "float32"]
SMALL = {"ROWS": 5, "COLUMNS": 2, "HIDDEN": 3, "OUTPUTS": 2, "STEPS": 12}
SMALL_FIELDS = {"units": 3, "layers": (Dense(3, activation="tanh"),)}


# Every row of every table


def right(found: Outcome, dtype: str) -> bool:
    bound = {"float64": 1e-8, "float32": 5e-6}[dtype]
    within = found.error is None or found.error < bound
    return found.passed and within and "left out" not in found.detail


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_row_of_every_table(dtype: str) -> None:
    found = list(outcomes("cpu", dtype))
    assert [(outcome.kind, outcome.name) for outcome in found] == IDS
    assert [outcome for outcome in found if not right(outcome, dtype)] == []


@pytest.mark.parametrize("family", CHECKS, ids=lambda family: family.kind)
def test_every_row_on_a_device(family: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """In smaller nets, in float64 and in float32 in turns."""
    for name, value in SMALL.items():
        monkeypatch.setattr(cases, name, value)
    for name, value in SMALL_FIELDS.items():
        monkeypatch.setitem(cases.FIELDS, name, value)
    with fakecupy.installed():
        rows = zip(sorted(family.table), itertools.cycle(DTYPES))
        found = [(CHECKS[family](name, "cuda", dtype), dtype) for name, dtype in rows]
    assert [(outcome, dtype) for outcome, dtype in found if not right(outcome, dtype)] == []


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_row_on_a_device_in_both_dtypes(dtype: str) -> None:
    with fakecupy.installed():
        assert [outcome for outcome in outcomes("cuda", dtype) if not right(outcome, dtype)] == []


# The command


def run(*arguments: str) -> Any:
    return CliRunner(env={"COLUMNS": "100", "TERM": "dumb"}).invoke(app, ["gradcheck", *arguments])


def test_command_in_a_terminal_of_80_columns() -> None:
    result = CliRunner(env={"COLUMNS": "80"}).invoke(app, ["gradcheck", "--device", "cpu"])
    assert result.exit_code == 0, result.output
    words, lines = result.output.split(), result.output.splitlines()
    assert all(name in words for _, name in ROWS)
    assert f"all {len(ROWS)} passed" in result.output
    assert "Gradients in float64 on cpu" in result.output
    assert max(map(len, lines)) <= 80
    assert "…" not in result.output
    assert sum(" ok " in line for line in lines) == len(ROWS)
    assert len([line for line in lines if line.strip()]) == len(ROWS) + 5  # none is folded


def test_a_narrow_terminal_shows_all_numbers() -> None:
    only = ("gradcheck", "--only", "relu", "--only", "sgd")
    narrow, wide = (
        CliRunner(env={"COLUMNS": columns, "TERM": "dumb"}).invoke(app, only).output.split()
        for columns in ("20", "100")
    )
    assert "…" not in narrow
    assert narrow == wide


def test_command_for_some() -> None:
    result = run("--only", "loss", "--only", "relu", "--dtype", "float32", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert "Gradients in float32 on cpu" in result.output
    names = [line.split() for line in result.output.splitlines()]
    assert ["activation", "relu"] in [words[:2] for words in names]
    assert any("softmax_cross_entropy" in words for words in names)
    assert not any("tanh" in words or "adam" in words for words in names)
    result = run("--only", "rellu")
    assert result.exit_code == 1
    assert "did you mean 'relu'?" in " ".join(result.output.split())


def test_command_fails_with_any_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SteepTanh.table, "steep", SteepTanh)
    result = run("--only", "steep", "--only", "tanh")
    assert result.exit_code == 1
    assert "1 of 2 failed" in result.output
    (line,) = (line for line in result.output.splitlines() if "steep" in line)
    assert "FAILED" in line


def test_square_brackets_in_the_table_are_printed(capsys):
    show([Outcome("layer", "mine[1]", True, "at [2]")], title="float64 on cpu (A CPU [x])")
    text = capsys.readouterr().out
    for part in ("(A CPU [x])", "mine[1]", "at [2]"):
        assert part in text
