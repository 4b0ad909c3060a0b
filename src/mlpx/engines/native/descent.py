"""Plain descent without a gradient in memory: W -= rate x' dz, as the product is made.

For small batches a step is little more than reading and writing the parameters; a gradient that is
written and read again is half of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mlpx.engines.lowering import Access, Operation, address
from mlpx.types import Array

FOLDED = ("affine_dW", "column_sum")
"""What writes a gradient, and can descend instead."""


def descend_at_once(
    operations: Sequence[Operation], gradient: Array, *, count: int
) -> list[Operation]:
    """The operations with plain SGD folded into what writes the gradient; as they are if anything
    but that rule reads it, or if they do not write it for all of `count` parameters.
    """
    memory = Access(address(gradient) or 0, (address(gradient) or 0) + gradient.nbytes, True)
    users = [op for op in operations if any(a.overlaps(memory) for a in op.touches)]
    rules = [op for op in users if op.name == "rule_sgd"]
    writers = [op for op in users if op not in rules]
    folded = {op: _fold(op, rules) for op in writers}
    written = sum(a.stop - a.start for op in writers for a in op.touches if a.writes)
    if None in folded.values() or written < count * gradient.itemsize:
        return list(operations)
    return [folded.get(op) or op for op in operations if op not in rules]


def _fold(operation: Operation, rules: list[Operation]) -> Operation | None:
    """The operation as a descent by the rule for what it writes, None if it does something else."""
    if operation.name not in FOLDED:
        return None
    *given, out = operation.p
    start = address(out) or 0
    for rule in rules:
        p, g, *_, rate = rule.p
        offset = start - (address(g) or 0)
        if 0 <= offset < g.nbytes:
            to = (address(p) or 0) + offset
            touches = tuple(_moved(a, to) if a.writes else a for a in operation.touches)
            n = (*operation.n, rule.n[1])
            name = f"{operation.name}_descend"
            return replace(operation, name=name, n=n, p=(*given, to, rate), touches=touches)
    return None


def _moved(access: Access, start: int) -> Access:
    """The same access to memory elsewhere."""
    return replace(access, start=start, stop=start + access.stop - access.start)
