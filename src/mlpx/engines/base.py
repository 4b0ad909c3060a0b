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
        """Run a plan `steps` times in a row."""

    def feed(self) -> None:
        """Switch to the program's data after these have changed."""

    @property
    def nbytes(self) -> int:
        """The bytes it takes in addition to the program's."""


class Predictor(Protocol):
    """A network's forward pass, ready to run; several threads may use it at a time."""

    def run(self, x: Array, *, classes: bool, rows: int) -> tuple[Array, bool]:
        """The outputs (n, d_out), or the likeliest classes (n,), of x (n, d_in), and whether all of
        x is known to be finite and within the range of the network's dtype.

        At most `rows` rows are copied at a time.
        """


class RefusedError(Exception):
    """That an engine cannot run a program; the message says why."""


class Engine(Record, kind="engine"):
    """A way to run programs."""

    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")
    """The kinds of devices it can run on."""

    precisions: ClassVar[tuple[str, ...]] = ("float32",)
    """The precisions to which its products may round their factors."""

    interprets: ClassVar[bool] = False
    """Whether it runs programs that call back into Python, such as numerical gradients."""

    def missing(self) -> str | None:
        """Why the engine is not available in this installation, and what to do; None if it is."""
        return None

    def describe(self) -> str:
        """What the engine uses on this machine, for display."""
        return "NumPy or CuPy, whichever the device wants"

    def prepare(self, program: TrainingProgram, *, threads: int | None = None) -> Runner:
        """What runs the program's plans, on so many threads, or on as many as suit the program.

        Raises RefusedError if the engine cannot run the program.
        """
        if program.interpreted and not self.interprets:
            raise RefusedError(f"{program.interpreted} is done by the interpreter only")
        if program.precision not in self.precisions:
            raise RefusedError(f"precision={program.precision!r} is none of its own")
        return self._runner(program, threads)

    def _runner(self, program: TrainingProgram, threads: int | None) -> Runner:
        """What `prepare` returns for a program that passed the checks which all engines share.

        Raises RefusedError.
        """
        raise NotImplementedError

    def predictor(self, network: Network) -> Predictor | None:
        """What predicts for `network` faster than the interpreter; None if this engine cannot."""
        return None

    def parts(
        self, program: TrainingProgram, runner: Runner
    ) -> list[tuple[str, Callable[[], object]]] | None:
        """The parts of a full step by name, each with what runs it on the device's current stream,
        in the order of a step; None if the step cannot be divided.

        runner: what `prepare` returned for the program.
        """
        return None

    def notes(self, runner: Runner) -> list[str]:
        """What a runner made by `prepare` has fallen back from so far, and why."""
        return []
