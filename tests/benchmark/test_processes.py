"""Contenders in processes of their own: pinned, measured, and reported when they fail."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from mlpx.benchmark import load, memory
from mlpx.benchmark.accuracy import HIGHEST_RATE, climb, scaled_rate
from mlpx.benchmark.contenders.base import contender
from mlpx.benchmark.contenders.floor import NumpyFloor
from mlpx.benchmark.processes import ContenderError, Process, thread_environment
from mlpx.benchmark.timing import timed
from mlpx.benchmark.worker import serve
from mlpx.benchmark.workloads import Task, Workload, make_problem

pytestmark = pytest.mark.xdist_group("alone")
NET = Workload("tiny", (6, 5, 3), "sigmoid", "sgd", 0.1)
TASK = Task(NET, 16)


@pytest.fixture(scope="module")
def process():
    with Process("mlpx/interpreter", threads=1, environment={}) as made:
        yield made


def test_a_whole_conversation(process, tmp_path):
    built = process.ask("build", task=TASK.to_json(), contender="mlpx/interpreter")
    assert built["facts"] == {}
    file = tmp_path / "outcome.npz"
    assert process.ask("check", file=str(file))["arrays"] == 4
    with np.load(file) as arrays:
        assert arrays["a0"].shape == (6, 5)
    warm = process.ask("warm", seconds=0.001, round_s=0.005)
    found = process.ask("run", steps=warm["steps"])
    assert found["steps"] == warm["steps"]
    assert found["cpu_s"] > 0
    assert found["wall_s"] > 0
    assert found["device_s"] is None
    used = process.ask("memory")
    assert used["peak_host_bytes"] >= used["before_bytes"] > 2**20
    assert process.cpu_ticks() > 0
    process.settle()


def test_the_peak_is_counted_anew_for_each_build(process):
    wide = Task(Workload("wide", (4096, 5, 3), "sigmoid", "sgd", 0.1), 16)
    peaks = []
    for task in (wide, TASK):
        process.ask("build", task=task.to_json(), contender="mlpx/interpreter")
        process.ask("run", steps=1)
        peaks.append(process.ask("memory")["peak_host_bytes"])
    assert peaks[0] - peaks[1] > 64 * 2**20  # the data of the first alone are 128 MiB


def test_a_failure_is_an_answer_and_not_the_end(process):
    with pytest.raises(ContenderError, match="UnknownNameError"):
        process.ask("build", task=TASK.to_json(), contender="mlpx/steam")
    process.ask("build", task=TASK.to_json(), contender="mlpx/interpreter")


def test_a_refusal_is_told(process):
    task = Task(NET, 16, "predict").to_json()
    told = process.ask("build", task=task, contender="mlpx/native")
    assert told["refused"] == "has no phase 'predict'"


@pytest.mark.parametrize("waits", [True, False], ids=["before it is asked", "meanwhile"])
def test_a_process_that_dies_is_told_with_its_last_words(waits):
    with Process("x", threads=1, environment={}) as made:
        made._child.kill()
        if waits:
            made._child.wait()
        with pytest.raises(ContenderError, match="ended with"):
            made.ask("memory")


def test_silence_is_a_failure():
    with Process("x", threads=1, environment={}) as made:
        made._line = lambda timeout_s: Process._line(made, 0.0)
        with pytest.raises(ContenderError, match="no answer within"):
            made.ask("build", task=TASK.to_json(), contender="mlpx/interpreter")
        assert made._child.poll() is not None


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_processes_are_pinned(process):
    assert len(os.sched_getaffinity(process._child.pid)) == 1
    environment = thread_environment(3)
    assert environment["OMP_NUM_THREADS"] == environment["OPENBLAS_NUM_THREADS"] == "3"


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_beside_a_gpu_nobody_is_pinned():
    usable = len(os.sched_getaffinity(0))
    with Process("mlpx/interpreter", threads=8, environment={}, pinned=False) as made:
        made.ask("build", task=TASK.to_json(), contender="mlpx/interpreter")
        assert len(os.sched_getaffinity(made._child.pid)) == usable
        environment = Path(f"/proc/{made._child.pid}/environ").read_bytes().split(b"\0")
        assert b"OMP_NUM_THREADS=8" in environment
    assert load.processors(None) == sorted(os.sched_getaffinity(0))


def test_the_worker_answers_line_by_line():
    requests = [
        {"do": "build", "task": TASK.to_json(), "contender": "gemm/numpy"},
        {"do": "warm", "seconds": 0.001, "round_s": 0.002},
        {"do": "nonsense"},
    ]
    out = io.StringIO()
    serve(io.StringIO("\n".join(map(json.dumps, requests))), out)
    built, warm, refused = map(json.loads, out.getvalue().splitlines())
    assert built["facts"]["call_overhead_s"] > 0
    assert warm["steps"] >= 1
    assert warm["compile_s"] >= 0
    assert refused == {"ok": False, "error": "KeyError: 'nonsense'"}


def test_events_stand_beside_host_time_on_cuda(fake_cupy):
    task = Task(NET, 16, device="cuda")
    made = contender("mlpx/interpreter")(task, make_problem(task))
    made.reset()
    before = fake_cupy.counters.synchronizations
    found = timed(made, 20)
    assert fake_cupy.counters.synchronizations - before == 3  # clock's two sides and the event
    assert 0 < found.device_s <= found.wall_s
    assert found.device_s > 0.5 * found.wall_s
    assert made.device_peak_bytes() is not None


@pytest.mark.parametrize("phase", ["train", "forward"])
def test_the_floor_multiplies_what_the_step_does(phase):
    task = Task(NET, 16, phase, threads=2)
    made = NumpyFloor(task, make_problem(task))
    calls = []
    made.products_of = lambda a, b, out: calls.append((a.shape, b.shape, out.shape)) or [None]
    layouts = [made._variants(shape) for shape in NET.gemms(16, phase)]
    assert all(len(variants) == 3 for variants in layouts)
    forward = [((16, 6), (6, 5), (16, 5)), ((16, 5), (5, 3), (16, 3))]
    backward = [((6, 16), (16, 5), (6, 5)), ((5, 16), (16, 3), (5, 3)), ((16, 3), (3, 5), (16, 5))]
    wanted = forward + (backward if phase == "train" else [])
    assert calls == [shapes for shapes in wanted for _ in range(3)]


def test_the_floor_computes_its_products_in_every_layout():
    made = NumpyFloor(TASK, make_problem(TASK))
    calls = made._variants((4, 7, 5))
    assert [call.func for call in calls] == [np.matmul, np.dot, np.matmul, np.matmul]
    for call in calls:
        out = call.keywords["out"]
        out[...] = 0
        call()
        a, b = call.args[:2]
        assert np.allclose(out, a @ b, atol=1e-5)
        assert a.std() > 0.5  # a GPU multiplies equal numbers faster
        assert out.shape == (4, 5)


def test_a_deep_net_tries_each_shape_once_on_matrices_of_each_product(monkeypatch):
    tried = []
    monkeypatch.setattr(
        NumpyFloor, "_seconds", lambda self, call: tried.append(call) or -len(tried)
    )
    task = Task(Workload("deep", (6, *[5] * 20, 3), "relu", "adam", 1e-3), 4, "start")
    made = NumpyFloor(task, make_problem(task))
    shapes = task.workload.gemms(4, "start")
    assert len(tried) == sum(len(made._variants(shape)) for shape in set(shapes))
    outs = [call.keywords["out"] for call in made.products]
    assert [out.shape for out in outs] == [(m, n) for m, _, n in shapes]
    assert len({out.ctypes.data for out in outs}) == len(shapes)
    assert not any(out.flags.c_contiguous for out in outs if out.shape[0] > 1)  # the last is best


def test_peak_memory_is_seen_and_reset():
    if not memory.reset_peak():
        pytest.skip("no GPU stack: /proc/self/clear_refs cannot be written here")
    before = memory.peak_bytes()
    block = np.ones(8 * 2**20)
    assert memory.peak_bytes() - before > 32 * 2**20
    del block
    assert memory.reset_peak()
    assert memory.peak_bytes() - before < 32 * 2**20


def test_memory_where_the_system_does_not_say(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    monkeypatch.setattr(memory, "CLEAR", tmp_path / "none" / "none")
    assert memory.resident_bytes() is None
    assert memory.reset_peak() is False
    if sys.platform != "win32":
        assert memory.peak_bytes() > 2**20


def test_a_climb_counts_steps_to_the_target():
    draw = np.random.default_rng(0)
    prototypes = draw.random((10, 784), dtype=np.float32)
    labels = draw.integers(0, 10, 600)
    x = prototypes[labels] + 0.1 * draw.standard_normal((600, 784), dtype=np.float32)
    found = climb(50, (x[:500], labels[:500], x[500:], labels[500:]), budget_s=30.0, target=0.9)
    assert found.steps == found.steps_taken
    assert found.steps % 10 == 0
    assert found.accuracy >= 0.9
    assert found.learning_rate == scaled_rate(50) == pytest.approx(0.1 * 50 / 8)
    late = climb(50, (x[:500], labels[:500], x[500:], labels[500:]), budget_s=0.0, target=1.1)
    assert late.steps is None
    assert late.steps_taken == 10
    assert late.reason == "out of time"


def test_rates_grow_with_the_batch_to_a_limit():
    assert scaled_rate(1) == scaled_rate(8) == 0.1
    assert scaled_rate(64) == pytest.approx(0.8)
    assert scaled_rate(8192) == HIGHEST_RATE
