"""Turns in random order, rounds rejected, and when the measuring ends; processes are played."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import pytest

from mlpx.benchmark import load
from mlpx.benchmark.machine import RATES
from mlpx.benchmark.processes import ContenderError
from mlpx.benchmark.report.results import cell_record, machine_record, result_record
from mlpx.benchmark.rounds import LEAST_KEPT, Gauge, Rules, Seat, Table
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


class Measured(Played):
    """The machine, whose processors do so many GFLOP/s in each round; None: it fails."""

    def ask(self, do, *, threads, dtype, seconds):
        self.log.append(self.name)
        self.asked = (do, threads, dtype, seconds)
        peak = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if peak is None:
            raise ContenderError("it died")
        rates = dict.fromkeys(RATES, peak / 2) | {"fma_gflops": peak}
        return {"isa": "avx512", "rates": rates, "cpu_s": 0.2}


def gauge(*peaks, log=()):
    """Steps of a tenth of a second's work at 100 GFLOP/s."""
    return Gauge(Measured([*log], "machine", peaks), "float32", 10**10)


def table(log, rules=RULES, gauge=None, **scripts):
    seats = [
        Seat(name.replace("_", "/"), Played(log, name.replace("_", "/"), script), 10)
        for name, script in scripts.items()
    ]
    return Table(seats, threads=1, rules=rules, gauge=gauge)


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


def test_what_the_machine_cannot_do_is_rejected(quiet):
    made = table([], gauge=gauge(100.0), a_1=[0.095, 0.0953, 2.0], gemm_numpy=[0.09])
    made.measure()
    fast, floor = made.seats
    assert fast.above_peak == 1
    assert fast.step_s[:2] == [0.0953, 2.0]
    assert (floor.above_peak, floor.step_s) == (6, [])  # a BLAS is held to it too
    assert made.gauge.process.asked == ("rates", 1, "float32", RULES.round_s)


def test_the_machine_is_asked_in_every_round_and_in_any_place(quiet):
    log = []
    made = table(log, a_1=[1.0], b_1=[1.0])
    made.gauge = gauge(100.0, 50.0)
    made.gauge.process.log = log
    made.measure()
    turns = [name for name in log if not name.endswith("settled")]
    rows = [turns[i : i + 3] for i in range(0, len(turns), 3)]
    assert all(sorted(row) == ["a/1", "b/1", "machine"] for row in rows)
    assert len({row.index("machine") for row in rows}) > 1
    assert [rates["fma_gflops"] for rates in made.gauge.rates] == [100.0] + [50.0] * 5
    assert made.gauge.isa == "avx512"


def test_each_round_has_its_own_peak(quiet):
    made = table([], gauge=gauge(100.0, 200.0), a_1=[0.06])
    made.measure()
    assert (made.seats[0].above_peak, len(made.seats[0].step_s)) == (1, 5)


def test_a_step_without_products_is_never_too_fast(quiet):
    made = table([], gauge=gauge(1e-9), a_1=[0.5])
    made.gauge.flops = 0
    made.measure()
    assert made.seats[0].above_peak == 0


def test_where_the_machine_is_not_measured_nothing_is_too_fast(quiet):
    made = table([], a_1=[1e-9])
    made.measure()
    assert (made.seats[0].above_peak, made.seats[0].step_s) == (0, [1e-9] * 6)
    made = table([], gauge=gauge(100.0, None), a_1=[1e-9])
    made.measure()
    assert made.gauge.error == "it died"
    assert (made.seats[0].above_peak, len(made.seats[0].step_s)) == (1, 5)


@pytest.mark.parametrize(("accepted", "kept"), [(False, 0), (True, 6)])
def test_a_disturbed_machine_is_no_peak(monkeypatch, accepted, kept):
    """Who was disturbed is told by its own time: the machine has turns of 0.2 s."""
    monkeypatch.setattr(load, "foreign_share", lambda *_, own_s, count: float(own_s == 0.2))
    monkeypatch.setattr(load, "tolerance", lambda *_, share: share)
    rules = dataclasses.replace(RULES, accept_noise=accepted)
    made = table([], rules=rules, gauge=gauge(100.0), a_1=[0.01])
    made.measure()
    assert made.seats[0].above_peak == 0
    assert made.seats[0].step_s == [0.01] * 6
    assert (len(made.gauge.rates), made.gauge.disturbed) == (kept, kept)


def test_who_is_far_behind_has_few_turns_once_the_budget_is_spent(quiet):
    made = table([], a_1=[1.0], b_1=[2.0], c_1=[2.01], gemm_numpy=[0.5])
    made.measure()
    assert [len(seat.step_s) for seat in made.seats] == [6, 6, LEAST_KEPT, 6]
    wide = [1.0, 2.0] * 9
    made = table([], dataclasses.replace(RULES, budget_s=60.0), a_1=wide, c_1=[9.0, 18.0] * 9)
    made.measure()  # there is time
    assert [len(seat.step_s) for seat in made.seats] == [RULES.most_rounds] * 2


def test_who_was_disturbed_has_its_turns_even_far_behind(quiet):
    quiet.next = [0.0, 1.0] * 2
    made = table([], dataclasses.replace(RULES, seed=2), a_1=[1.0], b_1=[9.0])
    made.measure()
    assert sum(seat.busy for seat in made.seats) == 2
    assert len(made.seats[1].step_s) >= LEAST_KEPT


def test_the_machine_is_written_down():
    assert machine_record(None) is None
    made = gauge(100.0)
    assert machine_record(made) is None
    made.isa, made.disturbed = "avx512", 1
    made.rates = [dict.fromkeys(RATES, value) for value in (1.0, 2.0, 3.0)]
    found = machine_record(made)
    assert (found["isa"], found["disturbed_rounds"]) == ("avx512", 1)
    for name in RATES:
        assert (found[name]["median"], found[name]["all"]) == (2.0, [1.0, 2.0, 3.0])


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
    seat = Seat("mlpx/x", None, 10, step_s=[0.002] * 6, cpu_share=[1.5] * 6, busy=2, compile_s=0.5)
    result = {"contender": "mlpx/x", "status": "ok"}
    memory = {"peak_host_bytes": 300, "before_bytes": 100, "peak_device_bytes": None}
    result_record(result, seat, task, memory)
    assert result["samples_per_s"] == pytest.approx(16000)
    assert result["steps_per_s"] == pytest.approx(500)
    assert result["gflops"] == pytest.approx(cell_record(task)["flops"] / 0.002 / 1e9)
    assert result["host_growth_bytes"] == 200
    assert result["rejected_rounds"] == {"busy": 2, "above_peak": 0}
    assert result["processors_used"] == 1.5
    assert result["compile_s"] == 0.5
    enough = Seat("mlpx/x", None, 10, step_s=[0.002] * LEAST_KEPT, cpu_share=[1.0] * LEAST_KEPT)
    result = {"contender": "mlpx/x", "status": "ok"}
    result_record(result, enough, task, memory)
    assert result["status"] == "ok"
    few = Seat("mlpx/x", None, 10, step_s=[0.002] * (LEAST_KEPT - 1), busy=9, above_peak=1)
    result = {"contender": "mlpx/x", "status": "ok"}
    result_record(result, few, task, memory)
    assert result["status"] == "rejected"
    assert "9 rounds" in result["reason"]
    assert "faster than this machine can multiply" in result["reason"]
    assert "step_s" not in result


@pytest.mark.parametrize(
    ("busy", "above_peak", "reason"),
    [
        (2, 0, "other processes took the processors in 2 rounds"),
        (0, 3, "3 rounds were faster than this machine can multiply"),
        (0, 0, "too few rounds"),
    ],
)
def test_why_there_is_no_figure(busy, above_peak, reason):
    seat, result = Seat("mlpx/x", None, 10, busy=busy, above_peak=above_peak), {}
    result_record(result, seat, Task(WORKLOADS["mnist"], 32), {})
    assert (result["status"], result["reason"]) == ("rejected", reason)
    seat.error = "it died"
    result_record(result, seat, Task(WORKLOADS["mnist"], 32), {})
    assert (result["status"], result["reason"]) == ("failed", "it died")
