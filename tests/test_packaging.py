from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import mlpx

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONFTEST = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")


def test_version_is_written_once():
    assert mlpx.__version__ == importlib.metadata.version("mlpx") == PROJECT["version"]


def test_console_script_starts():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="mlpx")
    assert callable(script.load())


def names_of(extra: str) -> set[str]:
    """Every distribution an extra brings, its references to mlpx's own extras followed."""
    names = set()
    for requirement in EXTRAS[extra]:
        name, inner = re.match(r"([\w-]+)(?:\[([\w,-]+)\])?", requirement).groups()
        names |= set().union(*map(names_of, inner.split(","))) if name == "mlpx" else {name}
    return names


@pytest.mark.parametrize("extra", EXTRAS)
def test_only_the_cuda_extras_bring_cupy(extra):
    brings_cupy = any(name.startswith("cupy") for name in names_of(extra))
    assert brings_cupy == extra.startswith("cuda")


def test_all_is_every_extra_of_the_user_without_a_gpu():
    for_users = EXTRAS.keys() - {"all", "test", "dev", "fuzz", "peers", "cuda12", "cuda13"}
    assert names_of("all") == set().union(*map(names_of, for_users))


@pytest.fixture
def copy(tmp_path):
    """The tree without what tools leave in it: setuptools would pack that."""
    left_by_tools = shutil.ignore_patterns(
        ".*", "build", "runs", "*.egg-info", "__pycache__", "*.so"
    )
    return shutil.copytree(ROOT, tmp_path / "copy", ignore=left_by_tools)


@pytest.mark.slow
def test_wheel_holds_every_file_of_the_package(copy, tmp_path):
    wanted = {
        path.relative_to(copy / "src").as_posix()
        for path in (copy / "src" / "mlpx").rglob("*")
        if path.is_file()
    }
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, copy]
    subprocess.run(pip, check=True, timeout=300)
    (wheel,) = tmp_path.glob("mlpx-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("mlpx/")}
    assert packed == wanted | {"mlpx/engines/native/_native.so"}
    assert "-py3-none-" in wheel.name  # no Python ABI in it: one wheel a platform


@pytest.mark.slow
def test_an_editable_installation_compiles_what_is_new(copy, tmp_path):
    folder = copy / "src" / "mlpx" / "engines" / "native"
    for source in (folder / "c").glob("*.c"):
        source.write_text(f"int {source.stem};\n")
    library = folder / "_native.so"

    def compiled_at() -> int:
        # Without the second the one that is tested here would be uninstalled.
        elsewhere = ["--prefix", tmp_path, "--ignore-installed"]
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", *elsewhere]
        subprocess.run([*pip, "--editable", copy], check=True, timeout=300)
        return library.stat().st_mtime_ns

    first = compiled_at()
    assert compiled_at() == first
    (folder / "c" / "kernels.inc").touch()
    second = compiled_at()
    assert second > first
    library.write_text("of another machine")
    assert compiled_at() > second
    assert library.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.slow
def test_installs_without_a_compiler(copy, tmp_path):
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, copy]
    subprocess.run(pip, check=True, timeout=300, env={**os.environ, "CC": "no-such-compiler"})
    (wheel,) = tmp_path.glob("mlpx-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert "mlpx/engines/native/_native.so" not in archive.namelist()
        assert "mlpx/mlp.py" in archive.namelist()


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "-f", str(ROOT / "Makefile"), *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def old_python(tmp_path):
    """A Python that says it is 3.9."""
    old = tmp_path / "python"
    old.write_text(f'#!/bin/sh\n{sys.executable} -c "import sys; sys.version_info = (3, 9); $2"\n')
    old.chmod(0o755)
    return old


def test_make_refuses_an_old_python(old_python, tmp_path):
    done = make("run", f"PYTHON={old_python}", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    assert "Python 3.9; mlpx needs >= 3.11" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_make_refuses_an_absent_python(tmp_path):
    done = make("run", "PYTHON=no-such-python", f"VENV={tmp_path}/venv")
    assert done.returncode != 0
    assert "there is no 'no-such-python'" in done.stderr


def test_make_lists_its_targets():
    listed = re.findall(r"^  ([\w-]+) ", make("help").stdout, flags=re.MULTILINE)
    assert listed == [
        "help",
        "run",
        "test",
        "test-quick",
        "test-slow",
        "test-oldest",
        "test-arm",
        "fuzz",
        "soak",
        "mutate",
        "coverage",
        "lint",
        "audit",
        "sbom",
        "bench",
        "bench-peers",
        "clean",
    ]


@pytest.mark.xdist_group("alone")
def test_groups_are_in_force(request):
    """A plugin that does not know this pytest would spread what must stay in one process."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@alone")


SKIPS = """
import pytest
def test_passes(): pass
def test_skips(): pytest.skip("no reason")
@pytest.mark.skipif(True, reason="not today")
def test_skipif(): pass
def test_importorskip(): pytest.importorskip("no_such_module")
@pytest.fixture
def absent(): pytest.skip("no data")
def test_fixture(absent): pass
def test_gpu(): pytest.skip("no GPU: nothing to run on")
@pytest.mark.xfail(reason="known")
def test_xfail(): assert False
"""


def outcomes(folder: Path, source: str, ci: str) -> tuple[int, dict[str, int]]:
    """Exit code and counts of a pytest run of ``source`` under this project's conftest."""
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_it.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", f"--rootdir={folder}"]
    environment = {"CI": ci, "PATH": "", "PYTHONPATH": str(ROOT / "tests" / "support")}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    counts = re.findall(r"(\d+) (\w+)", done.stdout.splitlines()[-1])
    found = {word.rstrip("s"): int(count) for count, word in counts}
    found.pop("warning", None)  # of old dependencies
    return done.returncode, found


def test_skips_stay_skips_outside_ci(tmp_path):
    code, counts = outcomes(tmp_path, SKIPS, ci="")
    assert code == 0
    assert counts == {"passed": 1, "skipped": 5, "xfailed": 1}


def test_a_skip_in_ci_fails_unless_for_want_of_a_gpu(tmp_path):
    code, counts = outcomes(tmp_path, SKIPS, ci="true")
    assert code == 1
    assert counts == {"passed": 1, "failed": 2, "error": 2, "skipped": 1, "xfailed": 1}


@pytest.mark.parametrize(
    ("reason", "code"), [("no such package", 2), ("no GPU here", 5)], ids=["fails", "allowed"]
)
def test_a_module_skipped_in_ci(tmp_path, reason, code):
    source = f'import pytest\npytest.skip("{reason}", allow_module_level=True)\n'
    assert outcomes(tmp_path, source, ci="true")[0] == code


def test_a_module_that_cannot_import_fails_in_ci(tmp_path):
    source = 'import pytest\npytest.importorskip("no_such_module")\n'
    code, counts = outcomes(tmp_path, source, ci="true")
    assert code == 2
    assert counts["error"] == 1
