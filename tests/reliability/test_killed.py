"""Processes that are killed at random moments lose nothing that was committed."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from mortal import Death, Order, Server, check_committed, server, what_is_left

if not hasattr(os, "fork"):
    pytest.skip("no fork", allow_module_level=True)

TRAININGS = ("native/3 steps/12", "interpreter/3 steps/8", "native/epoch/12", "native/1 step/6")


@pytest.fixture(scope="module")
def processes() -> Iterator[Server]:
    with server() as running:
        yield running


@dataclass
class Deaths:
    """What killed processes had done."""

    count: int = 0
    committed: int = 0
    """Those that had written a checkpoint."""
    writing: int = 0
    """Those that left a part of a file."""

    def add(self, folder: Path, death: Death) -> None:
        self.count += 1
        self.committed += bool(death.committed)
        self.writing += folder.exists() and any(folder.glob("*.part"))


def kill_until_it_ends(
    processes: Server, training: str, folder: Path, deaths: Deaths, rng: np.random.Generator
) -> None:
    """Kill a run and what goes on with it, six times at most; then let it end, and compare."""
    whole = Order(training, str(folder / "whole"), str(folder / "whole.csv"))
    began_s = time.monotonic()
    wanted = what_is_left(folder / "whole", folder / "whole.csv", processes.run(whole))
    took_s = time.monotonic() - began_s
    order = Order(training, str(folder / "run"), str(folder / "log.csv"))
    for _ in range(6):
        death = processes.run(replace(order, kill_s=float(rng.uniform(0, took_s))))
        check_committed(folder / "run", death)
        if not death.killed:
            break
        deaths.add(folder / "run", death)
    death = processes.run(order)
    assert what_is_left(folder / "run", folder / "log.csv", death) == wanted


def kill_many(processes: Server, folder: Path, count: int, seed: int) -> Deaths:
    """Kill so many processes, of each training in turn."""
    rng, deaths, trials = np.random.default_rng(seed), Deaths(), itertools.cycle(TRAININGS)
    while deaths.count < count:
        part = folder / str(deaths.count)
        part.mkdir()
        kill_until_it_ends(processes, next(trials), part, deaths, rng)
        shutil.rmtree(part)
    return deaths


def test_killed_at_random_moments(processes: Server, tmp_path: Path) -> None:
    deaths = kill_many(processes, tmp_path, 30, seed=1)
    assert 0 < deaths.committed < deaths.count


@pytest.mark.slow
def test_killed_at_200_random_moments(processes: Server, tmp_path: Path) -> None:
    deaths = kill_many(processes, tmp_path, 200, seed=2)
    assert 30 < deaths.committed < 180
    assert deaths.writing > 10
