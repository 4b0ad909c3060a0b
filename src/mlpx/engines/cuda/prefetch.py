"""A step's rows: gathered by one operation, and gathered during the step before.

If the data are on the device, the next step's rows overwrite this step's as soon as nothing reads
those any more, beside the update. If they are in host memory that would be too late: the next rows
then cross the bus into a staging array while the step computes, and each step begins by copying its
rows from there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

from mlpx.engines.cuda.fusing import among, put_for, same, together
from mlpx.engines.cuda.graphs import in_order
from mlpx.engines.lowering import Operation
from mlpx.engines.lowering.operations import access
from mlpx.engines.lowering.translator import LABELS
from mlpx.types import Array


class Prefetched(NamedTuple):
    """A step's operations, and those that gather the rows of the first step."""

    operations: list[Operation]
    first: list[Operation]


def with_one_gather(operations: Sequence[Operation], x: Array) -> list[Operation]:
    """The operations, with the gather of x also scaling its rows and gathering their labels."""
    one = list(operations)
    for gather in [op for op in operations if op.name == "gather" and same(op["x"], x)]:
        made = gather
        rows = gather["out"]
        scale = next((op for op in one if op.name == "scale" and same(op["x"], rows)), None)
        if scale and together([made, scale], one, () if same(rows, scale["out"]) else (rows,)):
            scaled = scaling(gather, scale)
            one, made = put_for(one, scaled, [made, scale]), scaled
        labels = next((op for op in one if are_labels(op, gather)), None)
        if labels and together([made, labels], one, ()):
            both = made.replaced(labels=labels["x"], labels_out=labels["out"])
            both = replace(both, touches=(*made.touches, *labels.touches))
            one = put_for(one, both, [made, labels])
    return one


def scaling(gather: Operation, scale: Operation) -> Operation:
    """A gather that also scales its rows as the second operation does."""
    scaled = gather.replaced(
        scaled=True, scale=scale["scale"], offset=scale["offset"], out=scale["out"]
    )
    return replace(scaled, touches=(*gather.touches[:2], *scale.touches[1:]))


def are_labels(operation: Operation, gather: Operation) -> bool:
    """Whether an operation gathers the labels of the same rows as `gather`."""
    if operation.name != "gather" or operation is gather:
        return False
    if (operation["columns"], operation["dtype"]) != (1, LABELS):
        return False
    alike = all(operation[field] == gather[field] for field in ("rows", "stride", "swapped"))
    return alike and same(operation["indices"], gather["indices"])


def ahead(operation: Operation, *, positions: int) -> Operation:
    """The same gather for the next step's rows; the tables have so many positions, unless theirs
    take turns. Behind the last it brings the first, which nobody reads.
    """
    lines = operation["positions"] or positions
    return replace(operation.replaced(ahead=1, positions=lines), late=True)


def overlapped(
    operations: Sequence[Operation], gathered: Sequence[Operation], *, positions: int
) -> Prefetched:
    """The operations, with those in `gathered` moved to the end of the step before; unchanged if
    they share memory, as those for the parts of a batch do.
    """
    if any(in_order(a, b) for a, b in combinations(gathered, 2)):
        return Prefetched(list(operations), [])
    rest = [op for op in operations if not among(op, gathered)]
    later = [ahead(op, positions=positions) for op in gathered]
    return Prefetched([*rest, *later], list(gathered))


def prefetch(
    operations: Sequence[Operation], gather: Operation, staging: Array, *, positions: int
) -> Prefetched:
    """The operations, with the rows of `gather` gathered into `staging` a step earlier.

    staging: of the shape of a batch. positions: how many the tables have.
    """
    data, order, batch, *labels = gather.touches
    touches = (data, order, access(staging, writes=True), *labels)
    first = replace(gather.replaced(out=staging), touches=touches)
    copy = gather.turned_into("copy", x=staging, touches=(access(staging), batch))
    at = list(operations).index(gather)
    later = ahead(first, positions=positions)
    return Prefetched([*operations[:at], copy, later, *operations[at + 1 :]], [first])
