"""Runs the plans of a program by the native library: each is lowered, improved and assembled once.

The passes over a plan's operations are `passes`; they read in the order in which they are done.
"""

from __future__ import annotations

import ctypes
from typing import Any

from mlpx.backend.cpu import usable_cores
from mlpx.engines.lowering import Operation, address, lower
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.native.assembly import Assembled, NativeTarget, assemble
from mlpx.engines.native.barriers import Scheduled, schedule
from mlpx.engines.native.folding import update_at_once
from mlpx.engines.native.fusing import fuse, split_columns
from mlpx.engines.native.library import MOST_THREADS, Op, load, pool, require_memory
from mlpx.engines.native.tiles import chains, sum_by_rows
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram
from mlpx.types import Array

LEAST_ROWS, ROWS_BY_PARAMETERS = 30, 4.5e5
"""The fewest rows of a batch for which threads pay is LEAST_ROWS plus ROWS_BY_PARAMETERS over the
number of parameters: what threads save grows with rows and parameters, and what they cost has one
part for each parameter and one for each step.
"""
MANY_PARAMETERS = 100_000
"""From so many on threads always pay: they divide the parameters where there are few rows."""


class NativeRunner:
    """Calls the library with the operations of a plan, on so many threads.

    Raises UntranslatableError if the library has no operation for a part of the program.
    """

    def __init__(self, program: TrainingProgram, threads: int) -> None:
        self.program, self.threads = program, threads
        library = load()
        assert library is not None
        self._run, self._state = library.mlpx_run, address(program.state)
        others, gradient, zeros = threads - 1, program.gradient, program.network.backend.zeros
        self._others = zeros((others, gradient.size), gradient.dtype) if others else None
        """The gradients of all threads but the first, where each adds up its own."""
        self.nbytes = 0 if self._others is None else self._others.nbytes
        self._ops: dict[int, tuple[ctypes.Array[Op], int]] = {}
        """Each plan's operations, and how many of them are run."""
        self._kept: list[Any] = []
        """The arrays that ops point to, except for the data."""
        self._sources: list[tuple[Op, str]] = []
        """The ops that read one of the data's arrays, and which one."""
        for plan in program.plans:
            scheduled, assembled = passes(program, plan, threads, self._others)
            self._ops[id(plan)] = assembled.ops, assembled.number
            self._hold(plan, assembled, scheduled)

    def _hold(self, plan: Plan, assembled: Assembled, scheduled: list[Scheduled]) -> None:
        """Keep the arrays that the ops point to, and note which ops read the data."""
        names = {id(plan.calls[i].arguments[1]): name for i, name in plan.reads}
        data = list[Any]()
        for gather, place in assembled.gathers:
            data.append(gather["x"])
            self._sources.append((assembled.ops[place], names[id(gather["x"])]))
            self._kept += gather.p[1:]  # all but x
        for operation, _ in scheduled:
            self._kept += [
                array
                for array in operation.p
                if not isinstance(array, Operation | tuple) and all(array is not x for x in data)
            ]

    def __call__(self, plan: Plan, steps: int) -> None:
        """Run a plan `steps` times."""
        ops, count = self._ops[id(plan)]
        with pool(self.threads) as workers:
            require_memory(self._run(ops, count, steps, self._state, workers, self.threads))

    def feed(self) -> None:
        """Point the operations that read the data to where they are now."""
        _, at = FIELDS["gather"].places["x"]
        for op, name in self._sources:
            op.p[at] = address(getattr(self.program.data, name))


def passes(
    program: TrainingProgram, plan: Plan, threads: int, others: Array | None
) -> tuple[list[Scheduled], Assembled]:
    """A plan's operations in the order in which they are run, and the same for the library."""
    operations = fuse(lower(program, plan, NativeTarget()))
    operations = split_columns(operations, threads=threads)
    if worth_own_sums(operations, program, threads):
        operations = sum_by_rows(operations, program.gradient, others)
    else:
        count = len(program.network.layout)
        operations = update_at_once(operations, program.gradient, count=count)
    scheduled = schedule(operations)
    links = chains(scheduled, threads=threads, weights=program.network.flat.nbytes)
    half = program.precision == "bf16"
    return scheduled, assemble(scheduled, program.network.dtype, links, half=half)


def worthwhile_threads(program: TrainingProgram) -> int:
    """The number of threads that pay for a step of the program."""
    size = max(1, len(program.network.layout))
    many = program.part_rows > LEAST_ROWS + ROWS_BY_PARAMETERS / size
    return min(usable_cores(), MOST_THREADS) if many or size >= MANY_PARAMETERS else 1


def worth_own_sums(operations: list[Operation], program: TrainingProgram, threads: int) -> bool:
    """Whether it pays for each thread to add up the gradient of its own rows.

    Threads then exchange gradients, and otherwise the arrays that gradients are computed from.
    """
    factors: int = sum(
        op["rows"] * (op["inputs"] + op["outputs"]) for op in operations if op.name == "affine_dW"
    )
    return factors > max(2, threads) * len(program.network.layout)
