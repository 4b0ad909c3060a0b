"""Runs the plans of a program on one CUDA device: once by launches, then as graphs.

The first step of a plan is launched operation by operation: it is a real step, and whatever a
kernel or cublasLt does at its first call is done then. The same launches, captured, are graphs of
1, 2, 4, ... steps; a replay costs the host one call. Nothing here waits for the device but to stay
at most `AHEAD` calls in front of it, so that a clock and Ctrl-C mean something.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from mlpx.backend.cuda import first_line
from mlpx.engines.cuda import cublaslt
from mlpx.engines.cuda.casts import Casts
from mlpx.engines.cuda.composed import composed
from mlpx.engines.cuda.cublaslt import CublasLt, CublasLtError
from mlpx.engines.cuda.epilogues import Fused
from mlpx.engines.cuda.graphs import LANES, Launch, Put, capture, lanes
from mlpx.engines.cuda.kernels import Launcher, Places, function, launcher
from mlpx.engines.cuda.launches import ROOM_BYTES
from mlpx.engines.cuda.products import FACTORS, Product, workspace
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.fields import FIELDS
from mlpx.errors import EngineError
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram

AHEAD = 2
"""How many calls the host may be in front of the device."""
NODES = 512
"""About how many operations the graph of several steps holds: its launch costs the host little."""
MOST_STEPS = 32
WANTED = 2
"""So many runs have a place for a graph of a few steps before it is captured. A capture costs the
host as much as a launch of every operation of those steps, and spares a launch a step: it pays for
epochs, whose rest is always the same, not for the first runs, each longer than the one before.
"""
NO_BITS = "the way forward keeps no bits of its relu"


class CudaRunner:
    """What runs a program's plans; `notes` says what it fell back from.

    Nothing that it holds refers to it, so its memory is free as soon as nobody needs it.
    """

    def __init__(self, program: TrainingProgram) -> None:
        self.program = program
        self.backend: Any = program.network.backend
        self.cuda: Any = self.backend.xp.cuda
        self.notes: list[str] = []
        self.graphs: dict[tuple[int, int], Any] = {}
        self.wanted: Counter[tuple[int, int]] = Counter()
        """In how many runs a graph of a plan and so many steps would have had a place."""
        self.captures = True
        self.warm: set[int] = set()
        self.stands: tuple[int, int] | None = None
        """The plan whose next rows were brought at last, and how often its tables were set."""
        self.ahead: deque[Any] = deque()
        self.kept: list[Any] = []
        """Arrays that launches hold the addresses of, and no operation does."""
        self.unwritten: set[int] = set()
        """Addresses of relu's bits that cublasLt was to write, and does not."""
        self.sources: list[tuple[np.ndarray, str]] = []
        """Where a launch has the address of one of the data's arrays, and which that is."""
        self.first_rows: dict[int, list[Launch]] = {}
        """What brings the first rows of a plan that has its rows brought a step ahead."""
        with self.backend.failing("planning the step", nobody_else=True), self._device():
            self.stream = self.cuda.Stream(non_blocking=True)
            self.library = self._open_cublaslt()
            # What is on one lane of a graph runs beside the others, so it works elsewhere.
            self.rooms = [self.backend.xp.zeros(ROOM_BYTES, np.uint8) for _ in range(LANES)]
            self.casts = Casts(self.backend, program.precision)
            self.places = Places(self.backend.zeros((MOST_STEPS, 2), np.int64))
            self.steps_taken: dict[int, Put] = {}
            """What moves on by so many steps."""
            self.workspaces: dict[int, Any] = {}
            self.launches = {id(plan): self._launches(plan) for plan in program.plans}

    def __call__(self, plan: Plan, steps: int) -> None:
        """Put so many steps of the plan on the stream, behind what the current stream has."""
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
        """Put what steps stand on: where the program is, and the plan's first rows, unless they are
        there: from host memory they take as long as a step.
        """
        self.advance(0)()
        stands = id(plan), self.program.fills
        if self.program.data.resident or stands != self.stands:
            for _, put in self.first_rows[id(plan)]:
                put()
        self.stands = stands

    def _most(self, plan: Plan) -> int:
        """How many steps the largest graph holds."""
        return largest(min(MOST_STEPS, NODES // len(self.launches[id(plan)])))

    def _replay(self, plan: Plan, count: int) -> None:
        """Put so many steps, a power of two: one graph, or two halves where there is none."""
        graph = self._graph(plan, count)
        if graph is not None:
            graph.launch(self.stream)
        elif count == 1:
            self._step(plan)
        else:
            for _ in range(2):
                self._replay(plan, count // 2)

    def _warm_up(self, launches: list[Launch]) -> None:
        """One step, in which what cublasLt planned but cannot run becomes something simpler."""
        i = 0
        while i < len(launches):
            operation, put = launches[i]
            if self._lacks_bits(operation):
                launches[i : i + 1] = self._simpler(operation, NO_BITS)
                continue
            try:
                put()
            except CublasLtError as error:
                launches[i : i + 1] = self._simpler(operation, first_line(error))
            else:
                i += 1

    def _step(self, plan: Plan) -> None:
        for _, put in self.launches[id(plan)]:
            put()
        self.advance(1)()

    def advance(self, steps: int) -> Put:
        """What moves the program's state and the places on by so many steps."""
        if steps not in self.steps_taken:
            operation = Operation.of(
                "advance",
                steps=steps,
                positions=len(self.places.rows),
                state=self.program.state,
                table=self.places.table,
                touches=(),
            )
            self.steps_taken[steps] = self._launcher(operation)
        return self.steps_taken[steps]

    def _graph(self, plan: Plan, count: int) -> Any:
        """The graph of so many steps, captured when that is worth it; None where it was not, or
        where it fails.
        """
        key = id(plan), count
        ends = count in (1, self._most(plan))
        if key not in self.graphs and self.captures and (ends or self.wanted[key] >= WANTED):
            try:
                self.graphs[key] = capture(
                    self.cuda, self.launches[id(plan)], count, self.places.move_to,
                    self.advance(count),
                )  # fmt: skip
            except RuntimeError as error:
                self.captures = False
                self._note(f"launched one by one, for a step cannot be captured: {error}")
        return self.graphs.get(key)

    def _open_cublaslt(self) -> CublasLt | None:
        """The library, if it is there."""
        try:
            return cublaslt.opened(self.backend)
        except (EngineError, RuntimeError) as error:
            self._note(f"plain products, for {error}")
            return None

    def _compiles(self, name: str) -> bool:
        """Whether there is the kernel of an operation that can be done without."""
        try:
            function(self.backend, name, self.program.network.dtype)
        except Exception as error:  # a compiler's errors are of many classes
            self._note(f"in parts, for {name} does not compile: {first_line(error)}")
            return False
        return True

    def _product(self, operation: Operation) -> Put | None:
        """A launch of cublasLt, None where it has no plan for the operation."""
        if self.library is None:
            return None
        if operation.lane not in self.workspaces:
            self.workspaces[operation.lane] = workspace(self.backend)
        product = Product(
            self.library, self.workspaces[operation.lane], operation, self.program.network.dtype,
            tf32=self.program.precision == "tf32", narrow=self.casts.narrow(operation),
        )  # fmt: skip
        return None if product.found is None else partial(multiply, self.cuda, product)

    def _launches(self, plan: Plan) -> list[Launch]:
        """The operations of a plan in order, each with what puts it on the current stream."""
        casts = self.casts if self.library else None
        operations, first = composed(
            self.program, plan, casts, self._memory, heads=self._compiles("softmax_head")
        )
        self.first_rows[id(plan)] = [
            self._let_go(plan, operation, self._launcher(operation)) for operation in first
        ]
        placed = zip(operations, lanes(operations), strict=True)
        made = (launch for op, lane in placed for launch in self._launch(replace(op, lane=lane)))
        return [self._let_go(plan, *launch) for launch in made]

    def _let_go(self, plan: Plan, operation: Operation, put: Put) -> Launch:
        """The launch without the data that it reads, which are the program's to hold."""
        if operation.name != "gather" or not isinstance(put, Launcher):
            return operation, put
        names = {id(plan.calls[i].arguments[1]): name for i, name in plan.reads}
        read = {field: names.get(id(operation[field])) for field in ("x", "labels")}
        for field, name in read.items():
            if name is not None:
                _, at = FIELDS["gather"].places[field]
                self.sources.append((put.given["p"][0, at : at + 1], name))
                operation = operation.replaced(**{field: None})
        return operation, put

    def feed(self) -> None:
        """Point the launches to where the data are now; what was captured is of where they were."""
        for place, name in self.sources:
            start = address(getattr(self.program.data, name))
            if start not in (0, place[0]):
                place[0] = start
                self.graphs.clear()
                self.wanted.clear()

    @property
    def nbytes(self) -> int:
        """The bytes of what launches work in."""
        held = (*self.rooms, *self.kept, *self.casts.kept, *self.workspaces.values())
        return sum(int(array.nbytes) for array in held)

    def _memory(self, nbytes: int) -> int:
        """The address of so many bytes that are kept as long as this."""
        self.kept.append(self.backend.empty(nbytes, np.uint8))
        return address(self.kept[-1])

    def _lacks_bits(self, operation: Operation) -> bool:
        """Whether it reads bits that nothing writes any more."""
        if not isinstance(operation, Fused) or not operation.epilogue.reads_bits:
            return False
        return operation.epilogue.input in self.unwritten

    def _launch(self, operation: Operation) -> list[Launch]:
        if operation.name not in FACTORS:
            return [(operation, self._launcher(operation))]
        if self._lacks_bits(operation):
            return self._simpler(operation, NO_BITS)
        put = self._product(operation)
        if put is None:
            return self._simpler(operation, "it has no algorithm for it")
        return [(operation, put)]

    def _simpler(self, operation: Operation, reason: str) -> list[Launch]:
        """A fused operation as its parts; a product as the launch of our own kernel."""
        sizes = " x ".join(map(str, operation.n[:3]))
        fused = isinstance(operation, Fused)
        lacking = "cublasLt's epilogue" if fused else "cublasLt"
        if self.library:
            self._note(f"{operation.name} {sizes} without {lacking}: {reason}")
        if isinstance(operation, Fused):
            if operation.epilogue.writes_bits:
                self.unwritten.add(operation.epilogue.input)
            parts = [replace(part, lane=operation.lane) for part in operation.parts]
            return [launch for part in parts for launch in self._launch(part)]
        return [(operation, self._launcher(operation))]

    def _launcher(self, operation: Operation) -> Launcher:
        dtype, room = self.program.network.dtype, self.rooms[operation.lane]
        return launcher(self.backend, operation, dtype, self.places, room)

    def _note(self, text: str) -> None:
        line = text.splitlines()[0]
        if line not in self.notes:
            self.notes.append(line)

    def _event(self) -> Any:
        return self.cuda.Event(disable_timing=True)

    def _device(self) -> Any:
        return self.cuda.Device(self.backend.index)

    @contextmanager
    def _draining(self) -> Iterator[None]:
        """Leave nothing on the stream behind an error: it uses memory that others may have next."""
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


def multiply(cuda: Any, product: Product) -> None:
    """Put a product on the current stream."""
    product.launch(cuda.get_current_stream().ptr)
