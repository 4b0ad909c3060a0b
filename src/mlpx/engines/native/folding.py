"""Updates that are made as the gradient is computed, so that it is never stored as a whole.

A step of few rows is little more than reading and writing the parameters and their moments, and a
gradient that is written and read again costs as much as each of those. So some rows of a weight's
gradient are computed, and what a step does with them, number by number, is done before the next: a
penalty's gradient, decay, clipped values and the rule. Plain SGD does not even need these rows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from mlpx.engines.lowering import Access, Operation, address
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.native.barriers import Touched
from mlpx.types import Array

GRADIENTS = {"affine_dW": "dW", "column_sum": "db"}
"""The operations that write a gradient and can be followed at once, and the field with it."""
PLAIN = "rule_sgd"
"""The rule without moments, which needs no gradient in memory."""
OF_NUMBERS = {
    "rule": ("gradient", "parameters", "moments"),
    "add_decay": ("gradient", "parameters"),
    "clip_values": ("gradient",),
    "penalty_gradient": ("dW", "W"),
    "scale_by": ("a",),
}
"""What works on each number of the parameters, and its fields with arrays of these numbers."""


def update_at_once(
    operations: Sequence[Operation], gradient: Array, *, count: int
) -> list[Operation]:
    """The operations with the update folded into those that write the gradient; unchanged if
    anything but the update reads the gradient, or if they do not write it for all of `count`
    parameters.
    """
    memory = Access(address(gradient), address(gradient) + gradient.nbytes, True)
    users = {op for op in operations if any(a.overlaps(memory) for a in op.touches)}
    updates = Updates(operations, users)
    steps_of = _steps_by_writer(operations, users, updates)
    written = sum(a.stop - a.start for op in steps_of or () for a in op.touches if a.writes)
    if not steps_of or written < count * gradient.itemsize:
        return list(operations)
    folded, put_off = dict[Operation, Operation](), list[Operation]()
    for op, steps in steps_of.items():
        if [step.name for step in steps] == [PLAIN]:
            folded[op] = _descent(op, steps[0])
        elif op.name == "affine_dW":
            folded[op] = _update(op, steps)
        else:
            put_off += steps
    first = next(i for i, op in enumerate(operations) if op in updates)
    kept = [*operations[:first], *put_off, *operations[first:]]
    return [folded.get(op) or op for op in kept if op not in updates]


def _steps_by_writer(
    operations: Sequence[Operation], users: set[Operation], updates: Updates
) -> dict[Operation, list[Operation]] | None:
    """What follows each operation that writes a part of the gradient; None if anything else uses
    the gradient, or if an operation before the last update reads or writes what the updates write.
    """
    steps_of: dict[Operation, list[Operation]] = {}
    later, after_updates = Touched(), True
    for op in reversed(operations):
        if op in updates:
            after_updates = False
            continue
        if op in users:
            steps = updates.of(op) if op.name in GRADIENTS else None
            if steps is None or later.precedes(*(a for s in steps for a in s.touches if a.writes)):
                return None
            steps_of[op] = steps
        if not after_updates:
            later.add(*op.touches)
    return dict(reversed(steps_of.items()))


class Updates:
    """The operations that update parameters number by number, each in a slice of them."""

    def __init__(self, operations: Sequence[Operation], users: set[Operation]) -> None:
        rules = [op for op in operations if op in users and _kind(op) == "rule"]
        shifts = {address(op["gradient"]) - address(op["parameters"]) for op in rules}
        self._shift = shifts.pop() if len(shifts) == 1 else 0
        """From a parameter's address to its gradient's."""
        parameters = Touched()
        parameters.add(*(a for op in rules for a in op.touches if a.writes))
        found = [
            (i, op)
            for i, op in enumerate(operations)
            if (op in users and _kind(op) not in ("", "scale_by"))
            or (op.name == "scale_by" and op["table_columns"] and parameters.precedes(*op.touches))
        ]
        slices = [(self._start(op), i, op) for i, op in found] if rules and not shifts else []
        self._slices = sorted(slices, key=lambda each: each[:2])
        self._set = {op for *_, op in slices}
        self._starts = [start for start, *_ in self._slices]
        self._longest = max((_nbytes(op) for op in self._set), default=0)

    def __contains__(self, operation: Operation) -> bool:
        return operation in self._set

    def of(self, operation: Operation) -> list[Operation] | None:
        """What is done with the gradient that an operation writes, in its order, each as one
        operation; None if that is not the same for all of it, or if no rule is among it.
        """
        (out,) = (access for access in operation.touches if access.writes)
        first = bisect_left(self._starts, out.start - self._longest + 1)
        stop = bisect_left(self._starts, out.stop)
        near = sorted((i, start, op) for start, i, op in self._slices[first:stop])
        steps = _joined(out, ((start, op) for _, start, op in near))
        return steps if steps and _kind(steps[-1]) == "rule" else None

    def _start(self, op: Operation) -> int:
        """Where the gradient of the numbers that an update works on begins."""
        field = OF_NUMBERS[_kind(op)][0]
        return address(op[field]) + (self._shift if field == "a" else 0)


def _kind(op: Operation) -> str:
    """The key of an operation in OF_NUMBERS, "" if it has none."""
    kind = "rule" if op.name.startswith("rule_") else op.name
    return kind if kind in OF_NUMBERS else ""


def _nbytes(op: Operation) -> int:
    """The bytes of one of the arrays that an update works on."""
    return max(a.stop - a.start for a in op.touches)


def places_of_numbers(op: Operation) -> list[int]:
    """Where in p an update has the arrays whose numbers it works on."""
    places = list[int]()
    for field in OF_NUMBERS[_kind(op)]:
        _, at = FIELDS[op.name].places[field]
        places += range(at.start, at.stop) if isinstance(at, slice) else [at]
    return [at for at in places if op.p[at] is not None]


def _joined(out: Access, slices: Iterable[tuple[int, Operation]]) -> list[Operation] | None:
    """One operation for `out`, part of the gradient, from those of each kind for its slices; None
    if there are not the same for all of it.
    """
    found, covered = dict[Any, Operation](), dict[Any, int]()
    for start, op in slices:
        common = min(start + _nbytes(op), out.stop) - max(start, out.start)
        if common <= 0:
            continue
        moved = _moved(op, start, out)
        key = (moved.name, moved.n[1:], moved.c, tuple(address(a) for a in moved.p))
        found.setdefault(key, moved)
        covered[key] = covered.get(key, 0) + common
    whole = out.stop - out.start
    names = [op.name for op in found.values()]
    if len(set(names)) < len(names) or any(size != whole for size in covered.values()):
        return None
    return list(found.values())


def _moved(op: Operation, start: int, out: Access) -> Operation:
    """The operation for all of `out`, made from that for a slice, which begins at `start`."""
    places, by = places_of_numbers(op), out.start - start
    p = [address(a) + by if at in places else a for at, a in enumerate(op.p)]
    numbers = {address(op.p[at]) for at in places}
    nbytes = out.stop - out.start
    count = op.n[0] * nbytes // _nbytes(op)
    touches = tuple(
        Access(a.start + by, a.start + by + nbytes, a.writes, ("elements", count))
        if a.start in numbers
        else a
        for a in op.touches
    )
    return replace(op, n=(count, *op.n[1:]), p=tuple(p), touches=touches)


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


def _update(operation: Operation, steps: Sequence[Operation]) -> Operation:
    """The product with what follows for some of its rows at a time; each thread keeps these where
    its share of the gradient begins.
    """
    (out,) = (access for access in operation.touches if access.writes)
    touches = dict.fromkeys(
        replace(a, division=out.division) if a.division is not None else a
        for step in steps
        for a in step.touches
        if a.start != out.start
    )
    return operation.turned_into(
        "affine_dW_update",
        steps=len(steps),
        updates=tuple(steps),
        touches=(*operation.touches, *touches),
        late=operation.late,
    )
