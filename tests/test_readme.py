"""The README's code runs, its commands exist, and what it names is there."""

from __future__ import annotations

import re
import shlex
import tomllib
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


CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_map_of_the_house_is_the_import_contract() -> None:
    package = ROOT / "src" / "mlpx"
    modules = {p.stem for p in package.glob("*.py")} - {"__init__"}
    folders = {p.parent.name for p in package.glob("*/__init__.py")}
    told = CONTRIBUTING.partition("## Where is")[0]
    cells = [re.split(r"(?<!\\)\|", line)[1] for line in told.splitlines() if line[:3] == "| `"]
    rows = [[name.rstrip("/") for name in re.findall(r"`([\w/]+)`", cell)] for cell in cells]
    assert {name for row in rows for name in row} == modules | folders
    (contract, *_) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
        "contracts"
    ]
    assert [sorted(row) for row in rows] == [
        sorted(re.findall(r"\w+", layer)) for layer in contract["layers"]
    ]
    assert "ignore_imports" not in contract


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`([\w.]+/[\w./]+)`", CONTRIBUTING))))
def test_paths_of_the_map_exist(path: str) -> None:
    """From the root, or from src/mlpx as the map says them."""
    assert any((ROOT / start / path).exists() for start in (".", "src/mlpx"))


@pytest.mark.parametrize("name", ["softmax", "softmax_back", "softmax_loss", "softmax_head"])
def test_the_softmax_is_where_it_is_said_to_be(name: str) -> None:
    page = CONTRIBUTING.partition("## Where is the softmax?")[2].partition("## ")[0]
    paths = [ROOT / "src" / "mlpx" / path for path in re.findall(r"`(engines/[\w./]+)`", page)]
    texts = [path.read_text(encoding="utf-8") for path in paths if path.is_file()]
    assert f"`{name}`" in page
    assert any(f'"{name}"' in text for text in texts)
    assert sum(f"KERNEL({name})" in text for text in texts) == 1 + (name != "softmax_head")
