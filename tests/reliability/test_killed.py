"""Processes that are killed at random moments lose nothing that was committed."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from mortal import Order, Server, check_committed, server, what_is_left

if not hasattr(os, "fork"):
    pytest.skip("no fork", allow_module_level=True)

TRAININGS = ("native/3 steps/12", "interpreter/3 steps/8", "native/epoch/12", "native/1 step/6")


@pytest.fixture(scope="module")
def processes() -> Iterator[Server]:
    with server() as running:
        yield running


def killed_until_it_ends(
    processes: Server, training: str, folder: Path, *, kills: int, rng: np.random.Generator
) -> int:
    """Kill a run up to so many times, and each that goes on with it; how many died."""
    whole = Order(training, str(folder / "whole"), str(folder / "whole.csv"))
    began_s = time.monotonic()
    wanted = what_is_left(folder / "whole", folder / "whole.csv", processes.run(whole))
    took_s = time.monotonic() - began_s
    order, count = Order(training, str(folder / "run"), str(folder / "log.csv")), 0
    while count < kills:
        # Half of them early, in what is to come: the folder, the lock, the first checkpoint.
        kill_s = float(rng.uniform(0, took_s * rng.choice([0.3, 1.0])))
        death = processes.run(Order(training, order.folder, order.log, kill_s=kill_s))
        check_committed(folder / "run", death)
        if not death.killed:
            break
        count += 1
    death = processes.run(order)
    assert what_is_left(folder / "run", folder / "log.csv", death) == wanted
    return count


def kill_many(processes: Server, folder: Path, deaths: int, seed: int) -> None:
    rng, died, trial = np.random.default_rng(seed), 0, 0
    while died < deaths:
        part = folder / str(trial)
        part.mkdir()
        training = TRAININGS[trial % len(TRAININGS)]
        died += killed_until_it_ends(processes, training, part, kills=6, rng=rng)
        trial += 1
        assert trial < deaths


def test_killed_at_random_moments(processes: Server, tmp_path: Path) -> None:
    kill_many(processes, tmp_path, 30, seed=1)


@pytest.mark.slow
def test_killed_at_200_random_moments(processes: Server, tmp_path: Path) -> None:
    kill_many(processes, tmp_path, 200, seed=2)
