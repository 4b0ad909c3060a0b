"""What a contender's process does, done within the test's own; and processes that end too soon."""

from __future__ import annotations

import gc
import io
import json
import os
import runpy
import sys
from collections import Counter
from importlib.metadata import version
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from mlpx.benchmark import load, memory, processes, timing, worker
from mlpx.benchmark.check import Judge
from mlpx.benchmark.contenders import base as contenders
from mlpx.benchmark.contenders.floor import TorchFloor
from mlpx.benchmark.processes import ContenderError, Process
from mlpx.benchmark.timing import timed
from mlpx.benchmark.workloads import Task, Workload, make_problem

pytestmark = pytest.mark.xdist_group("alone")
NET = Workload("tiny", (6, 5, 3), "sigmoid", "sgd", 0.1)


def asked(*requests):
    """The answers of a worker to such requests."""
    out = io.StringIO()
    worker.serve(io.StringIO("\n".join(map(json.dumps, requests))), out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("name", "phase"), [("mlpx/interpreter", "train"), ("mlpx/predict", "predict")]
)
def test_a_conversation(name, phase, tmp_path):
    task = Task(NET, 16, phase, seed=3)
    built, checked, warm, ran, used = asked(
        {"do": "build", "task": task.to_json(), "contender": name},
        {"do": "check", "file": str(tmp_path / "outcome.npz")},
        {"do": "warm", "seconds": 0.0, "round_s": 0.0},
        {"do": "run", "steps": 3},
        {"do": "memory"},
    )
    kind = contenders.contender(name)
    assert built == {"ok": True, "versions": kind.versions(), "facts": {}}
    assert (warm["ok"], warm["steps"]) == (True, 1)
    with np.load(tmp_path / "outcome.npz") as arrays:
        left = [arrays[f"a{i}"] for i in range(len(arrays.files))]
    assert checked == {"ok": True, "arrays": len(left)}
    assert Judge(task, make_problem(task)).verdict(left, epsilon=kind.epsilon).reason == ""
    assert ran.keys() == {"ok", "steps", "wall_s", "cpu_s", "device_s"}
    assert (ran["steps"], ran["device_s"]) == (3, None)
    assert used["peak_host_bytes"] >= used["before_bytes"] > 2**20
    assert used["peak_device_bytes"] is None


def test_what_is_refused_is_not_built():
    task = Task(NET, 16).to_json()
    told, lost = asked(
        {"do": "build", "task": task, "contender": "mlpx/predict"}, {"do": "run", "steps": 1}
    )
    assert told == {"ok": True, "refused": "has no phase 'train'"}
    assert lost["error"].startswith("AttributeError")


@pytest.mark.parametrize(
    ("chunk", "round_s", "wanted_s"), [(1, 0.0, 5.0), (1, 8.0, 5.0 + 3.0), (4, 0.0, 5.0 + 3.0)]
)
def test_what_first_runs_take_longer_is_compiling(monkeypatch, tmp_path, chunk, round_s, wanted_s):
    """Here the first run of each number of steps compiles: three seconds, in the check two more."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now, process_time=lambda: 0.0)
    for module in (worker, timing):
        monkeypatch.setattr(module, "time", clock)
    made = Idle(Task(NET, 16), None)
    made.chunk, seen, runs = chunk, set(), []
    made.outcome = list

    def run(steps, longer_s=0.0):
        clock.now += 1.0 * steps + (0.0 if steps in seen else 3.0 + longer_s)
        seen.add(steps)
        runs.append(steps)

    made.run, made.run_checked = run, lambda steps: run(steps, 2.0)
    if chunk == 1:
        seen.add(1)  # compiled by the check
    by = worker.Worker()
    by.contender = made
    by.check({"file": str(tmp_path / "outcome.npz")})
    told = by.warm({"seconds": 0.5, "round_s": round_s})
    assert told["compile_s"] == pytest.approx(wanted_s)
    assert told["step_s"] == 1.0
    assert len(runs) == 3 + (told["steps"] != chunk) - (chunk == 1)  # nothing twice for nothing
    by.build({"task": Task(NET, 16).to_json(), "contender": "mlpx/predict"})
    assert (by.compiled_s, by.compiled_steps) == (0.0, 0)


class Idle(contenders.Contender):
    """Takes no time."""

    def reset(self):
        pass

    def train(self, steps):
        assert not gc.isenabled()


def test_garbage_that_was_not_collected_before_is_not_collected_after():
    for enable, enabled in ((gc.disable, False), (gc.enable, True)):
        enable()
        try:
            timed(Idle(Task(NET, 16), None), 1)
            assert gc.isenabled() is enabled
        finally:
            gc.enable()


def test_versions_are_those_of_the_distributions():
    found = contenders.contender("sklearn/partial_fit").versions()
    assert found == {"sklearn": version("scikit-learn")}
    assert contenders._version("a module of no distribution") == "unknown"


def test_the_process_is_pinned_and_answers_where_its_output_was(monkeypatch, capfd):
    """What libraries print is told from answers: it goes where errors go."""
    pinned = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {5, 7, 3}, raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", lambda *given: pinned.append(given), raising=False)
    monkeypatch.setattr(sys, "argv", ["worker", "2"])
    monkeypatch.setattr(sys, "stdin", io.StringIO('{"do": "dance"}\n'))
    runpy.run_path(worker.__file__, run_name="__main__")
    os.write(1, b"a library's greeting\n")
    out, errors = capfd.readouterr()
    assert json.loads(out) == {"ok": False, "error": "KeyError: 'dance'"}
    assert "Traceback" in errors
    assert "a library's greeting" in errors
    assert pinned == [(0, [3, 5])]


def test_nobody_is_pinned_where_nobody_can_be(monkeypatch):
    pinned = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda *given: pinned.append(given), raising=False)
    worker.pin(0)
    monkeypatch.delattr(os, "sched_setaffinity")
    worker.pin(2)
    assert pinned == []
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert load.processors(None) == [0, 1, 2]
    assert load.processors(2) == [0, 1]
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert load.processors(None) == [0]


def test_the_peak_where_only_the_process_is_counted(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "STATUS", tmp_path / "none")
    usage = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda who: SimpleNamespace(ru_maxrss=4096))
    monkeypatch.setitem(sys.modules, "resource", usage)
    monkeypatch.setattr(sys, "platform", "linux")
    assert memory.peak_bytes() == 4 * 2**20  # it is told in KiB
    monkeypatch.setattr(sys, "platform", "darwin")
    assert memory.peak_bytes() == 4096  # in bytes
    monkeypatch.setitem(sys.modules, "resource", None)
    assert memory.peak_bytes() is None


class Tensor(np.ndarray):
    """An array that knows the devices it was moved to."""

    moves: ClassVar[Counter] = Counter()

    def to(self, device):
        Tensor.moves[device] += 1
        return self


@pytest.fixture
def fake_torch(monkeypatch):
    """What the floor needs of PyTorch, by NumPy."""
    calls = Counter()
    torch = SimpleNamespace(
        set_num_threads=lambda threads: calls.update({f"{threads} threads": 1}),
        from_numpy=lambda array: array.view(Tensor),
        mm=np.matmul,
        cuda=SimpleNamespace(synchronize=lambda: calls.update(waits=1)),
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setattr(TorchFloor, "_seconds", lambda self, call: 0.0)
    Tensor.moves.clear()
    return calls


@pytest.mark.parametrize(("device", "threads", "waits"), [("cpu", 3, 0), ("cuda:1", 8, 2)])
def test_the_floor_of_torch_computes_its_products_in_every_layout(
    fake_torch, device, threads, waits
):
    task = Task(NET, 16, device=device, threads=3)
    made = TorchFloor(task, make_problem(task))
    outs = []
    for call in made._variants((4, 7, 5)):
        outs.append(call.keywords["out"])
        outs[-1][...] = 0
        call()
        a, b = (np.asarray(array, np.float64) for array in call.args)
        bound = a.shape[1] * np.finfo(np.float32).eps * (abs(a) @ abs(b))
        assert (abs(outs[-1] - a @ b) <= bound).all()
    assert [out.shape for out in outs] == [(4, 5)] * 3
    assert [out.strides for out in outs] == [(20, 4), (4, 16), (4, 80)]
    assert timed(made, 2).device_s is None
    assert made.device_peak_bytes() is None
    assert fake_torch == Counter({f"{threads} threads": 1, "waits": waits})
    assert set(Tensor.moves) == {device}


@pytest.fixture
def started(tmp_path, monkeypatch):
    """Starts a process that does what the script says instead of a contender's."""
    made = []

    def start(script):
        file = tmp_path / "child"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o700)
        monkeypatch.setattr(sys, "executable", str(file))
        made.append(Process("x", threads=1, environment={}))
        return made[-1]

    yield start
    for process in made:
        process.close()


needs_sh = pytest.mark.skipif(not os.path.exists("/bin/sh"), reason="no GPU stack: no shell here")


@needs_sh
def test_a_process_that_ends_before_it_is_asked(started):
    process = started("exec 1>&-; echo; echo no license >&2; exit 3")
    process._child.wait(10)
    with pytest.raises(ContenderError, match=r"^process ended with 3: no license$"):
        process.ask("memory")
    assert process.cpu_ticks() is None
    process.settle()


@needs_sh
def test_a_process_that_ends_within_its_answer(started):
    process = started("read request; printf '{\"ok\": tr'; echo 'out of luck ' >&2; exit 4")
    with pytest.raises(ContenderError, match=r"^process ended with 4: out of luck$"):
        process.ask("memory")


def test_a_process_is_left_to_settle_while_it_works(monkeypatch):
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now)
    clock.sleep = lambda seconds: setattr(clock, "now", clock.now + seconds)
    monkeypatch.setattr(processes, "time", clock)
    for ticks, waited_s in (([7, 7], 0.025), ([7, 8, 9, 9], 0.075), (range(99), 0.6), ([None], 0)):
        clock.now = 0.0
        told = iter(ticks)
        Process.settle(SimpleNamespace(cpu_ticks=lambda told=told: next(told)))
        assert clock.now == pytest.approx(waited_s, abs=0.03)
