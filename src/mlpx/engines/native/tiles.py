"""Tiles: each thread keeps the same rows of a batch, and works through them tile by tile.

A thread carries a tile of its rows through all operations that divide the rows before it takes the
next tile, so that a tile stays in its cache. Where a batch has more activations than parameters,
each thread also adds up the gradient of its own rows, so that no thread reads what another
computed; the parts are summed at the end, in a fixed order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import NamedTuple, TypeGuard

from mlpx.backend.cpu import second_level_cache
from mlpx.engines.lowering import Access, Operation, address
from mlpx.engines.native.barriers import Scheduled, Touched, division
from mlpx.engines.native.folding import GRADIENTS
from mlpx.types import Array

FORWARD = ("affine", "layer")
"""The products that read rows of x, or of a layer's output."""
CACHED_BYTES = second_level_cache() // 2
"""How many bytes of a tile's rows are to stay in the cache of one core."""


def sum_by_rows(
    operations: Sequence[Operation], gradient: Array, others: Array | None
) -> list[Operation]:
    """The operations, with each thread adding up the gradients of weights and biases for its own
    rows.

    gradient (size,): the first thread's, and the sum of all; others (threads - 1, size): those of
    the other threads, all zero, or None for one thread.
    """
    start, made = address(gradient), list[Operation]()
    parts, summed = Touched(), True
    for operation in operations:
        if not summed and parts.precedes(*operation.touches):
            made += [] if others is None else [_total(gradient, others)]
            parts, summed = Touched(), True
        part = _part(operation, start, others)
        if part is not None:
            parts.add(*(access for access in part.touches if access.writes))
            summed = False
        made.append(part or operation)
    return made + ([] if summed or others is None else [_total(gradient, others)])


def _part(operation: Operation, start: int, others: Array | None) -> Operation | None:
    """The operation restricted to each thread's rows; None for one that writes no gradient."""
    if operation.name not in GRADIENTS:
        return None
    offset = address(operation[GRADIENTS[operation.name]]) - start
    division = "rows", operation["rows"]
    return operation.turned_into(
        f"{operation.name}_part",
        stride=0 if others is None else others.shape[1],
        others=None if others is None else address(others) + offset,
        touches=tuple(replace(access, division=division) for access in operation.touches),
    )


def _total(gradient: Array, others: Array) -> Operation:
    """The operation that adds the other threads' parts to the gradient."""
    low, high = address(gradient), address(gradient) + gradient.nbytes
    theirs = Access(address(others), address(others) + others.nbytes, False)
    touches = (Access(low, high, True, ("elements", gradient.size)), theirs)
    sizes = {"elements": gradient.size, "count": len(others)}
    return Operation.of("sum_parts", **sizes, gradient=gradient, others=others, touches=touches)


class Link(NamedTuple):
    """How many operations from one on are run tile by tile, and in how many tiles; `local` has the
    bytes of a row of each array that is needed within a tile only, by its address.
    """

    operations: int
    tiles: int
    local: Mapping[int, int] = MappingProxyType({})


def chains(scheduled: Sequence[Scheduled], *, threads: int, weights: int) -> list[Link]:
    """The link that begins with each operation; weights are the bytes of the parameters."""
    links = [Link(operations=1, tiles=1)] * len(scheduled)
    i = 0
    while i < len(scheduled):
        shared, stop = division(scheduled[i].operation), i + 1
        while _is_of_rows(shared) and stop < len(scheduled):
            operation, wait = scheduled[stop]
            if wait or division(operation) != shared:
                break
            stop += 1
        if _is_of_rows(shared) and stop - i > 1:
            chain = [operation for operation, _ in scheduled[i:stop]]
            tiles = _tiles(chain, shared, threads=threads, weights=weights)
            if tiles > 1:
                others = [op for op, _ in (*scheduled[:i], *scheduled[stop:])]
                links[i] = Link(len(chain), tiles, _local(chain, others, shared))
        i = stop  # a chain that is not worth tiles as a whole is not in part either
    return links


def _local(
    chain: list[Operation], others: list[Operation], shared: tuple[str, int]
) -> dict[int, int]:
    """The bytes of a row of each array that a chain writes before it reads it, row by row, and no
    other operation touches, by the array's address.
    """
    elsewhere, before, found = Touched(), Touched(), dict[int, int]()
    elsewhere.add(*(replace(a, writes=True) for op in others for a in op.touches))
    for op in chain:
        for a in op.touches:
            row, rest = divmod(a.stop - a.start, shared[1])
            whole = a.writes and a.division == shared and not rest
            if whole and not before.precedes(a) and not elsewhere.precedes(a):
                found[a.start] = row
        before.add(*op.touches)
    parts = [a for op in chain for a in op.touches if a.start not in found]
    return {
        start: row
        for start, row in found.items()
        if not any(a.start < start + row * shared[1] and start < a.stop for a in parts)
    }


def _is_of_rows(shared: object) -> TypeGuard[tuple[str, int]]:
    """Whether what the threads divide are the rows of a batch."""
    return isinstance(shared, tuple) and shared[0] == "rows"


def _tiles(chain: list[Operation], shared: tuple[str, int], *, threads: int, weights: int) -> int:
    """The best number of tiles for a chain whose operations divide the rows of a batch."""
    taken = [op for op in chain if not op.name.endswith("_part")]
    spans = {(a.start, a.stop) for op in taken for a in op.touches if a.division == shared}
    row_bytes = max(1, sum(stop - start for start, stop in spans) / shared[1])
    gathers = {op["x"] for op in chain if op.name in FORWARD and op["gathered"]}
    row_bytes += sum(gather["columns"] * gather["out"].itemsize for gather in gathers)
    rows = max(CACHED_BYTES, weights) / row_bytes
    return max(1, round(float(shared[1] / threads / rows)))
