"""In which order operations run, and where the threads have to meet between them.

Each operation says which memory it touches and how its threads divide it. Two operations need no
barrier between them if they touch the same memory in the same division, for then each thread reads
only what it wrote itself. Operations that sum over all rows are put off until something needs them:
so a step is one chain over the rows, where no thread waits, and then the gradients.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from mlpx.engines.lowering import Access, Operation


def schedule(operations: Iterable[Operation]) -> list[tuple[Operation, bool]]:
    """The operations in an order with few barriers; each with whether the threads meet first."""
    ordered, put_off = list[Operation](), list[Operation]()
    for operation in operations:
        if operation.late:
            put_off.append(operation)
            continue
        if any(_ordered(operation, before) for before in put_off):
            ordered += put_off
            put_off = []
        ordered.append(operation)
    ordered += put_off
    return _place_barriers(ordered)


def _ordered(operation: Operation, before: Operation) -> bool:
    return any(a.overlaps(b) for a in operation.touches for b in before.touches)


def division(operation: Operation) -> object:
    """What the operation's threads divide, None if that is not one thing."""
    found = {access.division for access in operation.touches if access.writes}
    return found.pop() if len(found) == 1 and not operation.alone else None


def _place_barriers(operations: list[Operation]) -> list[tuple[Operation, bool]]:
    placed, since = [], Touched()
    for i, operation in enumerate(operations):
        # The first waits for the step before: another thread may still be at the end of it.
        wait = i == 0 or since.conflicts(operation)
        placed.append((operation, wait))
        since = Touched() if wait else since
        since.add(operation)
    return placed


class Touched:
    """What operations touched since the threads last met; neighbours in memory are one access.

    An optimizer updates a large network slice by slice: so they are a few, not thousands.
    """

    def __init__(self) -> None:
        self.ending: dict[tuple[int, bool, object], Access] = {}

    def add(self, operation: Operation) -> None:
        """Add what the operation touches."""
        for access in operation.touches:
            alike = (access.writes, access.division)
            before = self.ending.pop((access.start, *alike), access)
            whole = replace(access, start=before.start)
            other = self.ending.get((access.stop, *alike), whole)
            self.ending[access.stop, *alike] = min(whole, other, key=lambda known: known.start)

    def conflicts(self, operation: Operation) -> bool:
        """Whether the threads must meet before the operation."""
        return any(a.conflicts(b) for a in operation.touches for b in self.ending.values())
