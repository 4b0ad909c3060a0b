"""Whether several operations can become one, and the list with that one in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mlpx.engines.cuda.graphs import in_order
from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.operations import access


def among(operation: Operation, others: Sequence[Operation]) -> bool:
    """Whether an operation is one of the others, and not just equal to it."""
    return any(operation is other for other in others)


def same(a: Any, b: Any) -> bool:
    """Whether two arrays begin at the same address."""
    return address(a) == address(b)


def touches(operation: Operation, array: Any) -> bool:
    """Whether an operation reads or writes any part of an array."""
    whole = access(array, writes=True)
    return any(whole.overlaps(one) for one in operation.touches)


def together(
    parts: Sequence[Operation], operations: Sequence[Operation], passed: Sequence[Any]
) -> bool:
    """Whether the parts, which are some of the operations, can all run where the first of them
    does, and no other operation uses the arrays that they pass on to each other.
    """
    start = next(i for i, op in enumerate(operations) if among(op, parts))
    between = list[Operation]()
    for op in operations[start:]:
        if not among(op, parts):
            between.append(op)
        elif any(in_order(op, other) for other in between):
            return False
    others = [op for op in operations if not among(op, parts)]
    return not any(touches(op, array) for op in others for array in passed)


def put_for(
    operations: Sequence[Operation], made: Operation, parts: Sequence[Operation]
) -> list[Operation]:
    """The operations without the parts, and `made` in the place of the first of them."""
    first = next(op for op in operations if among(op, parts))
    placed = [made if op is first else op for op in operations]
    return [op for op in placed if not among(op, parts)]
