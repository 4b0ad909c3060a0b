"""What a person sees while it measures, and what is written down of the machine."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console

from mlpx.benchmark import environment
from mlpx.benchmark.live import Live
from mlpx.benchmark.report.results import cell_record
from mlpx.benchmark.rounds import Rules, Seat
from mlpx.benchmark.session import SessionOptions, others_than, roster
from mlpx.benchmark.workloads import WORKLOADS, Task, Workload
from mlpx.errors import UnknownNameError

pytestmark = pytest.mark.xdist_group("alone")
TASK = Task(WORKLOADS["mnist"], 32)


def play(console):
    """A cell with one contender measured, one refused, one that died and one rejected."""
    with Live(console) as live:
        live.cell(TASK, ["mlpx/x", "torch/eager", "jax/jit", "thinc/chain"])
        live.says(TASK, "mlpx/x", "building")
        live.says(TASK, "torch/eager", "wrong: its loss [sic] differs")
        seats = [
            Seat("mlpx/x", None, 10, step_s=[1e-4] * 6, busy=3, above_peak=1),
            Seat("jax/jit", None, 10, step_s=[1e-5] * 6, error="it died"),
            Seat("thinc/chain", None, 10, busy=5, above_peak=2),
        ]
        live.rounds(TASK, seats)
        live.rounds(TASK, seats, 253.44)
        live.cell(Task(WORKLOADS["mnist"], 64), ["mlpx/x"])
        live.finish()


@pytest.mark.parametrize("width", [60, 79, 80, 120, 200])
def test_the_table_stays_when_the_next_cell_begins(width):
    out = io.StringIO()
    play(Console(file=out, force_terminal=True, width=width, color_system=None))
    text = out.getvalue()
    assert "mnist 784-50-10, train, batch 32, float32, cpu, 1 thread" in " ".join(text.split())
    head, *rows = text[text.rindex("contender") :].splitlines()[:3]
    assert [" ".join(row.split()) for row in (head, *rows)] == (
        [
            "contender a step 95 % samples/s peak rounds rejected",
            "mlpx/x 100 µs ±0.0 % 320 k 20 % 6 4",
            "thinc/chain 7",
        ]
        if width >= 80
        else [
            "contender a step 95 % samples/s peak",
            "mlpx/x 100 µs ±0.0 % 320 k 20 %",
            "thinc/chain",
        ]
    )
    assert "…" not in text
    assert "━" not in text


def test_in_a_pipe_a_finished_cell_has_a_line():
    out = io.StringIO()
    play(Console(file=out, force_terminal=False, width=60))
    assert out.getvalue().splitlines() == [
        "mnist 784-50-10, train, batch 32, float32, cpu, 1 thread",
        "  torch/eager: wrong: its loss [sic] differs",
        "  jax/jit: failed: it died",
        "  mlpx/x 100 us, 2 contenders, 10 rounds",
        "mnist 784-50-10, train, batch 64, float32, cpu, 1 thread",
    ]


def test_a_cell_without_figures_has_its_line_too():
    out = io.StringIO()
    with Live(Console(file=out, force_terminal=False)) as live:
        live.cell(TASK, ["mlpx/x"])
        live.rounds(TASK, [Seat("mlpx/x", None, 10, busy=5, above_peak=2)])
        live.finish()
    assert out.getvalue().splitlines()[-1] == "  1 contender, 7 rounds"


def test_without_a_peak_there_is_no_share_of_it():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=80, color_system=None)
    measured(console)
    head = out.getvalue()[out.getvalue().rindex("contender") :].splitlines()[0]
    assert head.split() == ["contender", "a", "step", "95", "%", "samples/s", "rounds", "rejected"]


def test_who_has_no_row_has_a_line():
    out = io.StringIO()
    play(Console(file=out, force_terminal=True, width=80, color_system=None))
    assert out.getvalue().count("torch/eager: wrong: its loss [sic] differs") == 1
    assert out.getvalue().count("jax/jit: failed: it died") == 1


def test_what_is_the_same_in_every_cell_is_told_once():
    out = io.StringIO()
    with Live(Console(file=out, force_terminal=False, width=60)) as live:
        for size in (32, 64):
            live.cell(Task(WORKLOADS["mnist"], size), ["jax/jit"])
            live.says(live.task, "jax/jit", "absent: jax not installed")
            live.says(live.task, "jax/jit", f"wrong: in {size}")
    assert out.getvalue().count("absent") == 1
    assert out.getvalue().count("wrong") == 2


def measured(console, *, name="mlpx/x"):
    """Two cells, the second measured, and told twice that it is over."""
    live = Live(console)
    with live:
        for size in (32, 64):
            live.cell(Task(WORKLOADS["mnist"], size), [name, "later"])
        live.says(live.task, name, "building")
        live.rounds(live.task, [Seat(name, None, 10, step_s=[1, 1, 1, 1, 2, 2])])
        live.finish()
        live.finish()
    return console.file.getvalue()


def test_the_last_table_stays_too_once():
    told = measured(Console(file=io.StringIO(), width=80))
    assert told.count("6 rounds") == 1
    assert [told.count(f"batch {size}") for size in (32, 64)] == [1, 1]


def test_the_peer_to_beat_stands_beside_ours():
    console = Console(file=io.StringIO(), width=80)
    with Live(console) as live:
        names = ["gemm/numpy", "mlpx/a", "mlpx/b", "torch/eager", "jax/jit"]
        live.cell(TASK, names)
        seats = [
            Seat(name, None, 10, step_s=[step_s] * 6)
            for name, step_s in zip(names, (1e-6, 3e-6, 2e-6, 9e-6, 8e-6), strict=True)
        ]
        live.rounds(TASK, seats)
        live.finish()
    last = console.file.getvalue().splitlines()[-1]
    assert last == "  mlpx/b 2.00 us, jax/jit 8.00 us, 5 contenders, 6 rounds"


def test_on_a_terminal_the_table_says_who_waits_and_who_is_built():
    before = threading.active_count()
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    with Live(console) as live:
        assert threading.active_count() <= before  # nobody works beside the clock
        live.cell(TASK, ["mlpx/x", "later"])
        assert console.file.getvalue().count("batch 32") == 0
        live.says(TASK, "mlpx/x", "building")
        told = console.file.getvalue()
        live.rounds(TASK, [Seat("mlpx/x", None, 10, step_s=[1] * 6)])
        live.finish()
        assert live.display.get_renderable() == ""  # the table is printed above
    assert [told.count(word) for word in ("batch 32", "waiting", "building")] == [1, 1, 1]


def test_names_are_shown_as_they_are():
    for terminal in (True, False):
        console = Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)
        told = measured(console, name="mlpx/[b]x")
        assert "mlpx/[b]x" in told
        assert ("±50.0 %" in told) is terminal
    live = Live(Console())
    live.cell(Task(Workload("[b]a", (3, 2), "relu", "adam", 1), 8), [])
    assert live.table().plain.startswith("[b]a 3-2, train")


def test_without_a_terminal_building_is_not_worth_a_line():
    out = io.StringIO()
    play(Console(file=out, force_terminal=False, width=140))
    assert "building" not in out.getvalue()


def test_the_gpu_and_its_driver_are_written_down(fake_cupy):
    fake_cupy.machine.devices = 2
    found = environment.describe(2)
    assert found["gpu"]["devices"] == ["Fake CUDA device", "Fake CUDA device"]
    assert found["gpu"]["driver_cuda"] == 13020
    assert environment.devices_here() == ["cpu", "cuda"]


def test_without_a_gpu_the_reason_is_written_down(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cupy", None)
    found = environment.describe(1)
    assert found["gpu"]["devices"] == []
    assert found["gpu"]["message"]
    assert environment.devices_here() == ["cpu"]


def test_blas_without_threadpoolctl(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "threadpoolctl", None)
    (found,) = environment.blas()
    assert found["name"]


def test_the_commit_is_that_of_the_checkout(monkeypatch, tmp_path):
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "environment.py"))
    assert environment.commit() is None
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr(environment, "__file__", str(tmp_path / "src" / "environment.py"))
    said = {"rev-parse": "abc", "status": " M x"}
    monkeypatch.setattr(environment, "_output", lambda command: said[command[3]])
    assert environment.commit() == {"hash": "abc", "modified": True}


def settings(**given):
    return SessionOptions(workloads=(WORKLOADS["mnist"],), **given)


def test_the_roster_has_ours_their_floors_and_the_peers():
    names = [kind.name() for kind in roster(settings(peers=("torch",)))]
    assert names[:2] == ["gemm/numpy", "gemm/torch"]
    assert "mlpx/interpreter" in names
    assert "mlpx/interpreter fit" in names
    assert {"torch/eager", "torch/fused", "torch/compiled", "torch/whole"} <= set(names)
    assert not any(name.startswith("jax") for name in names)
    assert not any(name.startswith("mlpx/cuda") or name == "torch/graph" for name in names)
    assert "gemm/torch" not in [kind.name() for kind in roster(settings())]
    assert not any(k.library == "gemm" for k in roster(settings(engines=("native",))))
    both = [kind.name() for kind in roster(settings(devices=("cpu", "cuda:0")))]
    assert {"mlpx/cuda", "mlpx/native", "gemm/numpy"} <= set(both)


def test_a_new_engine_takes_part_by_itself(monkeypatch):
    from mlpx.engines import Engine

    monkeypatch.setitem(Engine.table, "steam", Engine.table["interpreter"])
    names = [kind.name() for kind in roster(settings())]
    assert {"mlpx/steam", "mlpx/steam fit", "mlpx/interpreter"} <= set(names)
    only = [kind.name() for kind in roster(settings(engines=("steam",)))]
    assert "mlpx/interpreter" not in only
    with pytest.raises(UnknownNameError, match="engine"):
        roster(settings(engines=("water",)))


def test_tables_of_tasks():
    wanted = settings(
        batch_sizes=(1, 8), phases=("train", "predict"), devices=("cpu", "cuda"), threads=2, seed=5
    )
    tables = list(wanted.tables())
    assert [{task.device for task in table} for table in tables] == [{"cpu"}, {"cuda"}]
    for table in tables:
        assert [(task.phase, task.batch_size) for task in table] == [
            ("train", 1), ("train", 8), ("predict", 1), ("predict", 8)
        ]  # fmt: skip
    assert tables[0][0] == Task(WORKLOADS["mnist"], 1, threads=2, seed=5)
    mnist = WORKLOADS["mnist"]
    assert list(settings().tables()) == [[Task(mnist, size) for size in mnist.batch_sizes]]


def test_arithmetic_that_rounds_has_tables_of_its_own():
    wanted = settings(batch_sizes=(8,), dtypes=("float64", "tf32"), devices=("cuda",))
    ((double, rounded),) = wanted.tables()
    assert (double.dtype, double.precision) == ("float64", "float32")
    assert (rounded.dtype, rounded.precision) == ("float32", "tf32")
    assert cell_record(rounded)["dtype"] == "tf32"


def test_a_mode_without_the_phase_is_worth_a_word_only_if_its_library_has_no_other():
    kinds = roster(settings(peers=("torch", "onnxruntime")))
    for phase in ("train", "call", "start"):
        unasked = {kind.name() for kind in others_than(phase, kinds)}
        assert ("mlpx/native" in unasked) is ("torch/whole" in unasked) is (phase != "train")
        assert ("mlpx/fit a batch" in unasked) is (phase == "train")
        assert "mlpx/predict" in unasked
        assert "onnxruntime/session" not in unasked
        assert not any(name.startswith("gemm/") for name in unasked)


def test_quick_rules_are_shorter():
    assert Rules.quick().budget_s < Rules().budget_s
