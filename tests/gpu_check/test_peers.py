"""Ceilings and peers of the GPU check, on the fake CuPy and on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mlpx.benchmark.contenders.base import contender
from mlpx.benchmark.workloads import WORKLOADS, Task, make_problem
from mlpx.training.fit import PRECISIONS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of bench/gpu, and a rehearsal."""
    monkeypatch.syspath_prepend(str(ROOT / "bench"))
    monkeypatch.setenv("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from gpu import ceilings, cells, devices, peers, peers_large, peers_small
    from gpu.section import Setup

    return SimpleNamespace(
        ceilings=ceilings, cells=cells, devices=devices, peers=peers, small=peers_small,
        large=peers_large, setup=Setup(quick=True),
    )  # fmt: skip


@pytest.mark.usefixtures("fake_cupy")
def test_every_ceiling_is_a_row(gpu: SimpleNamespace) -> None:
    rows = json.loads(json.dumps(list(gpu.ceilings.run(gpu.setup))))
    assert [row["ceiling"] for row in rows] == [
        "node_s", "barrier_s", "copied_bytes_s", *(f"{name}_flops_s" for name in PRECISIONS)
    ]  # fmt: skip
    assert all(row["value"] > 0 for row in rows)


@pytest.mark.usefixtures("fake_cupy")
def test_a_ceiling_that_fails_costs_itself(
    gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(backend: Any) -> float:
        raise RuntimeError("no such thing\nat all")

    monkeypatch.setattr(gpu.ceilings, "barrier_s", fail)
    rows = {row["ceiling"]: row for row in gpu.ceilings.run(gpu.setup)}
    assert rows["barrier_s"] == {"ceiling": "barrier_s", "why": "RuntimeError: no such thing"}
    assert rows["bf16_flops_s"]["value"] > 0


def test_ceilings_multiply_random_numbers(
    gpu: SimpleNamespace, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Zeros and equal numbers are multiplied faster than others."""
    from mlpx import get_backend

    given: list[np.ndarray] = []
    backend = get_backend("cuda")
    upload = type(backend).asarray

    def seen(self: Any, x: Any, dtype: Any = None) -> Any:
        given.append(np.array(x))
        return upload(self, x, dtype)

    monkeypatch.setattr(type(backend), "asarray", seen)
    list(gpu.ceilings.measure(backend, quick=True))
    assert len(given) == 2 + 2 * len(PRECISIONS)  # what the node counts up, what is copied
    for x in given:
        assert len(np.unique(x)) > x.size / 10
    x = gpu.ceilings.numbers((64, 64))
    bf16 = gpu.ceilings.halves(x, "bf16").astype(np.uint32) << 16
    assert np.allclose(bf16.view(np.float32), x, rtol=2**-7)
    assert np.allclose(gpu.ceilings.halves(x, "fp16").view(np.float16), x, rtol=2**-10, atol=1e-6)


def test_floors(gpu: SimpleNamespace) -> None:
    """Where arithmetic is the longer, and where memory is; one node a kernel."""
    slow = {"copied_bytes_s": 1e12, "float32_flops_s": 1e12, "tf32_flops_s": 1e18}
    slow |= {"bf16_flops_s": 1e18, "fp16_flops_s": "none", "node_s": 1e-6, "barrier_s": "none"}
    found = gpu.ceilings.floors_us(gpu.small.SMALL, 100, slow)
    flops = 2 * 100 * (2 * 784 * 50 + 3 * 50 * 10)
    assert found["float32 gemm"] == pytest.approx(flops / 1e6)
    assert found["float32 graph"] == pytest.approx(flops / 1e6 + 8)
    assert 8 < found["tf32 graph"] < 10
    assert set(found) == {f"{p} {way}" for p in PRECISIONS[:3] for way in ("gemm", "graph")}
    cell = gpu.cells.Cell(gpu.small.SMALL, 100, "tf32")
    assert gpu.cells.floors_of(cell, slow) == {
        "gemm": found["tf32 gemm"], "graph": found["tf32 graph"]
    }  # fmt: skip


@pytest.mark.usefixtures("fake_cupy")
def test_ours_is_checked_and_timed_with_the_engine_forced(gpu: SimpleNamespace) -> None:
    """Who cannot take part is a row with its reason, and peers may be missing."""
    cells = (*gpu.small.QUICK, *gpu.large.QUICK)
    names = ("torch/graph", gpu.peers.OURS, "nobody/x", "torch/whole")
    rows = list(gpu.peers.measure(cells, names, gpu.setup, budget_s=60, rounds=3))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows
    assert set(rows[0]["ceilings"]) >= {"node_s", "bf16_flops_s"}
    for i, precision in enumerate(("float32", "bf16")):
        graph, ours, together, nobody, whole = rows[1 + 5 * i : 6 + 5 * i]
        assert {row["cell"] for row in (graph, ours, together)} == {str(cells[i])}
        assert graph["why"].startswith("ValueError: ")
        assert "passed" not in graph
        assert ours["passed"] is ours["agrees"] is True
        assert ours["check"]["reason"] == ""
        assert (ours["engine"], ours["notes"]) == ("CudaRunner", [])
        assert ours["precision"] == precision
        assert (ours["check"]["value_error"] > 1e-3) == (precision == "bf16")
        assert ours["step_us"] > 0
        assert len(ours["quartiles_us"]) == 2
        assert together["step_us"].keys() == {gpu.peers.OURS}
        share = together["gemm_floor_share"] * together["step_us"][gpu.peers.OURS]
        assert share == pytest.approx(together["floors_us"]["gemm"])
        assert "nobody" in nobody["why"]
        assert "rehearsal" in whole["why"]


@pytest.mark.usefixtures("fake_cupy")
def test_ours_wrong_or_fallen_back_is_a_failure(
    gpu: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def row() -> dict[str, Any]:
        rows = gpu.peers.measure(
            gpu.small.QUICK, (gpu.peers.OURS,), gpu.setup, budget_s=60, rounds=3
        )
        return next(row for row in rows if "contender" in row)

    from mlpx.benchmark.contenders.ours import Bare
    from mlpx.engines.cuda.planner import StepPlanner
    from mlpx.engines.cuda.runner import CudaRunner

    with monkeypatch.context() as patch:
        patch.setattr(Bare, "outcome", lambda self: [2 * a for a in self.parameters()])
        found = row()
        assert found["passed"] is found["agrees"] is False
        assert "differ from the float64 reference" in found["why"]
        assert found["step_us"] > 0  # all the same: there is a GPU once in a while
    with monkeypatch.context() as patch:
        patch.setattr(StepPlanner, "_open_cublaslt", lambda self: None)
        found = row()
        assert found["passed"] is False
        assert found["why"].startswith("it fell back")
    with monkeypatch.context() as patch:
        patch.setattr(CudaRunner, "__init__", None)
        assert row()["passed"] is False


def bench(gpu: SimpleNamespace, times_us: dict[str, float], wrong: str = "") -> dict[str, Any]:
    """The last row of contenders whose steps take so long."""
    cell = gpu.small.QUICK[0]
    problem, judge = gpu.cells.problem_and_judge(cell, gpu.setup)
    pace = gpu.cells.Pace.of(gpu.setup, rounds=3)
    made = gpu.peers.Bench(cell, gpu.setup, pace, 0.0, problem, judge, {"gemm": 1.0})
    for name, step_us in times_us.items():
        made.seats.append(gpu.peers.Seat(name, None, 1, name != wrong, [step_us] * 3))
    found: dict[str, Any] = made._together()
    return found


def test_ratios_are_peer_over_ours(gpu: SimpleNamespace) -> None:
    times = {"mlpx/cuda": 20.0, "torch/fused": 200.0, "torch/graph": 50.0, "jax/scan": 30.0}
    found = bench(gpu, times)
    assert found["eager_over_ours"] == 10
    assert (found["best_graph"], found["best_graph_over_ours"]) == ("jax/scan", 1.5)
    assert found["gemm_floor_share"] == 1 / 20
    found = bench(gpu, times, wrong="jax/scan")
    assert (found["best_graph"], found["best_graph_over_ours"]) == ("torch/graph", 2.5)
    assert found["step_us"]["jax/scan"] == 30
    assert "eager_over_ours" not in bench(gpu, times, wrong="mlpx/cuda")


@pytest.mark.usefixtures("fake_cupy")
def test_what_there_is_no_time_for_is_said(gpu: SimpleNamespace) -> None:
    rows = list(gpu.peers.measure(gpu.large.CELLS, (), gpu.setup, budget_s=-1.0, rounds=3))
    (left,) = [row for row in rows if "left_out_for_want_of_time" in row]
    assert left["left_out_for_want_of_time"][0] == "784-512-512-10 adam 128 float32"
    cell = gpu.small.QUICK[0]
    problem, judge = gpu.cells.problem_and_judge(cell, gpu.setup)
    soon_s = time.perf_counter() + gpu.peers.COMPILE_S / 2
    setup = gpu.setup._replace(quick=False)
    pace = gpu.cells.Pace.of(setup, rounds=15)
    assert pace.rounds == 15
    made = gpu.peers.Bench(cell, setup, pace, soon_s, problem, judge)
    (row,) = made.measure(("torch/whole",))
    assert row["why"].startswith("no time: ")


def test_a_lost_device_ends_it(gpu: SimpleNamespace, fake_cupy: Any, monkeypatch: Any) -> None:
    """What is behind an illegal address has no device; what is before is kept."""

    def lose(self: Any, name: str) -> dict[str, Any]:
        monkeypatch.setattr(gpu.peers, "device_lost", lambda setup: "illegal address")
        raise RuntimeError("illegal address")

    monkeypatch.setattr(gpu.peers.Bench, "_admit", lose)
    rows = list(
        gpu.peers.measure(gpu.small.QUICK * 2, ("a", "b"), gpu.setup, budget_s=60, rounds=3)
    )
    assert [row.get("why") for row in rows[1:]] == [
        "RuntimeError: illegal address", "the device is lost: illegal address"
    ]  # fmt: skip
    assert rows[-1]["passed"] is False


def test_a_device_that_answers_is_not_lost(gpu: SimpleNamespace, fake_cupy: Any) -> None:
    assert gpu.devices.device_lost(gpu.setup) == ""
    assert "cuda:9" in gpu.devices.device_lost(gpu.setup._replace(device="cuda:9"))


@pytest.mark.slow
def test_large_nets_are_judged_by_pytorch_in_float64(gpu: SimpleNamespace) -> None:
    pytest.importorskip("torch")
    cell = gpu.large.QUICK[0]
    task = cell.task("cpu")
    problem = make_problem(task)
    reference = gpu.cells.Judge(task, problem).wanted("outside")
    for a, b in zip(gpu.cells.trained_in_float64(task, problem), reference, strict=True):
        assert np.allclose(a, b, rtol=1e-7, atol=1e-9)


@pytest.mark.slow
def test_peers_take_part_where_they_are_installed() -> None:
    """On the CPU, in a process of its own, beside ours on the double."""
    code = (
        "import fakecupy, json; from gpu import peers_small, peers_large; "
        "from gpu.section import Setup\n"
        "with fakecupy.installed():\n"
        "    for section in (peers_small, peers_large):\n"
        "        for row in section.run(Setup(quick=True)): print(json.dumps(row))"
    )
    path = os.pathsep.join(str(ROOT / name) for name in ("src", "tests/support", "bench"))
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path},
        capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    task = Task(WORKLOADS["mnist"], 8)
    for name in ("torch/fused", "jax/scan"):
        if contender(name).refuses(task) is None:
            (first, *_) = [row for row in rows if row.get("contender") == name]
            assert first["agrees"]
            assert first["device"] == "cpu"
    assert not any(row.get("passed") is False for row in rows)
