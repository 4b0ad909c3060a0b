"""The order in which operations run, and where threads have to meet between them.

Each operation says which memory it touches and how its threads divide it. Two operations need no
barrier between them if they divide the memory they share in the same way, for then each thread
reads only what it wrote itself. Operations that sum over all rows are put off until something needs
their result: a step is one chain over the rows, in which no thread waits, and then the gradients.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import NamedTuple

from mlpx.engines.lowering import Access, Operation

Kind = tuple[bool, object]
"""Whether memory was written, and how threads divided it."""
ALONE = ("alone",)
"""The division of memory that the first thread touches while the others do not."""


class Scheduled(NamedTuple):
    """An operation, and whether the threads meet before it."""

    operation: Operation
    wait: bool


def schedule(operations: Iterable[Operation]) -> list[Scheduled]:
    """The operations in an order with few barriers."""
    ordered, put_off, theirs = list[Operation](), list[Operation](), Touched()
    for operation in operations:
        if operation.late:
            put_off.append(operation)
            theirs.add(*operation.touches)
            continue
        if theirs.precedes(*operation.touches):
            ordered += put_off
            put_off, theirs = [], Touched()
        ordered.append(operation)
    ordered += put_off
    return _place_barriers(ordered)


def division(operation: Operation) -> object:
    """What the operation's threads divide; None if it divides several things, or nothing."""
    divisions = {access.division for access in operation.touches if access.writes}
    return divisions.pop() if len(divisions) == 1 and not operation.alone else None


def _place_barriers(operations: list[Operation]) -> list[Scheduled]:
    scheduled, since = list[Scheduled](), Touched()
    for i, operation in enumerate(operations):
        touches = operation.touches
        if operation.alone:
            touches = tuple(replace(access, division=ALONE) for access in touches)
        # The first waits, since another thread may still be at the end of the step before.
        wait = i == 0 or since.conflicts(*touches)
        scheduled.append(Scheduled(operation, wait))
        since = Touched() if wait else since
        since.add(*touches)
    return scheduled


class Touched:
    """The memory that operations touched, in order of address, so that a look-up takes about as
    long in a network of many layers as in a small one.
    """

    def __init__(self) -> None:
        self._cuts = [0]
        """The addresses at which stretches of memory begin; each ends where the next begins."""
        self._kinds: dict[int, frozenset[Kind]] = {0: frozenset()}
        """How each stretch was touched, by the address at which it begins."""

    def add(self, *accesses: Access) -> None:
        """Add what an operation touches."""
        for access in accesses:
            first, stop = self._cut(access.start), self._cut(access.stop)
            kind = frozenset([(access.writes, access.division)])
            for cut in self._cuts[first:stop]:
                self._kinds[cut] |= kind

    def conflicts(self, *accesses: Access) -> bool:
        """Whether the threads must meet before the accesses."""
        return any(
            (access.writes or wrote) and (access.division is None or access.division != other)
            for access in accesses
            for wrote, other in self._kinds_of(access)
        )

    def precedes(self, *accesses: Access) -> bool:
        """Whether the accesses have to come after what was touched."""
        return any(
            access.writes or wrote for access in accesses for wrote, _ in self._kinds_of(access)
        )

    def _kinds_of(self, access: Access) -> Iterator[Kind]:
        """How the memory of an access was touched."""
        if access.stop > access.start:
            first = bisect_right(self._cuts, access.start) - 1
            for cut in self._cuts[first : bisect_left(self._cuts, access.stop)]:
                yield from self._kinds[cut]

    def _cut(self, at: int) -> int:
        """The index of the stretch that begins at an address, which is made if there is none."""
        i = bisect_left(self._cuts, at)
        if i == len(self._cuts) or self._cuts[i] != at:
            self._cuts.insert(i, at)
            self._kinds[at] = self._kinds[self._cuts[i - 1]]
        return i
