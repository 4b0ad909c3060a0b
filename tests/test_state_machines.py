"""Random sequences of calls: after each, an object answers like a fresh one, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import cudasim
import fakecupy
import pytest
from machines import Machine, names, run
from machines.folders import Folders
from machines.learners import Learners
from machines.models import Models

from mlpx import engines


class OnCUDA(Models):
    device = "cuda"
    devices = ("cuda", "cpu", "cuda:1")
    most_steps = 2
    fit_rows = (1, 2, 5, 17)


@contextmanager
def only(engine: str) -> Iterator[type[Models]]:
    """The machine of `MLP`, where one engine does what it can."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLPX_DEVICE", raising=False)
        if engine.startswith("interpreter"):
            patch.setattr(engines, "PREFERENCE", (engines.Interpreter,))
        if not engine.endswith("cuda"):
            yield Models
            return
        if engine == "cuda" and cudasim.compiler() is None:
            pytest.skip("no C++ compiler")
        with fakecupy.installed(devices=2):
            yield OnCUDA


def few(machine: type[Machine], sequences: int, steps: int) -> None:
    """The same sequences every time."""
    taken = run(machine, sequences=sequences, steps=steps)
    assert sum(taken.values()) > 0.7 * sequences * steps  # a long one may end before its time


def many(machine: type[Machine], sequences: int, steps: int) -> None:
    """Other sequences every time; where there are many, each rule has its turn."""
    taken = run(machine, sequences=sequences, steps=steps, anew=True)
    assert sum(taken.values()) > 0.7 * sequences * steps  # a long one may end before its time
    # A sequence has about half of the rules: a few may by chance all be without one.
    assert set(taken) == names(machine) or sequences < 25


@pytest.mark.parametrize(
    ("engine", "sequences"),
    [("interpreter", 6), ("native", 10), ("interpreter on cuda", 3), ("cuda", 2)],
)
def test_model(engine: str, sequences: int) -> None:
    with only(engine) as machine:
        few(machine, sequences, 8 if engine == "cuda" else 15)


def test_estimators() -> None:
    few(Learners, 6, 15)


def test_run_folder() -> None:
    few(Folders, 3, 12)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "sequences"),
    [("interpreter", 100), ("native", 150), ("interpreter on cuda", 60), ("cuda", 14)],
)
def test_model_at_length(engine: str, sequences: int) -> None:
    with only(engine) as machine:
        many(
            type(machine.__name__, (machine,), {"any_moment": True}),
            sequences,
            20 if engine == "cuda" else 30,
        )


@pytest.mark.slow
def test_estimators_at_length() -> None:
    many(Learners, 60, 25)


@pytest.mark.slow
def test_run_folder_at_length() -> None:
    many(Folders, 25, 25)
