"""Updates that are made as the gradient is computed, so that it is never stored as a whole.

A step of few rows is little more than reading and writing the parameters and their moments, and a
gradient that is written and read again costs as much as each of those. So some rows of a weight's
gradient are computed and the rule applied to them before the next; plain SGD does not even need
these.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from mlpx.engines.lowering import Access, Operation, address
from mlpx.engines.native.barriers import Touched
from mlpx.types import Array

GRADIENTS = {"affine_dW": "dW", "column_sum": "db"}
"""The operations that write a gradient and can apply the rule to it, and the field with it."""
PLAIN = "rule_sgd"
"""The rule without moments, which needs no gradient in memory."""


def update_at_once(
    operations: Sequence[Operation], gradient: Array, *, count: int
) -> list[Operation]:
    """The operations with the rule folded into those that write the gradient; unchanged if anything
    but the rule reads the gradient, or if they do not write it for all of `count` parameters.
    """
    memory = Access(address(gradient), address(gradient) + gradient.nbytes, True)
    users = {op for op in operations if any(a.overlaps(memory) for a in op.touches)}
    rules = Rules(op for op in operations if op in users and op.name.startswith("rule_"))
    rule_of = _rules_by_writer(operations, users, rules)
    written = sum(a.stop - a.start for op in rule_of or () for a in op.touches if a.writes)
    if not rule_of or written < count * gradient.itemsize:
        return list(operations)
    folded = {op: fold(op, rule) for op, rule in rule_of.items() if (fold := _fold(op, rule))}
    put_off = [rule for op, rule in rule_of.items() if op not in folded]
    first = next(i for i, op in enumerate(operations) if op in rules)
    kept = [*operations[:first], *put_off, *operations[first:]]
    return [folded.get(op) or op for op in kept if op not in rules]


def _rules_by_writer(
    operations: Sequence[Operation], users: set[Operation], rules: Rules
) -> dict[Operation, Operation] | None:
    """The rule for each operation that writes a part of the gradient; None if anything else uses
    the gradient, or if an operation before the last rule reads or writes what the rules write.
    """
    rule_of: dict[Operation, Operation] = {}
    later, after_rules = Touched(), True
    for op in reversed(operations):
        if op in rules:
            after_rules = False
            continue
        if op in users:
            rule = rules.of(op) if op.name in GRADIENTS else None
            if rule is None or later.precedes(*(a for a in rule.touches if a.writes)):
                return None
            rule_of[op] = rule
        if not after_rules:
            later.add(*op.touches)
    return dict(reversed(rule_of.items()))


def _fold(operation: Operation, rule: Operation) -> Callable[..., Operation] | None:
    """The function that makes one operation of the two; None if the rule stays an operation of its
    own.
    """
    if rule.name == PLAIN:
        return _descent
    return _update if operation.name == "affine_dW" else None


class Rules:
    """The operations that apply the rule, each to a slice of the gradient, in the slices' order."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._all = sorted(operations, key=lambda rule: _gradient(rule).start)
        self._set = set(self._all)
        self._starts = [_gradient(rule).start for rule in self._all]

    def __contains__(self, operation: Operation) -> bool:
        return operation in self._set

    def of(self, operation: Operation) -> Operation | None:
        """One rule for the gradient that an operation writes, whose slices may have a rule each;
        None if some of it has no rule, or if the rules differ.
        """
        (out,) = (access for access in operation.touches if access.writes)
        before = bisect_right(self._starts, out.start) - 1
        first = bisect_left(self._starts, self._starts[before]) if before >= 0 else 0
        stop = bisect_left(self._starts, out.stop)
        return _joined(operation, out, self._all[first:stop])


def _gradient(rule: Operation) -> Access:
    """The slice of the gradient that a rule reads."""
    (g,) = (access for access in rule.touches if not access.writes)
    return g


def _joined(operation: Operation, out: Access, rules: Iterable[Operation]) -> Operation | None:
    """One rule for `out`, which the operation writes, from those of its slices; None as in
    `Rules.of`.
    """
    alike, covered = set(), 0
    for rule in rules:
        g = _gradient(rule)
        common = min(g.stop, out.stop) - max(g.start, out.start)
        if common > 0:
            covered += common
            arrays = (rule["parameters"], rule["gradient"], *rule["moments"])
            moved = tuple(None if a is None else address(a) + out.start - g.start for a in arrays)
            alike.add((rule.name, rule["constants"], rule["table_columns"], rule["scalars"], moved))
    if len(alike) != 1 or covered < out.stop - out.start:
        return None
    name, constants, columns, scalars, (parameters, gradient, *moments) = alike.pop()
    nbytes, count = out.stop - out.start, operation[GRADIENTS[operation.name]].size
    touches = tuple(
        Access(start, start + nbytes, start != gradient, ("elements", count))
        for start in (parameters, gradient, *moments)
        if start is not None
    )
    return Operation.of(
        name,
        elements=count,
        table_columns=columns,
        constants=constants,
        parameters=parameters,
        gradient=gradient,
        moments=moments,
        scalars=scalars,
        touches=touches,
    )


def _descent(operation: Operation, rule: Operation) -> Operation:
    """The operation as a descent by plain SGD: it adds to the parameters instead of writing a
    gradient.
    """
    start = rule["parameters"]
    touches = tuple(
        replace(a, start=start, stop=start + a.stop - a.start) if a.writes else a
        for a in operation.touches
    )
    of_rule = {key: rule[key] for key in ("parameters", "table_columns", "scalars")}
    name = f"{operation.name}_descend"
    return operation.turned_into(name, **of_rule, touches=touches, late=operation.late)


def _update(operation: Operation, rule: Operation) -> Operation:
    """The product as an update of the weights, tile by tile; each thread keeps its tile where its
    share of the gradient begins.
    """
    (out,) = (access for access in operation.touches if access.writes)
    touches = tuple(replace(a, division=out.division) for a in rule.touches if a.writes)
    of_rule = {
        key: rule[key] for key in ("parameters", "moments", "constants", "table_columns", "scalars")
    }
    return operation.turned_into(
        "affine_dW_update",
        **of_rule,
        rule=rule.name,
        touches=(*operation.touches, *touches),
        late=operation.late,
    )
