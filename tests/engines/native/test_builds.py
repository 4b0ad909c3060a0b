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
BUILDS = {  # by compiler
    # A tile's loops unrolled and checked at each step are too much for -O3: five minutes.
    "gcc": ["-Og", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
    "clang": ["-O3", "-fno-math-errno", "-fno-trapping-math", "-Wall", "-Wextra", "-Werror"],
}
OF_THREADS = ["-O0", "-g", "-fsanitize=thread", "-Wno-tsan"]  # -Og takes four times as long
RACES = 66
"""What a program watched by the sanitizer of threads exits with if it found a race."""
TESTS = ["tests/engines/native", "tests/engines/test_tables.py"]


def compiled(compiler: str, flags: list[str], package: Path) -> Path:
    """A copy of mlpx with the library that a compiler made."""
    shutil.copytree(library.HERE.parents[1], package, ignore=shutil.ignore_patterns("*.so"))
    file = package / library.HERE.relative_to(library.HERE.parents[1]) / "_native.so"
    command = [compiler, "-std=gnu11", "-shared", "-fPIC", *flags, *SOURCES, "-lm"]
    subprocess.run([*command, "-lpthread", "-o", str(file)], check=True)
    return file


def runtime(sanitizer: str) -> str:
    """The path of GCC's library for a sanitizer, which comes before all others in a process."""
    return subprocess.check_output(
        ["gcc", f"-print-file-name=lib{sanitizer}.so"], text=True
    ).strip()


def environment(compiler: str, package: Path) -> dict[str, str]:
    """That of a process which imports the copy."""
    found = {**os.environ, "PYTHONPATH": str(package.parent), "PYTEST_ADDOPTS": ""}
    if compiler == "gcc":
        found |= {"LD_PRELOAD": runtime("asan"), "UBSAN_OPTIONS": "print_stacktrace=1"}
        found |= {"ASAN_OPTIONS": "detect_leaks=0"}  # Python keeps memory
    return found


@pytest.mark.slow
@pytest.mark.parametrize("compiler", BUILDS)
def test_tests_pass(compiler: str, tmp_path: Path) -> None:
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    file = compiled(compiler, BUILDS[compiler], tmp_path / "mlpx")
    own = environment(compiler, tmp_path / "mlpx")
    loads = "from mlpx.engines.native import library; print(library.load()._name)"
    said = subprocess.check_output([sys.executable, "-c", loads], env=own, cwd=ROOT, text=True)
    assert said.strip() == str(file)
    # Not captured: a sanitizer writes what it found where the process writes, and ends it.
    pytest_ = [sys.executable, "-m", "pytest", "-q", "--capture=no", "-p", "no:cacheprovider"]
    chosen = "not cuda"
    if compiler == "gcc":
        chosen += " and not cannot_be_had"  # the sanitizer needs the addresses itself
    ran = subprocess.run([*pytest_, "-m", "not slow", "-k", chosen, *TESTS], env=own, cwd=ROOT)
    assert ran.returncode == 0


@pytest.mark.slow
def test_threads_do_not_race(tmp_path: Path) -> None:
    """Neither in the pool nor in the kernels that run between its barriers.

    Only the library is watched, and the copying that NumPy leaves to the C library: that neither
    Python nor a BLAS is compiled for it hides nothing and needs no suppressions.
    """
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    file = compiled("gcc", OF_THREADS, tmp_path / "mlpx")
    own = {**os.environ, "PYTHONPATH": str(tmp_path), "OPENBLAS_NUM_THREADS": "1"}
    own |= {"LD_PRELOAD": runtime("tsan"), "TSAN_OPTIONS": f"exitcode={RACES}"}
    program = [*fixed_addresses(), sys.executable, ROOT / "tests/support/training_at_once.py"]
    for isa in library.instruction_sets():
        # Nothing is captured but its last line: the sanitizer says where the threads race.
        ran = subprocess.run(
            program, env=own | {"MLPX_ISA": isa}, stdout=subprocess.PIPE, text=True, timeout=50
        )
        assert ran.returncode == 0, f"{'races' if ran.returncode == RACES else 'failed'} on {isa}"
        assert ran.stdout.split() == [str(file), isa]


def fixed_addresses() -> list[str]:
    """The command that runs another one with memory where the sanitizer of threads expects it."""
    bits = Path("/proc/sys/vm/mmap_rnd_bits")
    return ["setarch", "-R"] if bits.exists() and int(bits.read_text()) > 28 else []
