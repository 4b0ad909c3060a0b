"""The README's code runs, its commands exist, and what it names is there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlpx.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def test_library_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (code,) = blocks("python")
    assert len([line for line in code.splitlines() if line.strip()]) <= 15
    names: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), names)
    assert names["model"].evaluate(names["x_test"], names["y_test"])["accuracy"] > 0.9  # type: ignore[attr-defined]
    assert (tmp_path / "digits.safetensors").is_file()


def test_commands_are_those_of_the_command_line() -> None:
    rows = re.findall(r"^\| `mlpx .*", README, flags=re.MULTILINE)
    told = {name for row in rows for name in re.findall(r"`mlpx (\w+)", row)}
    there = {command.name or command.callback.__name__ for command in app.registered_commands}
    there |= {group.name for group in app.registered_groups if group.name}
    assert told == there


@pytest.mark.parametrize("target", sorted(set(re.findall(r"`make ([a-z-]+)", README))))
def test_make_targets_exist(target: str) -> None:
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:src|docs|bench|examples)/[\w./]+)`", README)))
)
def test_paths_exist(path: str) -> None:
    assert (ROOT / path).exists()


def console_lines() -> list[str]:
    return [
        line[2:] for block in blocks("console") for line in block.splitlines() if line[:2] == "$ "
    ]


@pytest.mark.parametrize("line", [line for line in console_lines() if line.startswith("python ")])
def test_scripts_exist(line: str) -> None:
    assert (ROOT / shlex.split(line, comments=True)[1]).is_file()


def test_table_of_commands_is_in_help() -> None:
    shown = CliRunner().invoke(app, ["--help"]).output
    for command in re.findall(r"^\| `mlpx (\w+)", README, flags=re.MULTILINE):
        assert command in shown


def test_the_map_of_the_house_has_every_room() -> None:
    told = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Adding")[0]
    package = ROOT / "src" / "mlpx"
    modules = {p.stem for p in package.glob("*.py")} - {"__init__"}
    folders = {p.parent.name for p in package.glob("*/__init__.py")}
    rows = [line.split("|")[1] for line in told.splitlines() if line.startswith("| `")]
    found = {name.rstrip("/") for row in rows for name in re.findall(r"`([\w/]+)`", row)}
    assert found == modules | folders
