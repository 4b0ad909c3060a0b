"""A whole benchmark whose processes are played, and its search for an accuracy."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mlpx.benchmark import load
from mlpx.benchmark.accuracy import TARGET, load_images, scaled_rate
from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.machine import RATES
from mlpx.benchmark.processes import ContenderError, device_environment
from mlpx.benchmark.rounds import Rules
from mlpx.benchmark.session import Bench, SessionOptions, _accuracy
from mlpx.benchmark.workloads import WORKLOADS, Task, parse_workload
from mlpx.errors import DataNotFoundError

pytestmark = pytest.mark.xdist_group("alone")
RULES = Rules(budget_s=0.0, most_rounds=6, accept_noise=True)
ANSWERS = {
    "build": {"versions": {"it": "1.0"}, "facts": {"call_overhead_s": 0.025}},
    "warm": {"steps": 4, "compile_s": 1.5},
    "run": {"steps": 4, "wall_s": 0.5, "cpu_s": 0.25, "device_s": None},
    "rates": {"isa": "x", "rates": dict.fromkeys(RATES, 7.0), "cpu_s": 0.1},
    "memory": {"peak_host_bytes": 9, "before_bytes": 5, "peak_device_bytes": None},
}


class Played:
    """Stands in for a process that does not get beyond what its name says."""

    def __init__(self, log, name):
        self.log, self.name = log, name
        log.append(("start", name))

    def ask(self, do, **_):
        if self.name == "gemm/refused":
            return {"refused": "it was not built"}
        if self.name == f"gemm/{do}":
            raise ContenderError(f"it died of {do}")
        return ANSWERS[do]

    def cpu_ticks(self):
        return None

    def settle(self):
        self.log.append(("settle", self.name))

    def close(self):
        self.log.append(("close", self.name))


def kinds(*modes):
    """Contenders that are never made; nothing of a floor is checked."""
    has = {"library": "gemm", "note": "played", "train": None.__ne__}
    return [type(mode, (Contender,), {**has, "mode": mode}) for mode in modes]


@pytest.fixture
def log(monkeypatch):
    """What happens to processes, and what the watcher is told."""
    happened = []
    monkeypatch.setattr("mlpx.benchmark.session.Process", lambda name, **_: Played(happened, name))
    return happened


def watcher(log):
    return SimpleNamespace(
        cell=lambda task, names: log.append(("cell", task.batch_size)),
        says=lambda task, name, text: text == "building" or log.append((text, name)),
        rounds=lambda task, seats, peak: log.append(("peak", peak)),
    )


def test_who_dies_is_started_anew_for_the_next_cell_and_the_others_go_on(log):
    tasks = [Task(parse_workload("8-4-2"), size) for size in (4, 16)]
    modes = ("well", "refused", "build", "warm", "run", "memory")
    played = kinds(*modes)
    played[0].compiles = True
    with Bench(tasks, played, RULES, watcher(log)) as bench:
        cells = [bench.cell(task) for task in tasks]
    assert not Path(bench.scratch.name).exists()
    for cell in cells:
        told = {
            result["contender"]: (result["status"], result["reason"]) for result in cell["results"]
        }
        assert told == {
            "gemm/well": ("ok", None),
            "gemm/refused": ("unsupported", "it was not built"),
            **{f"gemm/{do}": ("failed", f"it died of {do}") for do in ("build", "warm", "run")},
            "gemm/memory": ("failed", "it died of memory"),
        }
        well = cell["results"][0]
        assert well["step_s"]["all"] == pytest.approx([0.1] * 6)
        assert well["host_growth_bytes"] == 4
        assert "step_s" not in cell["results"][-1]
    assert bench.versions == {"it": "1.0"}
    counts = {name: log.count(("start", f"gemm/{name}")) for name in modes}
    assert counts == {"well": 1, "refused": 1, "build": 2, "warm": 2, "run": 1, "memory": 1}
    assert all(log.count(("close", f"gemm/{name}")) == counts[name] for name in modes)
    assert [log.count((do, "machine")) for do in ("start", "close")] == [1, 1]
    for cell in cells:
        assert (cell["machine"]["isa"], cell["machine"]["fma_gflops"]["rounds"]) == ("x", 6)
        assert cell["results"][0]["compile_s"] == 1.5
        assert cell["results"][-1]["compile_s"] is None
    assert ("peak", 7.0) in log
    assert log.count(("settle", "gemm/well")) == 2 * (1 + RULES.most_rounds)  # and once it is warm
    dead = [entry for entry in log if entry[1] == "gemm/build"]
    assert dead[:2] == [("start", "gemm/build"), ("close", "gemm/build")]
    assert ("unsupported: it was not built", "gemm/refused") in log


def test_what_is_asked_and_told_in_a_cell(monkeypatch):
    asked, told, shares = [], [], iter((0.1, 0.3, *[0.2] * 10))
    monkeypatch.setattr(load, "foreign_share", lambda *_, **__: next(shares))
    process = SimpleNamespace(cpu_ticks=lambda: None, settle=lambda: None, close=lambda: None)
    answers = {**ANSWERS, "build": {"versions": {}, "facts": {}}}
    process.ask = lambda do, **given: asked.append((do, given)) or answers[do]
    monkeypatch.setattr("mlpx.benchmark.session.Process", lambda name, **_: process)
    well, absent, idle = kinds("well", "absent", "idle")
    absent.requires, idle.train = ("no_such_module",), None
    watching = {do: lambda task, *given: told.append(given) for do in ("cell", "says", "rounds")}
    task = Task(parse_workload("8-4-2"), 4)
    with Bench([task], [well, absent, idle], RULES, SimpleNamespace(**watching)) as bench:
        cell = bench.cell(task)
    warm = ("warm", {"seconds": RULES.warm_s, "round_s": RULES.round_s})
    build = ("build", {"task": task.to_json(), "contender": "gemm/well"})
    rates = ("rates", {"threads": 1, "dtype": "float32", "seconds": RULES.round_s})
    assert asked[:3] == [build, warm, rates]
    assert asked[-1] == ("memory", {})
    played = asked[3:-1]
    assert (played.count(("run", {"steps": 4})), len(played)) == (6, 12)
    assert all(("threads" in given) is (do == "rates") for do, given in played)
    first, building, gone, *rounds = told
    assert first == (["gemm/well", "gemm/absent"],)
    assert building == ("gemm/well", "building")
    assert gone == ("gemm/absent", "absent: no_such_module not installed")
    assert [(len(seats), peak) for seats, peak in rounds] == [(1, 7.0)] * 6
    status = [result["status"] for result in cell["results"]]
    assert (status, cell["foreign_share"]) == (["ok", "absent", "unsupported"], 0.3)
    assert cell["results"][0]["step_s"]["median"] == 0.5 / 4


def test_a_cell_says_how_long_it_took(monkeypatch, log):
    ticks = iter((1.0, 4.0, 9.0))
    monkeypatch.setattr("mlpx.benchmark.session.time.perf_counter", lambda: next(ticks))
    monkeypatch.setattr("mlpx.benchmark.session.Table.measure", lambda *_: None)
    task = Task(parse_workload("8-4-2"), 4)
    with Bench([task], [], RULES, watcher(log)) as bench:
        cell = bench.cell(task)
    assert (cell["preparing_s"], cell["measuring_s"]) == (3.0, 5.0)


@pytest.mark.parametrize("does", ["refuses", "dies"])
def test_without_the_machine_the_others_are_measured(monkeypatch, log, does):
    def ask(self, do, **_):
        if self.name != "machine":
            return ANSWERS[do]
        if does == "dies":
            raise ContenderError("it died")
        return {"refused": "the native library was not built"}

    monkeypatch.setattr(Played, "ask", ask)
    task = Task(parse_workload("8-4-2"), 4)
    with Bench([task], kinds("well"), RULES, watcher(log)) as bench:
        cell = bench.cell(task)
    assert cell["machine"] is None
    assert cell["results"][0]["status"] == "ok"


@pytest.mark.parametrize(
    ("device", "precision"), [("cuda", "float32"), ("cpu", "bf16")], ids=["GPU", "rounded"]
)
def test_where_multiply_adds_are_no_peak_there_is_none(monkeypatch, log, device, precision):
    task = Task(parse_workload("8-4-2"), 4, device=device, precision=precision)
    (kind,) = kinds("well")
    kind.devices, kind.precisions = (device,), (precision,)
    with Bench([task], [kind], RULES, watcher(log)) as bench:
        assert bench.cell(task)["machine"] is None
    assert ("start", "machine") not in log


def test_who_is_for_another_device_is_not_listed(log):
    task = Task(parse_workload("8-4-2"), 4)
    here, elsewhere = kinds("here", "elsewhere")
    elsewhere.devices = ("cuda",)
    with Bench([task], [here, elsewhere], RULES, watcher(log)) as bench:
        cell = bench.cell(task)
    assert [result["contender"] for result in cell["results"]] == ["gemm/here"]


@pytest.mark.parametrize(
    ("device", "status", "threads", "processors"),
    [("cpu", "rejected", 1, 1), ("cuda", "ok", 8, None)],
)
def test_what_is_faster_than_the_machine_is_rejected_on_a_cpu(
    monkeypatch, device, status, threads, processors
):
    started, counted = {}, []

    def play(name, **given):
        started[name] = given
        process, wall_s = Played([], name), 1e-9 if name == "mlpx/fast" else 5.0
        process.ask = lambda do, **_: {**ANSWERS[do], "wall_s": wall_s}
        return process

    monkeypatch.setattr("mlpx.benchmark.session.Process", play)
    monkeypatch.setattr(Bench, "_check", lambda *_: None)
    monkeypatch.setattr(load, "processors", lambda threads: counted.append(threads) or [0])
    task = Task(parse_workload("8-4-2"), 4, device=device)
    floor, fast = kinds("floor", "fast")
    fast.library, fast.environment = "mlpx", {"A": "1"}
    floor.devices = fast.devices = (device,)
    with Bench([task], [floor, fast], RULES, watcher([])) as bench:
        results = bench.cell(task)["results"]
    assert [result["status"] for result in results] == ["ok", status]
    assert counted == [processors]
    common = {"threads": threads, "pinned": device == "cpu"}
    environment = device_environment(device)
    assert started == {
        "gemm/floor": {**common, "environment": environment},
        "mlpx/fast": {**common, "environment": {**environment, "A": "1"}},
        **({"machine": {**common, "environment": environment}} if device == "cpu" else {}),
    }


def settings(**given):
    given = {"batch_sizes": (8,), "accuracy_s": 1e-9, **given}
    return SessionOptions(workloads=(WORKLOADS["mnist"],), **given)


@pytest.fixture
def images(monkeypatch):
    """MNIST is here, with few rows; returns the options that it was loaded with."""
    asked, draw = {}, np.random.default_rng(0)
    x = draw.integers(0, 256, (60, 784), np.uint8)
    x[0, 0], y = 255, np.arange(60) % 10
    data = SimpleNamespace(
        scale=1 / 255, x_train=x[:40], y_train=y[:40], x_test=x[40:], y_test=y[40:]
    )
    monkeypatch.setattr("mlpx.data.load_dataset", lambda name, **given: asked.update(given) or data)
    return asked


def test_the_search_for_an_accuracy_is_written_down(images):
    x, y, x_test, y_test = load_images()
    assert images == {"download": False}
    assert (x.dtype, x.max(), x.shape, x_test.shape) == (np.float32, 1.0, (40, 784), (20, 784))
    assert (len(y), len(y_test)) == (40, 20)
    found = _accuracy(settings(batch_sizes=(8, 20)))
    climbs = found.pop("climbs")
    assert found == {"reason": None, "target": TARGET}
    for size, climb in zip((8, 20), climbs, strict=True):
        assert 0.0 <= climb.pop("accuracy") < TARGET
        assert climb == {
            "batch_size": size, "learning_rate": scaled_rate(size), "target": TARGET,
            "steps": None, "steps_taken": 40 // size, "reason": "out of time",
        }  # fmt: skip


@pytest.mark.usefixtures("images")
@pytest.mark.parametrize(
    "left_out", [{"accuracy_s": 0.0}, {"phases": ("predict",)}], ids=["no time", "no training"]
)
def test_no_accuracy_is_searched_for_unasked(left_out):
    assert _accuracy(settings(**left_out)) is None
    assert _accuracy(settings()) is not None
    wide = SessionOptions(workloads=(WORKLOADS["wide"],), accuracy_s=1e-9)
    assert _accuracy(wide) is None


def test_where_mnist_is_not_the_document_says_so(monkeypatch):
    def nowhere(name, **_):
        raise DataNotFoundError(f"{name} is nowhere")

    monkeypatch.setattr("mlpx.data.load_dataset", nowhere)
    found = _accuracy(settings())
    assert found == {"reason": "MNIST is not here: mnist is nowhere", "climbs": []}
