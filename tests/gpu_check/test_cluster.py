"""bench/gpu_cluster.cu: compiled for sm_90, and run on a simulated cluster."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cudasim
import numpy as np
import nvrtc
import pytest

BENCH = Path(__file__).parents[2] / "bench"
sys.path.append(str(BENCH))

from gpu import cluster, cluster_launches  # noqa: E402
from gpu.cluster_reference import RATE, Problem, held, largest_error  # noqa: E402
from gpu.section import Setup  # noqa: E402

pytestmark = pytest.mark.xdist_group("cluster")  # compiled once

HERE = Path(__file__).parents[1] / "support" / "clustersim"
SIZES, SEEDS = (8, 16), (0, 1, 2)
"""Threads in order, in any order, and some slower than others."""
LONG = pytest.mark.slow


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The kernels on the CPU; each function returns 1 for threads that wait for ever."""
    if cudasim.compiler() is None:
        pytest.skip("no C++ compiler")
    folder = tmp_path_factory.mktemp("cluster")
    for path in BENCH.glob("gpu_cluster*.cu*"):
        if path.name != "gpu_cluster.cuh":
            (folder / path.name).write_text(path.read_text())
    flags = [*cudasim.FLAGS, "-shared", f"-I{HERE}", f"-I{cudasim.HERE}"]
    flags += [f'-DGPU_CLUSTER="{folder / "gpu_cluster.cu"}"']
    command = [cudasim.compiler() or "", *flags, "-o", str(folder / "cluster.so")]
    subprocess.run([*command, str(HERE / "cluster.cpp")], check=True)
    return ctypes.CDLL(str(folder / "cluster.so"))


def call(function: Any, blocks: int, seed: int, *given: Any) -> None:
    """One launch; every block must report that nothing was wrong."""
    clocks, flags = np.zeros(blocks, np.int64), np.zeros(blocks, np.int32)
    arguments = [
        ctypes.c_void_p(value.ctypes.data) if isinstance(value, np.ndarray)
        else ctypes.c_float(value) if isinstance(value, float) else value
        for value in (*given, clocks, flags)
    ]  # fmt: skip
    assert function(blocks, seed, *arguments) == 0, "threads wait for ever"
    assert not flags.any()


@LONG
def test_compiles_within_bounds(tmp_path: Path) -> None:
    (tmp_path / "gpu_cluster.cu").write_text(cluster_launches.source())
    found = nvrtc.compile_file(tmp_path / "gpu_cluster.cu", "sm_90")
    names = ("hold", "swap", "share", "train")
    assert set(found) == {f"{name}_{blocks}" for name in names for blocks in SIZES}
    for usage in found.values():
        assert usage.registers <= 65536 // 512
        assert usage.spilled_bytes == usage.shared_bytes == 0


def test_on_a_double_each_finding_says_why_it_is_missing(fake_cupy: Any) -> None:
    rows = list(cluster.run(Setup(quick=True)))
    assert len(rows) > 20
    assert all(row["why"] == "no clusters here" and "passed" not in row for row in rows)


@pytest.mark.parametrize("blocks", SIZES)
def test_blocks_read_what_others_hold(simulated: ctypes.CDLL, blocks: int) -> None:
    out = np.zeros(blocks, np.float32)
    assert simulated.hold(blocks, 1, ctypes.c_void_p(out.ctypes.data)) == 0
    np.testing.assert_array_equal(out, held(blocks))


@pytest.mark.parametrize(
    ("blocks", "seed"),
    [(8, 2), *(pytest.param(b, s, marks=LONG) for b in SIZES for s in SEEDS if (b, s) != (8, 2))],
)
@pytest.mark.parametrize("how", range(4))
def test_messages_arrive(simulated: ctypes.CDLL, blocks: int, how: int, seed: int) -> None:
    problem, rounds = Problem(blocks), 5
    for scatter, items in ((0, 1), (0, problem.items), (1, problem.items)):
        expected = problem.scattered(rounds) if scatter else problem.gathered(items, rounds)
        out = np.full(expected.shape, np.nan, np.float32)
        call(simulated.swap, blocks, seed, how, scatter, items, rounds, problem.parts, out)
        assert largest_error(out, expected) < 1e-6


@pytest.mark.parametrize("tf32", [0, 1])
@pytest.mark.parametrize("blocks", SIZES)
def test_products_are_right(simulated: ctypes.CDLL, blocks: int, tf32: int) -> None:
    problem, reps = Problem(blocks), 2
    for way, expected in enumerate((problem.product(), problem.descended(reps, RATE))):
        out = np.full(expected.shape, np.nan, np.float32)
        given = (problem.x, problem.W, problem.d, out)
        call(simulated.share, blocks, 1, way, tf32, reps, RATE, *given)
        assert largest_error(out, expected) < 2e-6


@pytest.mark.parametrize(
    ("blocks", "how", "tf32"),
    [
        (8, 2, 0),
        *(pytest.param(16, how, 0, marks=LONG) for how in range(4)),
        pytest.param(16, 2, 1, marks=LONG),
    ],
)
def test_steps_train(simulated: ctypes.CDLL, blocks: int, how: int, tf32: int) -> None:
    problem, steps = Problem(blocks), 3
    expected, begun = problem.trained(steps), problem.trained(0)
    out = np.full(expected.shape, np.nan, np.float32)
    given = (problem.images, len(problem.images), problem.W1, problem.W2, out)
    call(simulated.train, blocks, 2, how, tf32, steps, RATE, *given)
    assert largest_error(out - begun, expected - begun) < 1e-4


def test_what_is_timed_does_not_diverge() -> None:
    problem = Problem(16)
    assert np.abs(problem.trained(100) - problem.trained(0)).max() < 10


class Simulated(cluster_launches.Cluster):
    """Launches go to the simulator."""

    library: ctypes.CDLL

    def launch(self, name: str, blocks: int, *arguments: Any) -> None:
        kernel, _, size = name.partition("_")
        given = [
            ctypes.c_void_p(value.data.ptr) if hasattr(value, "get")
            else ctypes.c_float(value) if isinstance(value, np.float32) else int(value)
            for value in arguments
        ]  # fmt: skip
        assert blocks == (1 if kernel == "share" else int(size))
        assert getattr(self.library, kernel)(int(size), 1, *given) == 0

    def seconds(self, call: Callable[[], None]) -> float:
        call()
        return 1e-3


def test_findings_launch_what_the_kernels_take(
    simulated: ctypes.CDLL, fake_cupy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_launches, "FEW", 1)
    monkeypatch.setattr(cluster_launches, "MANY", 2)
    monkeypatch.setattr(cluster, "STEPS", 2)
    found, problem = Simulated(fake_cupy), Problem(8)
    found.library = simulated
    assert found.holds(8)["passed"]
    assert cluster.barrier(found, problem)["wrong"] == 0
    assert cluster.steps(found, problem, "barrier", 0)["wrong"] == 0
    for pattern in ("round", "reduce-scatter", "all-gather"):
        assert cluster.messages(found, problem, "async", pattern)["passed"]
    for way in (0, 1):
        assert cluster.product(found, problem, way, 0)["passed"]
    assert cluster.steps(found, problem, "bulk", 0)["passed"]
    expected = problem.product()
    assert not cluster.verdict(expected + 1e-2, expected, 0, "product")["passed"]
    assert not cluster.verdict(expected * np.nan, expected, 0, "product")["passed"]
    assert not cluster.verdict(expected, expected, 2, "product")["passed"]


def test_an_error_costs_its_finding_and_a_lost_device_the_rest(fake_cupy: Any) -> None:
    found = cluster_launches.Cluster(fake_cupy)
    first = next(cluster.measured(found))  # the double has no driver to ask
    assert first["passed"] is False
    assert re.match(r"\w+Error: ", first["why"])
