"""The operations of a step as the device runs them: joined where one can do what several did."""

from __future__ import annotations

from collections.abc import Sequence

from mlpx.engines.cuda.casts import Casts
from mlpx.engines.cuda.epilogues import Fused, Memory, fuse
from mlpx.engines.cuda.fusing import same
from mlpx.engines.cuda.heads import with_heads
from mlpx.engines.cuda.prefetch import Prefetched, overlapped, prefetch, with_one_gather
from mlpx.engines.lowering import Operation
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram


def composed(
    program: TrainingProgram, plan: Plan, lowered: Sequence[Operation], casts: Casts | None,
    memory: Memory, *, heads: bool,
) -> Prefetched:  # fmt: skip
    """A plan's operations for the device, from those it was lowered to, and those that gather its
    first rows.

    casts: None without cublasLt, in which case nothing is prepared for it. heads: whether the head
    of a classifier may be one operation. The operation that counts steps is left out, since a graph
    counts all its steps at its end.
    """
    step = [op for op in lowered if op.name != "advance"]
    operations, first = with_rows(program, plan, with_heads(step) if heads else step)
    if casts is not None:
        operations = casts.put_into(with_epilogues(program, operations, memory))
    return Prefetched(operations, first)


def with_rows(program: TrainingProgram, plan: Plan, operations: Sequence[Operation]) -> Prefetched:
    """The operations, with the rows gathered a step ahead where that is possible."""
    x, steps = program.data.x, program.full_steps
    if program.data.resident:
        operations = with_one_gather(operations, x)
    gathers = [op for op in operations if op.name == "gather"]
    if plan is program.full and program.data.resident:
        return overlapped(operations, gathers, positions=steps)
    of_x = [op for op in gathers if same(op["x"], x)]
    if plan is program.full and len(of_x) == 1:
        shape = of_x[0]["rows"], of_x[0]["columns"]
        staging = program.network.backend.empty(shape, program.network.dtype)
        return prefetch(operations, of_x[0], staging, positions=steps)
    return Prefetched(list(operations), [])


def with_epilogues(
    program: TrainingProgram, operations: Sequence[Operation], memory: Memory
) -> list[Operation]:
    """The operations, with what follows a product made its epilogue where cublasLt has one."""
    step = list[Operation]()
    for op in fuse(operations, memory):
        # Factors in float16 are scaled, so the sum of one is not that of the gradient.
        apart = isinstance(op, Fused) and op.epilogue.sums_factor
        apart &= program.precision == "fp16"
        step += op.parts if isinstance(op, Fused) and apart else [op]
    return step
