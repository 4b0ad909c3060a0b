"""A step's rows: brought by one operation, and brought while the step before is under way.

Where the data lie on the device, the next step's rows overwrite this step's as soon as nothing
reads those any more, beside the update. Where they lie in host memory that is too late: there they
cross the bus into memory of their own while the step computes, and a step copies what was brought
for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from mlpx.engines.cuda.fusing import among, put_for, same, together
from mlpx.engines.cuda.graphs import in_order
from mlpx.engines.lowering import Operation
from mlpx.engines.lowering.operations import NUMBERS, access
from mlpx.engines.lowering.translator import LABELS
from mlpx.types import Array


class Prefetched(NamedTuple):
    """A step's operations, and what brings the rows of the first step."""

    operations: list[Operation]
    first: list[Operation]


def with_one_gather(operations: Sequence[Operation], x: Array) -> list[Operation]:
    """The operations with the scaling of x's rows, and the labels of the same rows, brought by what
    gathers x.
    """
    found = list(operations)
    for gather in [op for op in operations if op.name == "gather" and same(op.p[0], x)]:
        made = gather
        scale = next((op for op in found if op.name == "scale" and same(op.p[0], made.p[2])), None)
        if scale and together([made, scale], found, () if same(*scale.p) else made.p[2:3]):
            n = (*gather.n[:5], 0, 0, 1)
            touched = (*gather.touches[:2], *scale.touches[1:])
            one = replace(gather, n=n, c=scale.c, p=(*gather.p[:2], scale.p[1]), touches=touched)
            found, made = put_for(found, one, [made, scale]), one
        labels = next((op for op in found if are_labels(op, gather)), None)
        if labels and together([made, labels], found, ()):
            p, touched = (*made.p, labels.p[0], labels.p[2]), (*made.touches, *labels.touches)
            found = put_for(found, replace(made, p=p, touches=touched), [made, labels])
    return found


def are_labels(operation: Operation, gather: Operation) -> bool:
    """Whether it gathers the labels of the rows that `gather` does."""
    if operation.name != "gather" or operation is gather or operation.n[1:3] != (1, LABELS):
        return False
    rows = operation.n[0] == gather.n[0] and operation.n[3:] == gather.n[3:5]
    return rows and same(operation.p[1], gather.p[1])


def ahead(operation: Operation, *, positions: int) -> Operation:
    """The same of the next step's rows; the tables have so many positions."""
    n = (*operation.n, *[0] * (NUMBERS - len(operation.n)))
    return replace(operation, n=(*n[:5], 1, positions, n[7]), late=True)


def overlapped(
    operations: Sequence[Operation], gathered: Sequence[Operation], *, positions: int
) -> Prefetched:
    """The operations with what some of them gather gathered at the end of the step before; as they
    are if those share memory, as the parts of a batch do.
    """
    if any(in_order(a, b) for a, b in combinations(gathered, 2)):
        return Prefetched(list(operations), [])
    rest = [op for op in operations if not among(op, gathered)]
    later = [ahead(op, positions=positions) for op in gathered]
    return Prefetched([*rest, *later], list(gathered))


def prefetch(
    operations: Sequence[Operation], gather: Operation, staging: Array, *, positions: int
) -> Prefetched:
    """The operations with what `gather` brings brought a step earlier, into `staging`, of the
    shape of a batch; the tables have so many positions.
    """
    out, batch = gather.p[2], gather.touches[2]
    p, into = list(gather.p), access(staging, writes=True)
    p[2] = staging
    first = replace(gather, p=tuple(p), touches=(*gather.touches[:2], into, *gather.touches[3:]))
    copy = Operation("copy", gather.n[:2], (), (staging, out), (access(staging), batch))
    at = list(operations).index(gather)
    found = [*operations[:at], copy, ahead(first, positions=positions), *operations[at + 1 :]]
    return Prefetched(found, [first])
