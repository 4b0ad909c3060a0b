"""Barriers between threads: no conflict of memory accesses is missed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mlpx.engines.lowering import Access, Operation
from mlpx.engines.native.barriers import Scheduled, Touched, schedule
from mlpx.engines.native.tiles import chains

UPDATES = ("elements", 100)


def touching(*touches: Access) -> Operation:
    return Operation("", (), (), (), touches)


def slices(count: int, size: int = 100) -> list[Operation]:
    """Updates of neighbouring slices of one vector."""
    starts = range(0, count * size, size)
    return [touching(Access(start, start + size, True, UPDATES)) for start in starts]


def conflict(a: Access, b: Access) -> bool:
    """Whether different threads must not do both at once: the definition, for two accesses."""
    apart = a.start >= b.stop or b.start >= a.stop or not (a.writes or b.writes)
    return not apart and (a.division is None or a.division != b.division)


@pytest.mark.parametrize("question", ["conflicts", "overlaps"])
def test_an_access_finds_what_each_before_it_touched(question: str) -> None:
    """Random accesses with either of two divisions or none, against a plain search."""
    rng = np.random.default_rng(0)
    divisions = (("rows", 4), UPDATES, None)
    found = set()
    for _ in range(300):
        touched, added = Touched(), list[Access]()
        for _ in range(rng.integers(1, 12)):
            start, length, of, writes = (int(n) for n in rng.integers((9, 0, 0, 0), (30, 9, 3, 2)))
            access = Access(start, start + length, bool(writes), divisions[of])
            meet = conflict if question == "conflicts" else Access.overlaps
            wanted = length > 0 and any(meet(access, other) for other in added)
            ask = touched.conflicts if question == "conflicts" else touched.precedes
            assert ask(access) == wanted
            found.add(wanted)
            touched.add(access)
            added += [access] if length else []
    assert found == {True, False}


def test_neighbours_that_divide_the_rows_alike_are_run_tile_by_tile() -> None:
    """If there are at least two without a barrier between them; in tiles that fit the cache."""
    rows, fewer = (
        [touching(Access(i << 22, (i + 1) << 22, True, ("rows", n))) for i in range(3)]
        for n in (4096, 64)
    )
    one, two, three, other = *rows, slices(1, 1 << 23)[0]
    little = touching(Access(0, 4096, True, ("rows", 4096)))
    for operations, wanted in (
        ([(one, True)], [(1, 1)]),
        ([(little, True), (little, False)], [(1, 1), (1, 1)]),
        ([(one, True), (two, False)], [(2, 16), (1, 1)]),
        ([(one, True), (two, False), (three, False)], [(3, 24), (1, 1), (1, 1)]),
        ([(one, True), (two, True), (three, False)], [(1, 1), (2, 16), (1, 1)]),
        ([(one, True), (fewer[1], False), (other, False)], [(1, 1)] * 3),
        ([(other, True), (other, False), (one, False), (two, False)],
         [(1, 1), (1, 1), (2, 16), (1, 1)]),
    ):  # fmt: skip
        scheduled = [Scheduled(*each) for each in operations]
        links = chains(scheduled, threads=1, weights=0)
        assert [(link.operations, link.tiles) for link in links] == wanted


def test_slices_need_no_barrier_between_them_and_one_before_what_reads_them() -> None:
    reader = touching(Access(150, 160, False), Access(9000, 9001, True))
    barriers = [wait for _, wait in schedule([*slices(3), reader])]
    assert barriers == [True, False, False, True]


def test_what_one_thread_does_alone_needs_no_barrier_between() -> None:
    """Only one before what all threads do with the same memory, and after it."""
    read, write = Access(0, 8, False), Access(0, 8, True)
    first, second = (replace(touching(access), alone=True) for access in (write, read))
    shared = touching(replace(read, division=("rows", 4)), Access(8, 16, True, ("rows", 4)))
    ours = touching(replace(write, division=("rows", 4)))
    for operations, wanted in (
        ([first, second, first], [True, False, False]),
        ([first, shared], [True, True]),
        ([first, touching(read)], [True, True]),
        ([ours, first, second, ours], [True, True, False, True]),
    ):
        assert [wait for _, wait in schedule(operations)] == wanted
