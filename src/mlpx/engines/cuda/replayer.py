"""Puts planned steps on a stream: the first by launches, the others as graphs.

The first step of a plan is launched operation by operation: it is a real step, and whatever a
kernel or cublasLt does at its first call is done then. The same launches, captured, are graphs of
1, 2, 4, ... steps; a replay costs the host one call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from mlpx.backend.cuda import first_line
from mlpx.engines.cuda.cublaslt import CublasLtError
from mlpx.engines.cuda.graphs import Launch, Put, capture
from mlpx.engines.cuda.planner import NO_BITS, StepPlanner
from mlpx.engines.lowering import Operation
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram

NODES = 512
"""About how many operations the graph of several steps holds: its launch costs the host little."""
WANTED = 2
"""How many runs must have had a use for a graph of a few steps before it is captured. A capture
costs the host as much as a launch of every operation of those steps, and saves a launch a step. It
pays for epochs, which always end in the same number of steps, and not for the first runs, each
longer than the one before.
"""


class Replayer:
    """Replays the steps of a program's plans; `launches` are those of a step, by a plan's id."""

    def __init__(
        self, program: TrainingProgram, planner: StepPlanner, launches: dict[int, list[Launch]]
    ) -> None:
        self.program, self.planner, self.launches = program, planner, launches
        self.most_steps = len(planner.positions.rows)
        """How many steps a graph may hold."""
        backend: Any = program.network.backend
        self.cuda: Any = backend.xp.cuda
        self.graphs: dict[tuple[int, int], Any] = {}
        """The captured graphs, by the id of a plan and a number of steps."""
        self.wanted: Counter[tuple[int, int]] = Counter()
        """In how many runs a graph of a plan and so many steps would have been used."""
        self.captures = True
        self.warm: set[int] = set()
        """The plans whose first step was launched."""
        self.steps_taken: dict[int, Put] = {}
        """What advances the program by so many steps."""

    def run(self, plan: Plan, steps: int, stream: Any) -> None:
        """Put `steps` steps of the plan on the stream, which must be the current one."""
        if id(plan) not in self.warm and steps:
            self._warm_up(self.launches[id(plan)])
            self.advance(1)()
            self.warm.add(id(plan))
            steps -= 1
        for count in counts(steps, self.most(plan)):
            self.wanted[id(plan), count] += 1
            self._replay(plan, count, stream)

    def forget(self) -> None:
        """Drop the graphs: the launches are other ones now."""
        self.graphs.clear()
        self.wanted.clear()

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

    def most(self, plan: Plan) -> int:
        """How many steps the largest graph holds."""
        return largest(min(self.most_steps, NODES // len(self.launches[id(plan)])))

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

    def _replay(self, plan: Plan, count: int, stream: Any) -> None:
        """Put `count` steps, a power of two: one graph, or two halves where there is none."""
        graph = self._graph(plan, count)
        if graph is not None:
            graph.launch(stream)
        elif count == 1:
            self._step(plan)
        else:
            for _ in range(2):
                self._replay(plan, count // 2, stream)

    def _step(self, plan: Plan) -> None:
        for _, put in self.launches[id(plan)]:
            put()
        self.advance(1)()

    def _graph(self, plan: Plan, count: int) -> Any:
        """The graph of `count` steps, captured when that pays; None if it does not, or if the
        capture fails.
        """
        key = id(plan), count
        ends = count in (1, self.most(plan))
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


def largest(most: int) -> int:
    """The largest power of two that is not above `most`; at least 1."""
    return 1 << max(1, most).bit_length() - 1


def counts(steps: int, most: int) -> Iterator[int]:
    """The fewest powers of two, none above `most`, that add up to so many steps."""
    while steps:
        count = min(most, largest(steps))
        yield count
        steps -= count
