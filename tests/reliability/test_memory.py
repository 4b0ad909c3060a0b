"""No memory: an error that says so, whatever was being done, and a model that is none the worse."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import no_memory
import pytest
from children import in_children
from commanding import mlpx as run
from commanding import names

from mlpx.backend.cpu import CpuBackend
from mlpx.engines.native.library import load
from mlpx.errors import MissingExtraError

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


def test_whatever_runs_out_of_memory_says_so():
    """From nothing on up; OpenBLAS, safetensors and our products would end the process."""
    done = subprocess.run(
        [sys.executable, no_memory.__file__, *["native"] * (load() is not None)],
        capture_output=True, text=True, timeout=300, check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    ends, unchanged, same = json.loads(done.stdout)
    for name, each in ends.items():
        codes = [code for code, _, _ in each]
        assert codes == [7] * (len(codes) - 1) + [0], (name, each)
        assert not any(err for _, _, err in each), (name, each)
    for name in {"build", "fit", "save", "load", "fit threads"} & set(ends):
        assert len(ends[name]) > 1, name
    assert unchanged
    assert same
    assert "cannot start 8 threads" in str(ends.get("fit threads", "cannot start 8 threads"))


BLAS = """
import numpy as np
from children import allow, allow_all
from mlpx.backend import get_backend
from mlpx.errors import DeviceMemoryError

x = np.ones((300, 300))
allow(20)
try:
    get_backend("cpu")
except DeviceMemoryError as error:
    assert "34 MiB left that NumPy's BLAS works in" in str(error)
else:
    raise AssertionError
allow_all()
get_backend("cpu")
allow(8)
x @ x
"""


def test_the_blas_has_its_memory_before_anything_is_computed():
    """OpenBLAS ends the process if it finds none at a product."""
    paths = [str(Path(no_memory.__file__).parent), *sys.path]
    done = subprocess.run(
        [sys.executable, "-c", BLAS], capture_output=True, text=True, check=False,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_a_command_without_memory_is_one_line_and_writes_nothing(table, tmp_path):
    (ended,) = in_children(
        [["train", table, "--hidden", "3000,3000", "--out", "run"]], before="allow(20)"
    )
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("error: layers of widths [3, 3000, 3000, 3] have 9,")
    assert ended.err.endswith(" more than this machine can hold\n")
    assert names(tmp_path) == ["table.npz"]


def test_a_picture_without_memory_is_left_out(table, monkeypatch):
    def none(*_, **__):
        raise MemoryError

    monkeypatch.setattr("mlpx.training.run_folder.learning_curves", none)
    found = run("train", table, "--epochs", 1, "--out", "run")
    assert found.exit_code == 0
    assert found.stdout.endswith("no picture      out of memory\n")


def test_a_device_without_memory_is_one_line(table, fake_cupy, tmp_path):
    fake_cupy.machine.free_bytes = 10_000
    found = run("train", table, "--device", "cuda", "--hidden", "3000", "--out", "run")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("error: ")
    assert "cuda:0 (Fake CUDA device)" in found.stderr
    assert found.stderr.count("\n") == 1
    assert names(tmp_path) == ["table.npz"]


def test_what_a_process_may_have_is_what_is_free(monkeypatch):
    resource = pytest.importorskip("resource")
    free = CpuBackend().memory().free_bytes
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 20, 1 << 20))
    found = CpuBackend().memory()
    assert found.free_bytes == 0 < free
    assert found.used_bytes == found.total_bytes > 1 << 20
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1 << 50, 1 << 50))
    assert CpuBackend().memory().total_bytes < 1 << 50


def test_what_is_installed_and_does_not_load_is_not_called_missing():
    absent = MissingExtraError("SciPy", "lbfgs", "this", ModuleNotFoundError("No module"))
    assert str(absent).startswith("this needs SciPy, which is not installed; install it with: pip")
    broken = MissingExtraError("SciPy", "lbfgs", "this", ImportError("failed to map segment"))
    assert str(broken) == "this needs SciPy, which cannot be loaded: failed to map segment"
