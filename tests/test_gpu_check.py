"""The GPU check must not be found broken on the day there is a GPU: here it runs on the fake
CuPy.
"""

from __future__ import annotations

import importlib.util
import json
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mlpx.training import PRECISIONS

pytest_plugins = ["fakecupy.fixtures"]

BENCH = Path(__file__).parents[1] / "bench"


@pytest.fixture
def gpu_check(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("gpu_check", BENCH / "gpu_check.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.usefixtures("fake_cupy")
def test_parts_merge_into_one_file(gpu_check: ModuleType, tmp_path: Path) -> None:
    for part in ("small", "wide"):
        assert gpu_check.main(["--part", part, "--quick", "--out", str(tmp_path)]) == 0
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("gpu-check-")
    found = json.loads(path.read_text())
    assert set(found["parts"]) == {"small", "wide"}
    small = found["parts"]["small"]
    assert {"gpu", "commit", "cupy", "driver", "numpy"} <= set(small)
    assert len(small["curves"]) == 4
    assert small["curves"][0]["largest_relative_difference"] < 1e-9
    assert small["times"][0]["step_us"]["cuda"] > 0
    assert small["determinism"]["passed"]
    assert set(small["epoch"]) == {"target_ms", "cuda", "interpreter"}
    (precisions,) = found["parts"]["wide"]["precisions"]
    assert precisions["tf32"]["engine"] == "cuda"
    assert precisions["tf32"]["largest_difference"] == 0  # the fake does not round here
    assert 0 < precisions["bf16"]["largest_difference"] < 0.1
    for part in found["parts"].values():
        assert all(value > 0 for value in part["throughput"]["ceilings"].values())
        (cell,) = part["throughput"]["cells"]
        assert set(cell["floors_us"]) == {
            f"{precision} {way}" for precision in PRECISIONS for way in ("graph", "kernel")
        }
        assert "mlpx/cuda" in cell["not_timed"]  # processes of its own do not see the fake


def test_differing_curves_fail(
    gpu_check: ModuleType, fake_cupy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_check, "CURVE_BOUND", {"float64": 0.0})
    assert gpu_check.main(["--part", "small", "--quick", "--out", str(tmp_path)]) == 1


@pytest.mark.parametrize(("limit_s", "passed"), [(120, True), (0.01, False)])
def test_the_test_suite_is_a_part(
    gpu_check: ModuleType, fake_cupy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    limit_s: float, passed: bool,
) -> None:  # fmt: skip
    """With --quick one file of it; a suite that takes too long is a failure on record."""
    monkeypatch.setattr(gpu_check, "LIMIT_S", limit_s)
    arguments = ["--part", "tests", "--quick", "--out", str(tmp_path)]
    assert gpu_check.main(arguments) == (0 if passed else 1)
    (path,) = tmp_path.iterdir()
    found = json.loads(path.read_text())["parts"]["tests"]
    assert found["passed"] is passed
    assert found.get("why") == (None if passed else "not done after 0.01 s")
    assert found.get("counts", {}).get("passed", 0) > 0 or not passed


def test_without_a_gpu_it_says_why(tmp_path: Path) -> None:
    from mlpx.backend.diagnosis import diagnose

    if diagnose().status == "ok":
        pytest.skip("there is a GPU: nothing to say")
    done = subprocess.run(
        ["bash", str(BENCH / "gpu_check.sh"), "--part", "small", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "cannot be used" in done.stderr
    assert "Traceback" not in done.stderr
