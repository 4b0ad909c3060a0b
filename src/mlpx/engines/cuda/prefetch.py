"""Data in host memory: the next step's rows cross the bus while this step computes.

Two buffers: a step copies the rows that were brought for it into its batch, and a branch of its
graph brings the next step's meanwhile.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.operations import access
from mlpx.types import Array


class Prefetched(NamedTuple):
    """A step's operations, and the one that brings the rows of the first step."""

    operations: list[Operation]
    first: Operation


def gathers(operations: list[Operation], x: Array) -> list[Operation]:
    """The operations that gather rows of x."""
    return [op for op in operations if op.name == "gather" and address(op.p[0]) == address(x)]


def prefetch(
    operations: list[Operation], gather: Operation, staging: Array, *, positions: int
) -> Prefetched:
    """The operations with what `gather` brings brought a step earlier, into `staging`, of the
    shape of a batch; the tables have so many positions.
    """
    x, table, out = gather.p
    reads, batch = gather.touches[:2], gather.touches[2]
    first = replace(gather, p=(x, table, staging), touches=(*reads, access(staging, writes=True)))
    n = (*gather.n[:5], 1, positions)
    ahead = replace(first, n=n, late=True)
    copy = Operation("copy", gather.n[:2], (), (staging, out), (access(staging), batch))
    at = operations.index(gather)
    return Prefetched([*operations[:at], copy, ahead, *operations[at + 1 :]], first)
