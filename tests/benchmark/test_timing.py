"""The clocks, and how long it is warmed up and measured."""

from __future__ import annotations

import gc
import time
from types import SimpleNamespace

import pytest

from mlpx.benchmark import timing
from mlpx.benchmark.contenders.base import contender
from mlpx.benchmark.timing import steps_for, timed, warm_up
from mlpx.benchmark.workloads import PHASES, Task, Workload, make_problem

pytestmark = pytest.mark.xdist_group("alone")
NET = Workload("tiny", (6, 5, 3), "sigmoid", "sgd", 0.1)


class Slow:
    """Each step takes a millisecond; counts what it was asked."""

    chunk = 4
    leaves_garbage = False

    def __init__(self):
        self.runs, self.resets, self.waits, self.collecting = [], 0, 0, []

    def device_clock(self):
        return None

    def synchronize(self):
        self.waits += 1

    def reset(self):
        self.resets += 1

    def run(self, steps):
        self.runs.append(steps)
        self.collecting.append(gc.isenabled())
        self.work(steps)

    def work(self, steps):
        time.sleep(1e-3 * steps)


def test_the_device_is_waited_for_on_both_sides_of_the_clock():
    slow = Slow()
    found = timed(slow, 8)
    assert slow.waits == 2
    assert 8e-3 <= found.wall_s < 0.2
    assert found.cpu_s < found.wall_s


def test_collecting_garbage_is_timed_where_a_call_leaves_some():
    slow = Slow()
    for slow.leaves_garbage in (False, True):
        timed(slow, 1)
        assert gc.isenabled()
    assert slow.collecting == [False, True]
    kind, problem = contender("mlpx/fit a batch"), make_problem(Task(NET, 16))
    leaving = [phase for phase in PHASES if kind(Task(NET, 16, phase), problem).leaves_garbage]
    assert leaving == ["call", "start"]


@pytest.mark.parametrize(
    ("thousandths", "runs"),
    [(0, [4, 4]), (128, [4, 4, 8, 16, 32, 32, 32]), (129, [4, 4, 8, 16, 32, 64, 64])],
)
def test_warm_up_goes_by_time_and_whole_chunks(monkeypatch, thousandths, runs):
    """Stretches grow up to a quarter of the time. A step is 1/1024 s, which adds up exactly."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now, process_time=lambda: 0.0)
    monkeypatch.setattr(timing, "time", clock)
    slow, step_s = Slow(), 1 / 1024
    slow.work = lambda steps: setattr(clock, "now", clock.now + steps * step_s)
    first, last = warm_up(slow, seconds=thousandths * step_s)
    assert (first.steps, last.step_s) == (4, step_s)
    assert slow.runs == runs
    assert slow.resets == len(runs)


def test_one_long_step_is_warm_up_enough(monkeypatch):
    """A contender of single steps compiled them when it was checked; one of many, only now."""
    clock = SimpleNamespace(now=0.0, perf_counter=lambda: clock.now, process_time=lambda: 0.0)
    monkeypatch.setattr(timing, "time", clock)
    for chunk, seconds, runs in ((1, 2.0, [1]), (1, 2.1, [1, 1]), (4, 2.0, [4, 4])):
        slow = Slow()
        slow.chunk, slow.work = chunk, lambda steps: setattr(clock, "now", clock.now + 2 * steps)
        first, last = warm_up(slow, seconds=seconds)
        assert (slow.runs, first.step_s, last.step_s) == (runs, 2.0, 2.0)


def test_a_turn_is_whole_chunks_about_as_long_as_asked_for():
    assert steps_for(Slow(), step_s=1e-3, seconds=0.05) == 48
    assert steps_for(Slow(), step_s=1e-3, seconds=0.051) == 52
    assert steps_for(Slow(), step_s=10.0, seconds=0.05) == 4
