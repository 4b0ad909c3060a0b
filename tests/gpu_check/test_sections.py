"""Sections of the GPU check on the doubles: what is right passes, what is broken is reported."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cudasim
import numpy as np
import pytest

sys.path.append(str(Path(__file__).parents[2] / "bench"))
from cudasim.cases import CASES, SINGLE, Given
from cudasim.checking import Packed, shapes
from fakecupy import cublaslt, modules
from fakecupy.cublaslt import array

from gpu import compiling, kernel_cases, products
from gpu.section import Setup
from mlpx.engines.cuda import kernels
from mlpx.engines.cuda.launches import FILES
from mlpx.engines.lowering import address

pytestmark = [
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
    pytest.mark.usefixtures("fake_cupy"),
]
QUICK = Setup(quick=True)


def rows(section: Any) -> list[dict[str, Any]]:
    found = list(section.run(QUICK))
    json.dumps(found, allow_nan=False)
    assert all("why" in row for row in found if not row["passed"])
    return found


def given() -> Given:
    """What the quick section gives: the smaller of its two dtypes."""
    return Given("float32", *shapes("copy")[4])


def test_every_file_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    *files, total = rows(compiling)
    assert total["passed"]
    assert sorted(row["file"] for row in files) == sorted(FILES)
    assert sum(row["kernels"] for row in files) == 2 * len(CASES)

    def fails(self: Any, name: str) -> Any:
        if name.startswith("softmax"):
            raise RuntimeError("nvrtc: no\nmore")
        return modules.RawKernel(name)

    monkeypatch.setattr(modules.RawModule, "get_function", fails)
    *files, total = rows(compiling)
    assert not total["passed"]
    failed = {row["file"]: row["why"] for row in files if not row["passed"]}
    assert failed == dict.fromkeys(
        ("activations.cu", "heads.cu", "losses.cu"), "RuntimeError: nvrtc: no"
    )


def test_every_kernel_is_right() -> None:
    *found, total = rows(kernel_cases)
    assert total["passed"], [row["why"] for row in found if not row["passed"]]
    assert len(found) == 2 * len(CASES) - len(SINGLE)
    assert {row["dtype"] for row in found[: len(CASES)]} == {"float32"}
    assert max(row["worst_eps"] for row in found) > 0


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda run, memory: None, "units: None"),
        (lambda run, memory: (run(), memory(-1)), "written outside"),
        (lambda run, memory: (run(), memory(0)), "a ticket"),
    ],
    ids=["not launched", "a guard", "a ticket"],
)
def test_a_broken_kernel_is_reported(
    monkeypatch: pytest.MonkeyPatch, broken: Any, why: str
) -> None:
    monkeypatch.setattr(kernel_cases, "CASES", {name: CASES[name] for name in ("copy", "sum")})
    right, size = kernels.launcher, Packed(CASES["copy"][0](given())).bytes.size

    def launcher(backend: Any, operation: Any, dtype: Any, state: Any, room: Any) -> Any:
        run = right(backend, operation, dtype, state, room)

        def spoil(at: int) -> None:
            array(address(room) or 0, (size,), np.uint8)[at] = 7

        return (lambda: broken(run, spoil)) if operation.name == "copy" else run

    monkeypatch.setattr(kernel_cases, "launcher", launcher)
    *found, total = rows(kernel_cases)
    assert [row["passed"] for row in found] == [False, True] * 2
    assert why in found[0]["why"]
    assert (total["passed"], total["rows_failed"]) == (False, 2)


def test_a_lost_device_ends_the_section(monkeypatch: pytest.MonkeyPatch, fake_cupy: Any) -> None:
    def launcher(*_: Any) -> Any:
        raise RuntimeError("cudaErrorIllegalAddress")

    monkeypatch.setattr(kernel_cases, "launcher", launcher)
    monkeypatch.setattr(kernel_cases, "lost", lambda backend: "cudaErrorIllegalAddress")
    first, last = rows(kernel_cases)
    assert "cudaErrorIllegalAddress" in first["why"]
    assert f"lost since {first['kernel']}" in last["why"]


def test_every_product_is_right() -> None:
    version, *found, total = rows(products)
    assert version["version"] == 130_000
    assert total["passed"]
    assert [row["why"] for row in found if not row["passed"]] == []
    for row in found:
        fused = row["epilogue"] in ("gelu_aux_bias", "dgelu")
        apart = (row["epilogue"], row["precision"]) == ("bgrada", "fp16")
        assert row["planned"] == (0 if apart else 1 if fused else 2), row


def test_a_broken_product_is_reported(monkeypatch: pytest.MonkeyPatch, fake_cupy: Any) -> None:
    """Bits that say something else, a product that fails, and ends that are not planned."""
    right = cublaslt.EPILOGUES[134]

    def wrong(left: Any, bias: Any, kept: Any, z: Any) -> None:
        right(left, bias, kept, z)
        kept[...] = ~kept

    monkeypatch.setitem(cublaslt.EPILOGUES, 134, wrong)
    monkeypatch.setattr(products, "BOUNDS", {"float32": 1e-5})
    fake_cupy.cublaslt.failing = lambda shape: shape == (16, 8, 12)  # dW of the first shape
    fake_cupy.cublaslt.epilogues = tuple(set(cublaslt.EPILOGUES) - {164})
    _, *found, _ = rows(products)
    failed = {(row["operation"], row["epilogue"]) for row in found if not row["passed"]}
    bits = {("affine", "relu_aux_bias"), ("affine_dx", "drelu"), ("affine_dx", "drelu_bgrad")}
    assert bits <= failed
    gelu = next(row for row in found if row["epilogue"] == "gelu_aux_bias")
    assert (gelu["passed"], gelu["planned"]) == (True, 0)
