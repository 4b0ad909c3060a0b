"""bench/gpu_small.cu: compiled for sm_90, run in the simulator, and launched by the check."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cudasim
import nvrtc
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))

from gpu import small
from gpu.section import Setup
from gpu.small_cases import Affine, Case, Gradient
from gpu.small_products import BACKWARD, FORWARD, OF_BYTES, SOURCE, Small
from mlpx.backend import get_backend
from mlpx.engines.cuda.graphs import Launch

SIMULATED = pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler")
REGISTERS, SHARED_BYTES = 65536, 48 << 10
"""Of a multiprocessor; what a launch may have without asking."""


@pytest.mark.slow
def test_compiles_within_bounds() -> None:
    found = nvrtc.compile_file(SOURCE, "sm_90")
    sizes = {f"affine_{how.name}_float32": how.launch((128, 784, 512)) for how in FORWARD}
    sizes |= {f"affine_bytes_{how.name}_float32": how.launch((128, 784, 512)) for how in OF_BYTES}
    sizes |= {f"dW_{how.name}_float32": how.launch((128, 784, 512)) for how in BACKWARD}
    assert set(found) == set(sizes)
    for name, size in sizes.items():
        assert found[name].registers * size.block <= REGISTERS
        assert found[name].spilled_bytes == found[name].shared_bytes == 0
        assert size.shared_bytes <= SHARED_BYTES


@pytest.fixture
def device(fake_cupy: Any) -> Small:
    return small.made(get_backend("cuda"), Setup(quick=True))


@SIMULATED
@pytest.mark.parametrize(
    "shape",
    [
        (33, 50, 35),
        *(pytest.param(s, marks=pytest.mark.slow) for s in [(5, 17, 1), (100, 784, 10)]),
    ],
)
def test_products_are_right_in_any_order(
    device: Small, shape: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, bits = cudasim.kernel, dict[str, bytes]()
    numbers, images = (Affine(device, shape, "sigmoid", of_bytes=b) for b in (False, True))
    moved = Gradient(device, shape, "adam")
    work: list[tuple[Case, list[Launch]]] = [
        *((numbers, numbers.ours(how)) for how in FORWARD),
        *((images, images.ours(how)) for how in OF_BYTES),
        *((moved, moved.ours(how)) for how in BACKWARD),
    ]
    for order in (cudasim.BACKWARD, cudasim.RANDOM):
        monkeypatch.setattr(
            cudasim, "kernel",
            lambda *which, order=order: lambda *given: run(*which)(*given, schedule=order),
        )  # fmt: skip
        for case, launches in work:
            assert case.error(launches) < 1e-5
            left = b"".join(case.arrays[name].get().tobytes() for name in case.wanted)
            assert bits.setdefault(launches[0][0].name, left) == left


@SIMULATED
def test_the_section_yields_rows_that_pass(fake_cupy: Any) -> None:
    rows = list(small.run(Setup(quick=True)))
    json.dumps(rows, allow_nan=False)
    assert [row for row in rows if not row["passed"]] == []
    assert {row["product"] for row in rows} == {"compile", "affine", "dW", "two dW", "step"}
    assert sum(row["product"] == "step" for row in rows) == 3
    assert all(row["us"] > 0 and row.get("cublaslt_passed", True) for row in rows[1:])


@SIMULATED
def test_what_is_wrong_or_missing_is_said(device: Small, fake_cupy: Any) -> None:
    case = Gradient(device, (9, 21, 10), "gradient")
    wrong = small.measured(device, case, lambda: [(op, lambda: None) for op, _ in case.theirs()])
    assert (wrong["passed"], wrong["largest_error"], wrong["why"]) == (False, None, "off by nan")
    fake_cupy.cublaslt.unplanned = lambda shape: True
    assert small.measured(device, case, case.theirs) == {
        "us": None, "why": "cublasLt has no plan for affine_dW"
    }  # fmt: skip
    rows = list(small.gradient(device, (9, 21, 10), "sgd"))
    assert all(row["passed"] and row["cublaslt_us"] is None for row in rows)


@pytest.mark.slow
@SIMULATED
def test_nothing_is_touched_that_is_not_theirs() -> None:
    """Under AddressSanitizer, which wants a process of its own."""
    script = """if True:
        import fakecupy, cudasim
        build = cudasim.build
        cudasim.build = lambda sources=None, flags=(), **rest: build(
            *filter(None, [sources]), flags=(*flags, cudasim.ASAN) if sources else flags, **rest)
        with fakecupy.installed():
            from gpu import small
            from gpu.section import Setup
            assert all(row["passed"] for row in small.run(Setup(quick=True)))
    """
    done = subprocess.run(
        [sys.executable, "-c", script], env=surroundings(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-4000:]


def surroundings() -> dict[str, str]:
    return os.environ | cudasim.sanitizer() | {"PYTHONPATH": os.pathsep.join(sys.path)}
