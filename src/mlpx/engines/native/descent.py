"""Updates made with the gradient, which is then never in memory as a whole.

For small batches a step is little more than reading and writing the parameters and their moments; a
gradient that is written and read again adds as much as each of those. So a tile of a weight's
gradient is computed, and the rule applied to it, before the next; plain SGD needs no tile either.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from mlpx.engines.lowering import Access, Operation, address
from mlpx.types import Array

FOLDED = ("affine_dW", "column_sum")
"""What writes a gradient, and can be followed by the rule at once."""
PLAIN = "rule_sgd"
PARAMETERS, GRADIENT = 0, 1
"""Which of a rule's arrays those are; moments follow, and at last the address of its numbers."""


def update_at_once(
    operations: Sequence[Operation], gradient: Array, *, count: int, tiled: bool
) -> list[Operation]:
    """The operations with the rule folded into what writes the gradient; as they are if anything
    but the rule reads it, or if they do not write it for all of `count` parameters.

    Rules other than plain SGD are folded only if `tiled`.
    """
    memory = Access(address(gradient) or 0, (address(gradient) or 0) + gradient.nbytes, True)
    users = [op for op in operations if any(a.overlaps(memory) for a in op.touches)]
    rules = [op for op in users if op.name.startswith("rule_")]
    folded: dict[Operation, Operation] = {}
    later: list[Operation] = []
    written = 0
    for op in users:
        if op in rules:
            continue
        rule = _rule_for(op, rules) if op.name in FOLDED else None
        if rule is None or not (tiled or rule.name == PLAIN):
            return list(operations)
        if _is_touched(rule, _between(op, rules, operations)):
            return list(operations)
        written += sum(a.stop - a.start for a in op.touches if a.writes)
        if rule.name == PLAIN:
            folded[op] = _descent(op, rule)
        elif op.name == "affine_dW":
            folded[op] = _update(op, rule)
        else:
            later.append(rule)
    if written < count * gradient.itemsize:
        return list(operations)
    first = operations.index(rules[0])
    kept = [*operations[:first], *later, *operations[first:]]
    return [folded.get(op) or op for op in kept if op not in rules]


def _rule_for(operation: Operation, rules: Iterable[Operation]) -> Operation | None:
    """The rule for the gradient that an operation writes, of which the rules may each do a slice;
    None if they do not do all of it, or not alike.
    """
    (out,) = (access for access in operation.touches if access.writes)
    found, covered = set(), 0
    for rule in rules:
        (g,) = (access for access in rule.touches if not access.writes)
        common = min(g.stop, out.stop) - max(g.start, out.start)
        if common > 0:
            covered += common
            *arrays, numbers = rule.p
            moved = tuple(
                None if a is None else (address(a) or 0) + out.start - g.start for a in arrays
            )
            found.add((rule.name, rule.c, rule.n[1:], *moved, numbers))
    if len(found) != 1 or covered < out.stop - out.start:
        return None
    name, c, rest, *p = found.pop()
    size = out.stop - out.start
    count = operation.p[-1].size
    touches = tuple(
        Access(start, start + size, i != GRADIENT, ("elements", count))
        for i, start in enumerate(p[:-1]) if start is not None
    )  # fmt: skip
    return Operation(name, (count, *rest), c, tuple(p), touches)


def _between(
    operation: Operation, rules: Sequence[Operation], operations: Sequence[Operation]
) -> list[Operation]:
    """What is done after an operation and before the rules are through, but for those."""
    start, stop = operations.index(operation), operations.index(rules[-1])
    return [op for op in operations[start + 1 : stop] if op not in rules]


def _is_touched(rule: Operation, others: Iterable[Operation]) -> bool:
    """Whether others read or write what the rule writes."""
    written = [access for access in rule.touches if access.writes]
    return any(a.overlaps(b) for op in others for a in op.touches for b in written)


def _descent(operation: Operation, rule: Operation) -> Operation:
    """The operation as a descent by plain SGD: it adds to the parameters what it would write."""
    *given, _ = operation.p
    to = rule.touches[PARAMETERS]
    touches = tuple(
        replace(a, start=to.start, stop=to.stop) if a.writes else a for a in operation.touches
    )
    name, n = f"{operation.name}_descend", (*operation.n, *rule.n[1:])
    return replace(operation, name=name, n=n, p=(*given, to.start, rule.p[-1]), touches=touches)


def _update(operation: Operation, rule: Operation) -> Operation:
    """The product as an update of the weights, tile by tile, each in a corner of the gradient."""
    (out,) = (access for access in operation.touches if access.writes)
    touches = tuple(replace(a, division=out.division) for a in rule.touches if a.writes)
    return replace(
        operation,
        name="affine_dW_update",
        n=(*operation.n, *rule.n[1:]),
        c=rule.c,
        p=(*operation.p, rule.name, *rule.p[:1], *rule.p[2:]),
        touches=(*operation.touches, *touches),
    )
