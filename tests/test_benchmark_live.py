"""What a person sees while it measures, and what is written down of the machine."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mlpx.benchmark import environment
from mlpx.benchmark.live import Live
from mlpx.benchmark.results import cell_record
from mlpx.benchmark.rounds import Rules, Seat
from mlpx.benchmark.session import Settings, others_than, roster
from mlpx.benchmark.workloads import WORKLOADS, Task
from mlpx.errors import UnknownNameError

pytest_plugins = ["fakecupy.fixtures"]
pytestmark = pytest.mark.xdist_group("alone")
TASK = Task(WORKLOADS["mnist"], 32)


def play(console):
    """A cell with one contender measured, one refused, one that died and one rejected."""
    with Live(console) as live:
        live.cell(TASK, ["mlpx/x", "torch/eager", "jax/jit", "thinc/chain"])
        live.says(TASK, "mlpx/x", "building")
        live.says(TASK, "torch/eager", "wrong: its loss [sic] differs")
        seats = [
            Seat("mlpx/x", None, 10, step_s=[1e-4] * 6, busy=3, below_floor=1),
            Seat("jax/jit", None, 10, step_s=[1e-5] * 6, error="it died"),
            Seat("thinc/chain", None, 10, busy=7),
        ]
        live.rounds(TASK, seats)
        live.rounds(TASK, seats)
        live.cell(Task(WORKLOADS["mnist"], 64), ["mlpx/x"])
        live.finish()


@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("terminal", [True, False])
def test_the_table_stays_when_the_next_cell_begins(terminal, width):
    out = io.StringIO()
    play(Console(file=out, force_terminal=terminal, width=width, color_system=None))
    text = out.getvalue()
    assert "mnist 784-50-10, train, batch 32, float32, cpu, 1 thread" in " ".join(text.split())
    last = text[text.rindex("contender") :]
    rows = [line for line in last.splitlines() if line.startswith("│")]
    assert [row.split()[1] for row in rows] == ["mlpx/x", "thinc/chain"]
    assert "100 µs" in rows[0]
    assert "320 k" in rows[0]
    assert ("rejected" in last) is (" 4 │" in rows[0]) is (" 7 │" in rows[1]) is (width >= 80)
    assert "…" not in text


def test_who_has_no_row_has_a_line():
    out = io.StringIO()
    play(Console(file=out, force_terminal=True, width=80, color_system=None))
    assert out.getvalue().count("torch/eager: wrong: its loss [sic] differs") == 1
    assert out.getvalue().count("jax/jit: failed: it died") == 1


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
    return Settings(workloads=(WORKLOADS["mnist"],), **given)


def test_the_roster_has_ours_their_floors_and_the_peers():
    names = [kind.name() for kind in roster(settings(peers=("torch",)))]
    assert names[:4] == ["gemm/numpy", "gemm/numpy split", "gemm/native", "gemm/torch"]
    assert "mlpx/interpreter" in names
    assert "mlpx/interpreter fit" in names
    assert {"torch/eager", "torch/fused", "torch/compiled", "torch/whole"} <= set(names)
    assert not any(name.startswith("jax") for name in names)
    assert "gemm/torch" not in [kind.name() for kind in roster(settings())]


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
    assert len(tables) == 4
    assert all([task.batch_size for task in table] == [1, 8] for table in tables)
    assert {(t[0].device, t[0].phase) for t in tables} == {
        (device, phase) for device in ("cpu", "cuda") for phase in ("train", "predict")
    }
    assert tables[0][0] == Task(WORKLOADS["mnist"], 1, threads=2, seed=5)
    assert [t.batch_size for t in next(iter(settings().tables()))] == list(
        WORKLOADS["mnist"].batch_sizes
    )


def test_arithmetic_that_rounds_has_tables_of_its_own():
    wanted = settings(batch_sizes=(8,), dtypes=("float64", "tf32"), devices=("cuda",))
    (double,), (rounded,) = wanted.tables()
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
