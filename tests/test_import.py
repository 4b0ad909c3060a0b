"""What `import mlpx` costs and brings, and that the house is kept as it says."""

from __future__ import annotations

import ast
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import mlpx
from mlpx.metrics import Metric
from mlpx.program.gradients import Numerical

PACKAGE = Path(mlpx.__file__).parent
SOURCES = sorted(PACKAGE.rglob("*.py"))
HEAVY = {"cupy", "scipy", "sklearn", "matplotlib", "typer", "rich", "safetensors", "pandas", "onnx"}
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


def test_public_names_are_sorted_and_there() -> None:
    assert sorted(set(mlpx.__all__)) == mlpx.__all__
    for name in mlpx.__all__:
        assert getattr(mlpx, name).__doc__, name
    assert set(mlpx.__all__) <= set(dir(mlpx))
    assert run_python("from mlpx import *; print(Dense.__name__, errors.__name__)") == (
        "Dense mlpx.errors"
    )


def test_the_stub_gives_each_name_once_and_again() -> None:
    """Of a stub's imports type checkers pass on only those of the form `X as X`."""
    tree = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8"))
    named = [
        alias for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names
    ]
    assert [alias.asname for alias in named] == [alias.name for alias in named]
    assert sorted(alias.name for alias in named) == mlpx.__all__


def test_former_modules_have_the_names_of_those_they_became() -> None:
    code = (
        "from mlpx.plots import calibration; import mlpx; print(mlpx.plots.calibration.__module__)"
    )
    assert run_python(code) == "mlpx.training.plots"
    code = (
        "import sys; import mlpx; before = set(sys.modules);"
        "print(any(hasattr(each, '__file__') for name, each in sys.modules.items() if name in "
        "{f'mlpx.{old}' for old in mlpx._FORMER}), set(sys.modules) - before)"
    )
    assert run_python(code) == "False set()"  # as inspect and unittest ask every module


def former(home: str) -> str:
    """Where a module that has moved was."""
    olds = {f"mlpx.{new}": f"mlpx.{old}" for old, new in mlpx._FORMER.items()}
    return olds.get(home, home)


def test_pickles_of_former_modules_load() -> None:
    """In protocol 0 a class is written `cmodule`, and its name on the next line."""
    x, y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 2
    model = mlpx.MLP([3, mlpx.Dense(4, initializer="he_normal"), 2])
    history = model.fit(x, y, epochs=2, optimizer="adam", verbose=0)
    curve, rule = mlpx.find_learning_rate(model, x, y, steps=5), Numerical()
    given = [model, history, curve, rule, mlpx.EarlyStopping(), model.profile(x, y, steps=1)]
    given.append(Metric.resolve("accuracy"))
    text = pickle.dumps(given, protocol=0).decode("latin1")
    old = re.sub(r"c(mlpx\.[\w.]+)\n", lambda match: f"c{former(match[1])}\n", text)
    assert {name for name in mlpx._FORMER if f"cmlpx.{name}\n" in old} == {*mlpx._FORMER} - {
        "plots"
    }
    code = (
        "import pickle, sys; given = pickle.loads(sys.stdin.buffer.read());"
        "print([type(each).__module__ for each in given], given[0].flat.tobytes().hex())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=old.encode("latin1"), capture_output=True, check=True,
        timeout=60,
    )  # fmt: skip
    modules = [type(each).__module__ for each in given]
    assert done.stdout.decode().strip() == f"{modules} {model.flat.tobytes().hex()}"


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
