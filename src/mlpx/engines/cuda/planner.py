"""Plans a step on one CUDA device: for each operation what puts it on a stream.

Products go to cublasLt, together with what follows them where it has an epilogue for that; anything
else is a kernel. Where cublasLt is missing, has no algorithm, or fails at its first run, the same
is done by something simpler, and a note says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from mlpx.backend.cuda import first_line
from mlpx.engines.cuda import cublaslt
from mlpx.engines.cuda.casts import Casts
from mlpx.engines.cuda.composed import composed
from mlpx.engines.cuda.cublaslt import CublasLt
from mlpx.engines.cuda.epilogues import Fused
from mlpx.engines.cuda.graphs import LANES, Launch, Put, lanes
from mlpx.engines.cuda.kernels import Launcher, StepPositions, function, launcher
from mlpx.engines.cuda.launches import ROOM_BYTES
from mlpx.engines.cuda.products import FACTORS, PlannedProduct, workspace
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.fields import FIELDS
from mlpx.errors import EngineError
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram

NO_BITS = "the way forward keeps no bits of its relu"


class PlannedStep(NamedTuple):
    """The launches of a step in order, and those that bring its first rows where a step brings the
    rows of the next.
    """

    launches: list[Launch]
    first_rows: list[Launch]


class StepPlanner:
    """Plans the steps of a program; `notes` says what it fell back from.

    It holds the memory that launches work in, and must live as long as they do. Its device must be
    current.
    """

    def __init__(self, program: TrainingProgram, *, positions: int) -> None:
        self.program = program
        self.backend: Any = program.network.backend
        self.notes: list[str] = []
        self.kept: list[Any] = []
        """Arrays of which launches hold the address, and no operation holds the array."""
        self.unwritten: set[int] = set()
        """Addresses of relu's bits that no launch writes, although some were to read them."""
        self.sources: list[tuple[np.ndarray, str]] = []
        """Where a launch has the address of one of the data's arrays, and which array that is."""
        self.library = self._open_cublaslt()
        # Lanes of a graph run side by side, so each has memory of its own to work in.
        self.rooms = [self.backend.xp.zeros(ROOM_BYTES, np.uint8) for _ in range(LANES)]
        self.workspaces: dict[int, Any] = {}
        self.casts = Casts(self.backend, program.precision)
        self.positions = StepPositions(self.backend.zeros((positions, 2), np.int64))

    def planned(self, plan: Plan, lowered: Sequence[Operation]) -> PlannedStep:
        """The launches for a plan, from the operations that it was lowered to."""
        operations, first = composed(
            self.program, plan, lowered, self.casts if self.library else None, self._memory,
            heads=self._compiles("softmax_head"),
        )  # fmt: skip
        first_rows = [self._without_data(plan, op, self.launcher(op)) for op in first]
        placed = zip(operations, lanes(operations), strict=True)
        made = (launch for op, lane in placed for launch in self._launch(replace(op, lane=lane)))
        return PlannedStep([self._without_data(plan, *launch) for launch in made], first_rows)

    def launcher(self, operation: Operation) -> Launcher:
        """The launch of an operation's own kernel."""
        dtype, room = self.program.network.dtype, self.rooms[operation.lane]
        return launcher(self.backend, operation, dtype, self.positions, room)

    def lacks_bits(self, operation: Operation) -> bool:
        """Whether an operation reads relu's bits, and nothing writes them any more."""
        if not isinstance(operation, Fused) or not operation.epilogue.reads_bits:
            return False
        return operation.epilogue.input in self.unwritten

    def simpler(self, operation: Operation, reason: str) -> list[Launch]:
        """The launches for the parts of a fused operation, or for a product by our own kernel."""
        sizes = " x ".join(map(str, operation.n[:3]))
        lacking = "cublasLt's epilogue" if isinstance(operation, Fused) else "cublasLt"
        if self.library:
            self.note(f"{operation.name} {sizes} without {lacking}: {reason}")
        if not isinstance(operation, Fused):
            return [(operation, self.launcher(operation))]
        if operation.epilogue.writes_bits:
            self.unwritten.add(operation.epilogue.input)
        parts = [replace(part, lane=operation.lane) for part in operation.parts]
        return [launch for part in parts for launch in self._launch(part)]

    def note(self, text: str) -> None:
        """Add the first line of a text to the notes, once."""
        line = text.splitlines()[0]
        if line not in self.notes:
            self.notes.append(line)

    def feed(self) -> bool:
        """Point the launches to where the data are now; whether any had moved."""
        moved = False
        for place, name in self.sources:
            start = address(getattr(self.program.data, name))
            if start not in (0, place[0]):
                place[0], moved = start, True
        return moved

    @property
    def nbytes(self) -> int:
        """The bytes that launches work in."""
        held = (*self.rooms, *self.kept, *self.casts.kept, *self.workspaces.values())
        return sum(int(array.nbytes) for array in held)

    def _launch(self, operation: Operation) -> list[Launch]:
        if operation.name not in FACTORS:
            return [(operation, self.launcher(operation))]
        if self.lacks_bits(operation):
            return self.simpler(operation, NO_BITS)
        put = self._product(operation)
        if put is None:
            return self.simpler(operation, "it has no algorithm for it")
        return [(operation, put)]

    def _product(self, operation: Operation) -> Put | None:
        """A launch of cublasLt, None where it has no algorithm for the operation."""
        if self.library is None:
            return None
        if operation.lane not in self.workspaces:
            self.workspaces[operation.lane] = workspace(self.backend)
        product = PlannedProduct(
            self.library, self.workspaces[operation.lane], operation, self.program.network.dtype,
            tf32=self.program.precision == "tf32", narrow=self.casts.narrow(operation),
        )  # fmt: skip
        if product.algorithm is None:
            return None
        return partial(multiply, self.backend.xp.cuda, product)

    def _without_data(self, plan: Plan, operation: Operation, put: Put) -> Launch:
        """The launch without the data that it reads: the program holds those."""
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

    def _open_cublaslt(self) -> CublasLt | None:
        """cublasLt, if it can be used."""
        try:
            return cublaslt.opened(self.backend)
        except (EngineError, RuntimeError) as error:
            self.note(f"plain products, for {error}")
            return None

    def _compiles(self, name: str) -> bool:
        """Whether the kernel of an operation compiles that others can replace."""
        try:
            function(self.backend, name, self.program.network.dtype)
        except Exception as error:  # a compiler's errors are of many classes
            self.note(f"in parts, for {name} does not compile: {first_line(error)}")
            return False
        return True

    def _memory(self, nbytes: int) -> int:
        """The address of so many bytes, which are kept as long as this."""
        self.kept.append(self.backend.empty(nbytes, np.uint8))
        return address(self.kept[-1])


def multiply(cuda: Any, product: PlannedProduct) -> None:
    """Put a product on the current stream."""
    product.launch(cuda.get_current_stream().ptr)
