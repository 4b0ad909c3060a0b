"""Turns in random order, rounds rejected, and when the measuring ends; processes are played."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from mlpx.benchmark import load
from mlpx.benchmark.processes import ContenderError
from mlpx.benchmark.report.results import LEAST_KEPT, cell_record, result_record
from mlpx.benchmark.rounds import Rules, Seat, Table
from mlpx.benchmark.workloads import WORKLOADS, Task

pytestmark = pytest.mark.xdist_group("alone")

RULES = Rules(budget_s=0.0, most_rounds=8, precision=0.02)


class Played:
    """A process whose rounds take what the script says."""

    def __init__(self, log, name, step_s):
        self.log, self.name, self.script = log, name, list(step_s)
        self.share, self.device_s = 1.0, None

    def ask(self, do, *, steps):
        self.log.append(self.name)
        step_s = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if step_s is None:
            raise ContenderError("it died")
        wall_s = steps * step_s
        device_s = None if self.device_s is None else steps * self.device_s
        return {
            "steps": steps,
            "wall_s": wall_s,
            "cpu_s": self.share * wall_s,
            "device_s": device_s,
        }

    def cpu_ticks(self):
        return None

    def settle(self):
        self.log.append(f"{self.name} settled")


@pytest.fixture
def quiet(monkeypatch):
    """Nobody else on the machine; `shares` says what others take, turn by turn."""
    shares = SimpleNamespace(next=[])
    monkeypatch.setattr(
        load, "foreign_share", lambda *_, **__: shares.next.pop(0) if shares.next else 0.0
    )
    monkeypatch.setattr(load, "tolerance", lambda *_, share: share)
    return shares


def table(log, rules=RULES, bounded=True, **scripts):
    seats = [
        Seat(name.replace("_", "/"), Played(log, name.replace("_", "/"), script), 10)
        for name, script in scripts.items()
    ]
    return Table(seats, threads=1, rules=rules, bounded=bounded)


def test_turns_are_interleaved_in_random_order(quiet):
    log = []
    names = {"a_1": [1.0], "b_1": [1.0], "c_1": [1.0]}
    table(log, **names).measure()
    turns = [name for name in log if not name.endswith("settled")]
    rows = [tuple(turns[i : i + 3]) for i in range(0, len(turns), 3)]
    assert all(sorted(row) == ["a/1", "b/1", "c/1"] for row in rows)
    assert len(set(rows)) > 1
    # each is left to settle before the next begins
    assert all(log[i + 1] == f"{log[i]} settled" for i in range(0, len(log), 2))
    again = []
    table(again, **names).measure()
    assert again == log
    other = []
    table(other, rules=dataclasses.replace(RULES, seed=1), **names).measure()
    assert other != log


def test_it_ends_when_every_interval_is_narrow(quiet):
    log = []
    made = table(log, rules=dataclasses.replace(RULES, budget_s=60.0), a_1=[1.0])
    made.measure()
    assert len(made.seats[0].step_s) == 6


def test_it_ends_with_the_budget_but_not_before_six_rounds(quiet):
    made = table([], a_1=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0])
    made.measure()
    assert made.seats[0].step_s == [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]


def test_wide_intervals_go_on_to_the_last_round(quiet):
    made = table([], rules=dataclasses.replace(RULES, budget_s=60.0), a_1=[1.0, 2.0] * 9)
    made.measure()
    assert len(made.seats[0].step_s) == RULES.most_rounds


def test_a_round_that_others_disturbed_is_rejected(quiet):
    quiet.next = [0.0, 0.06, 0.05]
    made = table([], a_1=[1.0, 9.0, 1.1, 1.0])
    made.measure()
    assert made.seats[0].busy == 1
    assert 9.0 not in made.seats[0].step_s
    assert 1.1 in made.seats[0].step_s
    assert made.foreign[:3] == [0.0, 0.06, 0.05]


def test_where_nobody_says_what_others_take_every_round_is_kept(quiet):
    quiet.next = [None] * 6
    made = table([], a_1=[1.0])
    made.measure()
    assert (made.seats[0].step_s, made.foreign) == ([1.0] * 6, [])


def test_the_time_of_the_device_is_kept_beside_that_of_the_host(quiet):
    made = table([], a_1=[1.0], b_1=[1.0])
    made.seats[0].process.device_s = 0.5
    made.measure()
    assert [seat.device_step_s for seat in made.seats] == [[0.5] * 6, []]


def test_how_many_processors_a_turn_used_is_kept(quiet):
    made = table([], a_1=[1.0, 2.0, 0.5], b_1=[1.0])
    made.seats[0].process.share = 1.5
    made.measure()
    assert [set(seat.cpu_share) for seat in made.seats] == [{1.5}, {1.0}]
    assert len(made.seats[0].cpu_share) == len(made.seats[0].step_s)


def test_noise_may_be_accepted_and_is_counted(quiet):
    quiet.next = [0.5]
    made = table([], rules=dataclasses.replace(RULES, accept_noise=True), a_1=[9.0, 1.0])
    made.measure()
    assert (made.seats[0].busy, made.seats[0].disturbed) == (0, 1)
    assert made.seats[0].step_s[0] == 9.0


def test_a_result_below_the_floor_of_its_round_is_rejected(quiet):
    made = table([], gemm_numpy=[1.0], a_1=[0.899, 0.9, 2.0])
    made.measure()
    fast = made.seats[1]
    assert fast.below_floor == 1
    assert fast.step_s[:2] == [0.9, 2.0]
    assert made.seats[0].below_floor == 0


def test_on_a_gpu_nothing_is_too_fast(quiet):
    """A graph is: the floor calls its products one by one."""
    made = table([], bounded=False, gemm_torch=[1.0], a_1=[0.5])
    made.measure()
    fast = made.seats[1]
    assert fast.below_floor == 0
    assert set(fast.step_s) == {0.5}


def test_where_there_is_no_floor_nothing_is_too_fast(quiet):
    made = table([], a_1=[0.001])
    made.measure()
    assert (made.seats[0].below_floor, made.seats[0].step_s) == (0, [0.001] * 6)


def test_the_fastest_floor_counts(quiet):
    made = table([], gemm_numpy=[3.0], gemm_torch=[1.0], a_1=[1.0])
    made.measure()
    assert made.seats[2].below_floor == 0


def test_a_floor_is_not_held_against_another(quiet):
    made = table([], gemm_numpy=[3.0], gemm_torch=[1.0, 9.0])
    made.measure()
    assert [seat.below_floor for seat in made.seats] == [0, 0]
    assert len(made.seats[0].step_s) == len(made.seats[1].step_s) == 6


def test_a_disturbed_floor_is_no_floor(monkeypatch):
    """Who was disturbed is told by its own time: here the floor's turns of nine seconds."""
    monkeypatch.setattr(load, "foreign_share", lambda *_, own_s, count: 1.0 if own_s > 50 else 0.0)
    monkeypatch.setattr(load, "tolerance", lambda *_, share: share)
    made = table([], gemm_numpy=[9.0], a_1=[1.0])
    made.measure()
    assert made.seats[0].busy == 6
    assert made.seats[1].below_floor == 0
    assert made.seats[1].step_s == [1.0] * 6


def test_the_calls_of_the_floor_cost_it_nothing(quiet):
    made = table([], gemm_numpy=[1.0])
    made.seats[0].overhead_s = 0.25
    made.measure()
    assert made.seats[0].step_s[0] == pytest.approx(0.75)
    made.seats[0].overhead_s = 1.5  # no step takes less than nothing
    made.measure()
    assert made.seats[0].step_s[-1] == pytest.approx(0.02)


def test_a_contender_that_dies_leaves_the_others(quiet):
    rules = dataclasses.replace(RULES, budget_s=60.0)
    made = table([], rules=rules, a_1=[1.0, None], b_1=[1.0])
    made.measure()
    assert made.seats[0].error == "it died"
    assert len(made.seats[1].step_s) == 6


def test_records_of_results():
    task = Task(WORKLOADS["mnist"], 32)
    seat = Seat("mlpx/x", None, 10, step_s=[0.002] * 6, cpu_share=[1.5] * 6, busy=2)
    result = {"contender": "mlpx/x", "status": "ok"}
    memory = {"peak_host_bytes": 300, "before_bytes": 100, "peak_device_bytes": None}
    result_record(result, seat, task, memory)
    assert result["samples_per_s"] == pytest.approx(16000)
    assert result["steps_per_s"] == pytest.approx(500)
    assert result["gflops"] == pytest.approx(cell_record(task)["flops"] / 0.002 / 1e9)
    assert result["host_growth_bytes"] == 200
    assert result["rejected_rounds"] == {"busy": 2, "below_floor": 0}
    assert result["processors_used"] == 1.5
    enough = Seat("mlpx/x", None, 10, step_s=[0.002] * LEAST_KEPT, cpu_share=[1.0] * LEAST_KEPT)
    result = {"contender": "mlpx/x", "status": "ok"}
    result_record(result, enough, task, memory)
    assert result["status"] == "ok"
    few = Seat("mlpx/x", None, 10, step_s=[0.002] * (LEAST_KEPT - 1), busy=9, below_floor=1)
    result = {"contender": "mlpx/x", "status": "ok"}
    result_record(result, few, task, memory)
    assert result["status"] == "rejected"
    assert "9 rounds" in result["reason"]
    assert "faster than their matrix products" in result["reason"]
    assert "step_s" not in result


@pytest.mark.parametrize(
    ("busy", "below_floor", "reason"),
    [
        (2, 0, "other processes took the processors in 2 rounds"),
        (0, 3, "3 rounds were faster than their matrix products alone"),
        (0, 0, "too few rounds"),
    ],
)
def test_why_there_is_no_figure(busy, below_floor, reason):
    seat, result = Seat("mlpx/x", None, 10, busy=busy, below_floor=below_floor), {}
    result_record(result, seat, Task(WORKLOADS["mnist"], 32), {})
    assert (result["status"], result["reason"]) == ("rejected", reason)
    seat.error = "it died"
    result_record(result, seat, Task(WORKLOADS["mnist"], 32), {})
    assert (result["status"], result["reason"]) == ("failed", "it died")
