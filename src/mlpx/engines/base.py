"""What every engine is."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Protocol

from mlpx.network.network import Network
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram
from mlpx.records import Record
from mlpx.types import Array


class Runner(Protocol):
    """Runs the plans of the program it was made for."""

    def __call__(self, plan: Plan, steps: int) -> None:
        """Run a plan so many times in a row."""

    def feed(self) -> None:
        """Take up the program's data, which are others than before."""

    @property
    def nbytes(self) -> int:
        """The bytes it takes beside the program."""


class Predictor(Protocol):
    """A network's forward pass, run over and over, by several threads at a time too."""

    def run(self, x: Array, *, classes: bool, rows: int) -> tuple[Array, bool]:
        """The outputs (n, d_out), or the likeliest classes (n,), of x (n, d_in), and whether all of
        x is surely finite and within the network's dtype.

        At most `rows` rows at a time are copied.
        """


class Engine(Record, kind="engine"):
    """A way to run programs."""

    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    """The kinds of devices it is made for: on others it is not thought of."""

    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    """How its products may round what they multiply."""

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

    def predictor(self, network: Network) -> Predictor | None:
        """What predicts for `network` faster than the interpreter; None if this engine cannot."""
        return None

    def parts(self, program: TrainingProgram) -> list[tuple[str, Callable[[], object]]] | None:
        """The parts of a full step by name, each with what runs it on the device's current stream,
        in the order that makes a step; None if a step is one.
        """
        return None

    def notes(self, runner: Runner) -> list[str]:
        """What a runner made by `prepare` fell back from so far, and why."""
        return []
