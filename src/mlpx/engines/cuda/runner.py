"""Runs the planned steps of a program on one CUDA device: once by launches, then as graphs.

The first step of a plan is launched operation by operation: it is a real step, and whatever a
kernel or cublasLt does at its first call is done then. The same launches, captured, are graphs of
1, 2, 4, ... steps; a replay costs the host one call. Nothing here waits for the device except to
stay at most `AHEAD` calls in front of it, so that a clock and Ctrl-C mean something.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from mlpx.backend.cuda import first_line
from mlpx.engines.cuda.cublaslt import CublasLtError
from mlpx.engines.cuda.graphs import Launch, Put, capture
from mlpx.engines.cuda.planner import NO_BITS, StepPlanner
from mlpx.engines.lowering import Operation
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram

AHEAD = 2
"""How many calls the host may be in front of the device."""
NODES = 512
"""About how many operations the graph of several steps holds: its launch costs the host little."""
MOST_STEPS = 32
WANTED = 2
"""How many runs must have had a use for a graph of a few steps before it is captured. A capture
costs the host as much as a launch of every operation of those steps, and saves a launch a step. It
pays for epochs, which always end in the same number of steps, and not for the first runs, each
longer than the one before.
"""


class CudaRunner:
    """Runs a program's plans by the launches that a `StepPlanner` made for them.

    lowered: the operations of each of the program's plans, in the plans' order.

    Nothing that it holds refers to it, so its memory is free as soon as nobody needs it.
    """

    def __init__(self, program: TrainingProgram, lowered: Sequence[Sequence[Operation]]) -> None:
        self.program = program
        self.backend: Any = program.network.backend
        self.cuda: Any = self.backend.xp.cuda
        self.graphs: dict[tuple[int, int], Any] = {}
        """The captured graphs, by the id of a plan and a number of steps."""
        self.wanted: Counter[tuple[int, int]] = Counter()
        """In how many runs a graph of a plan and so many steps would have been used."""
        self.captures = True
        self.warm: set[int] = set()
        """The plans whose first step was launched."""
        self.stands: tuple[int, int] | None = None
        """The plan whose next rows were brought last, and how often its tables were filled."""
        self.ahead: deque[Any] = deque()
        self.steps_taken: dict[int, Put] = {}
        """What advances the program by so many steps."""
        with self.backend.failing("planning the step", nobody_else=True), self._device():
            self.stream = self.cuda.Stream(non_blocking=True)
            self.planner = StepPlanner(program, positions=MOST_STEPS)
            plans = zip(program.plans, lowered, strict=True)
            planned = {id(plan): self.planner.planned(plan, each) for plan, each in plans}
            self.launches = {plan: step.launches for plan, step in planned.items()}
            self.first_rows = {plan: step.first_rows for plan, step in planned.items()}

    def __call__(self, plan: Plan, steps: int) -> None:
        """Put `steps` steps of the plan on the stream, behind what the current stream has."""
        failing = self.backend.failing("running a step", nobody_else=True)
        with failing, self._device(), self._draining():
            current = self.cuda.get_current_stream()
            self.stream.wait_event(current.record(self._event()))
            with self.stream:
                self._run(plan, steps)
            done = self.stream.record(self._event())
            current.wait_event(done)
            self.ahead.append(done)
            if len(self.ahead) > AHEAD:
                self.ahead.popleft().synchronize()

    def _run(self, plan: Plan, steps: int) -> None:
        self.begin(plan)
        if id(plan) not in self.warm and steps:
            self._warm_up(self.launches[id(plan)])
            self.advance(1)()
            self.warm.add(id(plan))
            steps -= 1
        for count in counts(steps, self._most(plan)):
            self.wanted[id(plan), count] += 1
            self._replay(plan, count)

    def begin(self, plan: Plan) -> None:
        """Put what the next steps start from: the program's position, and the plan's first rows
        unless they are there already, since from host memory they take as long as a step.
        """
        self.advance(0)()
        stands = id(plan), self.program.fills
        if self.program.data.resident or stands != self.stands:
            for _, put in self.first_rows[id(plan)]:
                put()
        self.stands = stands

    def _warm_up(self, launches: list[Launch]) -> None:
        """One step, in which what cublasLt planned but cannot run is replaced by its parts or by
        our own kernel.
        """
        i = 0
        while i < len(launches):
            operation, put = launches[i]
            if self.planner.lacks_bits(operation):
                launches[i : i + 1] = self.planner.simpler(operation, NO_BITS)
                continue
            try:
                put()
            except CublasLtError as error:
                launches[i : i + 1] = self.planner.simpler(operation, first_line(error))
            else:
                i += 1

    def _replay(self, plan: Plan, count: int) -> None:
        """Put `count` steps, a power of two: one graph, or two halves where there is none."""
        graph = self._graph(plan, count)
        if graph is not None:
            graph.launch(self.stream)
        elif count == 1:
            self._step(plan)
        else:
            for _ in range(2):
                self._replay(plan, count // 2)

    def _step(self, plan: Plan) -> None:
        for _, put in self.launches[id(plan)]:
            put()
        self.advance(1)()

    def _graph(self, plan: Plan, count: int) -> Any:
        """The graph of `count` steps, captured when that pays; None if it does not, or if the
        capture fails.
        """
        key = id(plan), count
        ends = count in (1, self._most(plan))
        if key not in self.graphs and self.captures and (ends or self.wanted[key] >= WANTED):
            try:
                self.graphs[key] = capture(
                    self.cuda, self.launches[id(plan)], count, self.planner.positions.move_to,
                    self.advance(count),
                )  # fmt: skip
            except RuntimeError as error:
                self.captures = False
                reason = f"launched one by one, for a step cannot be captured: {error}"
                self.planner.note(reason)
        return self.graphs.get(key)

    def _most(self, plan: Plan) -> int:
        """How many steps the largest graph holds."""
        return largest(min(MOST_STEPS, NODES // len(self.launches[id(plan)])))

    def advance(self, steps: int) -> Put:
        """What advances the program's state, and the positions of a graph's steps, by so many
        steps.
        """
        if steps not in self.steps_taken:
            positions = self.planner.positions
            operation = Operation.of(
                "advance",
                steps=steps,
                positions=len(positions.rows),
                state=self.program.state,
                table=positions.table,
                touches=(),
            )
            self.steps_taken[steps] = self.planner.launcher(operation)
        return self.steps_taken[steps]

    def feed(self) -> None:
        """Point the launches to where the data are now; graphs of where they were are dropped."""
        if self.planner.feed():
            self.graphs.clear()
            self.wanted.clear()

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


def largest(most: int) -> int:
    """The largest power of two that is not above `most`; at least 1."""
    return 1 << max(1, most).bit_length() - 1


def counts(steps: int, most: int) -> Iterator[int]:
    """The fewest powers of two, none above `most`, that add up to so many steps."""
    while steps:
        count = min(most, largest(steps))
        yield count
        steps -= count
