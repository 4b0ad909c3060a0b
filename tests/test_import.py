"""What `import mlpx` costs and brings, and that the house is kept as it says."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mlpx

PACKAGE = Path(mlpx.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"cupy", "scipy", "sklearn", "matplotlib", "typer", "rich", "safetensors", "pandas"}
TIMES_NUMPY = 1.3


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.strip()


@pytest.mark.parametrize("use", ["import mlpx", "import mlpx; mlpx.MLP([2, 2])"])
def test_nothing_heavy_is_loaded(use: str) -> None:
    loaded = set(run_python(f"{use}; import sys; print(*sys.modules)").split())
    assert "mlpx" in loaded
    assert not HEAVY & loaded


def import_s(modules: str) -> float:
    """Processor time of an import in a fresh process: other people's load does not count."""
    clock = "time.process_time()"
    return float(run_python(f"import time; t = {clock}; import {modules}; print({clock} - t)"))


@pytest.mark.xdist_group("alone")
def test_import_costs_little_more_than_numpy() -> None:
    pairs = [(import_s("numpy"), import_s("numpy, mlpx")) for _ in range(4)]
    numpy_s, both_s = (min(column) for column in zip(*pairs, strict=True))
    assert both_s < TIMES_NUMPY * numpy_s, f"numpy {numpy_s:.3f} s, with mlpx {both_s:.3f} s"


def test_public_names_are_sorted_once_and_there() -> None:
    assert len(set(mlpx.__all__)) == len(mlpx.__all__)
    assert set(mlpx.__all__) == {*mlpx._HOME, "errors"}
    for name in mlpx.__all__:
        assert getattr(mlpx, name).__doc__, name
    assert set(mlpx.__all__) <= set(dir(mlpx))


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (guarded,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == {name: f"mlpx.{module}" for name, module in mlpx._HOME.items()}


def test_submodules_and_the_version_are_there_on_demand() -> None:
    assert run_python("import mlpx; print(mlpx.data.__name__)") == "mlpx.data"
    assert mlpx.__version__[0].isdigit()
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        mlpx.nonsense
    with pytest.raises(AttributeError, match="_private"):
        mlpx._private


def test_a_package_missing_in_a_submodule_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise ModuleNotFoundError("No module named 'elsewhere'", name="elsewhere")

    monkeypatch.setattr(mlpx, "import_module", broken)
    with pytest.raises(ModuleNotFoundError, match="elsewhere"):
        mlpx.something_new


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "misc", "util", "helper"])
def test_no_module_is_a_drawer(name: str) -> None:
    assert not [path for path in SOURCES if name in (path.stem, path.parent.name)]


def test_every_public_name_is_described() -> None:
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree), path
        for node in tree.body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{path}, line {node.lineno}: {node.name}"


def test_typed_marker_is_there() -> None:
    assert (PACKAGE / "py.typed").exists()
