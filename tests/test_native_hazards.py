"""Where threads have to meet: what they touched is kept short, and nothing of it is lost."""

from __future__ import annotations

import numpy as np

from mlpx.engines.lowering import Access, Operation
from mlpx.engines.native.hazards import Touched, schedule

UPDATES = ("elements", 100)


def touching(*touches: Access) -> Operation:
    return Operation("", (), (), (), touches)


def slices(count: int, size: int = 100) -> list[Operation]:
    """Updates of neighbouring slices of one vector."""
    starts = range(0, count * size, size)
    return [touching(Access(start, start + size, True, UPDATES)) for start in starts]


def test_neighbours_are_one_access() -> None:
    touched = Touched()
    for operation in (*slices(50), touching(Access(0, 5000, False, UPDATES))):
        touched.add(operation)
    assert set(touched.ending.values()) == {
        Access(0, 5000, True, UPDATES), Access(0, 5000, False, UPDATES)
    }  # fmt: skip


def test_they_conflict_as_each_did() -> None:
    """Random accesses of two divisions and none, against all that was added, one by one."""
    rng = np.random.default_rng(0)
    divisions = (("rows", 4), UPDATES, None)
    found = set()
    for _ in range(300):
        touched, added = Touched(), list[Access]()
        for _ in range(rng.integers(1, 12)):
            start, length, of, writes = (int(n) for n in rng.integers((9, 1, 0, 0), (30, 9, 3, 2)))
            access = Access(start, start + length, bool(writes), divisions[of])
            wanted = any(access.conflicts(other) for other in added)
            assert touched.conflicts(touching(access)) == wanted
            found.add(wanted)
            touched.add(touching(access))
            added.append(access)
    assert found == {True, False}


def test_slices_need_no_barrier_between_them_and_one_before_what_reads_them() -> None:
    reader = touching(Access(150, 160, False), Access(9000, 9001, True))
    barriers = [wait for _, wait in schedule([*slices(3), reader])]
    assert barriers == [True, False, False, True]
