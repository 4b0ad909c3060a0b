"""What every engine is."""

from __future__ import annotations

from collections.abc import Callable

from mlpx.program import Plan
from mlpx.records import Record
from mlpx.step import TrainingProgram

Runner = Callable[[Plan, int], None]
"""Runs a plan of the program it was made for, so many times in a row."""


class Engine(Record, kind="engine"):
    """A way to run programs."""

    def refuses(self, program: TrainingProgram) -> str | None:
        """Why this engine cannot run `program`, or None if it can."""
        raise NotImplementedError

    def missing(self) -> str | None:
        """Why this installation has not got the engine, and what to do; None if it has."""
        return None

    def describe(self) -> str:
        """What the engine uses here, for people."""
        return "NumPy or CuPy, whichever the device wants"

    def prepare(self, program: TrainingProgram, *, threads: int | None = None) -> Runner:
        """What runs the program's plans, on so many threads, or on as many as suit the program."""
        raise NotImplementedError
