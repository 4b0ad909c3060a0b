"""The library of other compilers, and of GCC with its sanitizers, passes the engine's tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mlpx.engines.native import library

ROOT = Path(__file__).parents[3]
SOURCES = sorted(str(file) for file in (library.HERE / "c").glob("*.c"))
BUILDS = {
    # A tile's loops unrolled and checked at each step are too much for -O3: five minutes.
    "gcc": ["-Og", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "clang": ["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror"],
}
TESTS = ["tests/engines/native", "tests/engines/test_tables.py"]


def compiled(compiler: str, package: Path) -> Path:
    """A copy of mlpx with the library that a compiler made."""
    shutil.copytree(library.HERE.parents[1], package, ignore=shutil.ignore_patterns("*.so"))
    file = package / library.HERE.relative_to(library.HERE.parents[1]) / "_native.so"
    command = [compiler, "-std=gnu11", "-shared", "-fPIC", *BUILDS[compiler], *SOURCES, "-lm"]
    subprocess.run([*command, "-lpthread", "-o", str(file)], check=True)
    return file


def environment(compiler: str, package: Path) -> dict[str, str]:
    """That of a process which imports the copy."""
    found = {**os.environ, "PYTHONPATH": str(package.parent), "PYTEST_ADDOPTS": ""}
    if compiler == "gcc":
        asan = [compiler, "-print-file-name=libasan.so"]
        path = subprocess.run(asan, check=True, capture_output=True, text=True).stdout.strip()
        found |= {"LD_PRELOAD": path, "ASAN_OPTIONS": "detect_leaks=0"}  # Python keeps memory
        found |= {"UBSAN_OPTIONS": "print_stacktrace=1"}
    return found


@pytest.mark.slow
@pytest.mark.parametrize("compiler", BUILDS)
def test_tests_pass(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    file = compiled(compiler, tmp_path / "mlpx")
    own = environment(compiler, tmp_path / "mlpx")
    loads = "from mlpx.engines.native import library; print(library.load()._name)"
    said = subprocess.check_output([sys.executable, "-c", loads], env=own, cwd=ROOT, text=True)
    assert said.strip() == str(file)
    # Not captured: a sanitizer writes what it found where the process writes, and ends it.
    pytest_ = [sys.executable, "-m", "pytest", "-q", "--capture=no", "-p", "no:cacheprovider"]
    ran = subprocess.run([*pytest_, "-m", "not slow", "-k", "not cuda", *TESTS], env=own, cwd=ROOT)
    assert ran.returncode == 0
