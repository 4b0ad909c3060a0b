"""Runs the planned steps of a program on one CUDA device, on a stream of their own.

Nothing here waits for the device except to stay at most `AHEAD` calls in front of it, so that a
clock and Ctrl-C mean something.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from mlpx.engines.cuda.planner import StepPlanner
from mlpx.engines.cuda.replayer import Replayer
from mlpx.engines.lowering import Operation
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram

AHEAD = 2
"""How many calls the host may be in front of the device."""
MOST_STEPS = 32
"""How many steps the largest graph may hold."""


class CudaRunner:
    """Runs a program's plans: a `StepPlanner` makes their launches, a `Replayer` puts them.

    lowered: the operations of each of the program's plans, in the plans' order.

    Nothing that it holds refers to it, so its memory is free as soon as nobody needs it.
    """

    def __init__(self, program: TrainingProgram, lowered: Sequence[Sequence[Operation]]) -> None:
        self.program = program
        self.backend: Any = program.network.backend
        self.cuda: Any = self.backend.xp.cuda
        self.stands: tuple[int, int] | None = None
        """The plan whose next rows were brought last, and how often its tables were filled."""
        self.ahead: deque[Any] = deque()
        with self.backend.failing("planning the step", nobody_else=True), self._device():
            self.stream = self.cuda.Stream(non_blocking=True)
            self.planner = StepPlanner(program, positions=MOST_STEPS)
            plans = zip(program.plans, lowered, strict=True)
            planned = {id(plan): self.planner.planned(plan, each) for plan, each in plans}
            self.first_rows = {plan: step.first_rows for plan, step in planned.items()}
            launches = {plan: step.launches for plan, step in planned.items()}
            self.replayer = Replayer(program, self.planner, launches)

    def __call__(self, plan: Plan, steps: int) -> None:
        """Put `steps` steps of the plan on the stream, behind what the current stream has."""
        failing = self.backend.failing("running a step", nobody_else=True)
        with failing, self._device(), self._draining():
            current = self.cuda.get_current_stream()
            self.stream.wait_event(current.record(self._event()))
            with self.stream:
                self.begin(plan)
                self.replayer.run(plan, steps, self.stream)
            done = self.stream.record(self._event())
            current.wait_event(done)
            self.ahead.append(done)
            if len(self.ahead) > AHEAD:
                self.ahead.popleft().synchronize()

    def begin(self, plan: Plan) -> None:
        """Put what the next steps start from: the program's position, and the plan's first rows
        unless they are there already, since from host memory they take as long as a step.
        """
        self.replayer.advance(0)()
        stands = id(plan), self.program.fills
        if self.program.data.resident or stands != self.stands:
            for _, put in self.first_rows[id(plan)]:
                put()
        self.stands = stands

    def feed(self) -> None:
        """Point the launches to where the data are now; graphs of where they were are dropped."""
        if self.planner.feed():
            self.replayer.forget()

    @property
    def notes(self) -> list[str]:
        """What it fell back from, and why."""
        return self.planner.notes

    @property
    def nbytes(self) -> int:
        """The bytes that launches work in."""
        return self.planner.nbytes

    def _event(self) -> Any:
        return self.cuda.Event(disable_timing=True)

    def _device(self) -> Any:
        return self.cuda.Device(self.backend.index)

    @contextmanager
    def _draining(self) -> Iterator[None]:
        """Leave nothing on the stream after an error: what it works in may soon be another's."""
        try:
            yield
        except BaseException:
            self.stands = None
            with suppress(RuntimeError):  # of the same failure
                self.stream.synchronize()
            raise
