"""How busy the processors are, and how much of it a turn has to answer for."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from mlpx.benchmark import load, rounds
from mlpx.benchmark.rounds import Rules, Seat, Table


def test_the_tolerance_grows_with_the_coarseness_of_the_counters(monkeypatch):
    monkeypatch.setattr(load, "_tick_s", lambda: 0.01)
    assert load.tolerance(1.0, 2, share=0.05) == pytest.approx(0.07)
    assert load.tolerance(0.1, 2, share=0.05) == pytest.approx(0.25)


def test_foreign_share_counts_others_alone():
    before, after = load.Busy(10.0, 100.0), load.Busy(11.0, 101.0)
    assert load.foreign_share(before, after, own_s=0.8, count=2) == pytest.approx(0.1)
    assert load.foreign_share(before, after, own_s=5.0, count=2) == 0.0
    assert load.foreign_share(load.Busy(None, 0.0), after, own_s=0.0, count=2) is None


def test_busy_reads_the_processors_asked_for(tmp_path, monkeypatch):
    stat = tmp_path / "stat"
    stat.write_text(
        "cpu 9 9 9 9\ncpu0 10 1 5 700 30 0 4 0 0 0\ncpu1 100 0 0 5 0 0 0 0 0 0\nintr 5\n"
    )
    monkeypatch.setattr(load, "STAT", stat)
    monkeypatch.setattr(load, "_tick_s", lambda: 0.01)
    assert load.Busy.now([0]).seconds == pytest.approx(0.20)
    assert load.Busy.now([0, 1]).seconds == pytest.approx(1.20)
    assert load.Busy.now([0, 2]).seconds is None
    monkeypatch.setattr(load, "STAT", tmp_path / "none")
    assert load.Busy.now([0]).seconds is None


def test_own_time_is_the_process_and_its_reset(monkeypatch):
    ticks = iter([130])
    process = SimpleNamespace(cpu_ticks=lambda: next(ticks))
    monkeypatch.setattr(load, "_tick_s", lambda: 0.01)
    assert rounds._own_seconds(process, 100, 0.1) == pytest.approx(0.3)
    for before, now in ((None, None), (None, 130), (100, None)):
        process.cpu_ticks = lambda now=now: now
        assert rounds._own_seconds(process, before, 0.1) == 0.1


def test_a_turn_is_judged_by_its_length_its_processors_and_its_own_time(monkeypatch):
    asked, clock = [], iter((3.0, 5.0))
    monkeypatch.setattr(load, "processors", lambda threads: [4, 7, 9][:threads])
    monkeypatch.setattr(load.Busy, "now", lambda which: load.Busy(which, next(clock)))
    monkeypatch.setattr(load, "_tick_s", lambda: 0.01)
    monkeypatch.setattr(load, "foreign_share", lambda *given, **named: asked.append((given, named)))
    monkeypatch.setattr(load, "tolerance", lambda *given, **named: asked.append((given, named)))
    ran = {"steps": 10, "wall_s": 0.1, "cpu_s": 0.1, "device_s": None}
    ticks = iter((100, 150))
    process = SimpleNamespace(
        ask=lambda do, steps: ran, cpu_ticks=lambda: next(ticks), settle=lambda: None
    )
    seat = Seat("a/1", process, 10)
    Table([seat], threads=2, rules=Rules(foreign_share=0.07))._turn(seat)
    before, after = load.Busy([4, 7], 3.0), load.Busy([4, 7], 5.0)
    assert asked == [
        ((before, after), {"own_s": 0.5, "count": 2}),
        ((2.0, 2), {"share": 0.07}),
    ]
