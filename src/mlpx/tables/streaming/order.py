"""In which order the rows of a stream come: a function of the seed, the epoch and the files' sizes.

The row groups are permuted. `lanes` of them are open at a time, and a block of rows is taken from
each in turn; a row group that ends makes room for the next. Blocks fill a buffer, and the rows of a
buffer are permuted. Nothing is read for any of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from mlpx.random import Purpose, permutation, words

GROUPS, BUFFERS, SHARES = 1, 2, 3
"""What a permutation is of: the item of its random words."""


class Span(NamedTuple):
    """Consecutive rows of a row group."""

    group: int
    start: int
    stop: int


def shares(rows: Sequence[int], *, seed: int, rank: int, world: int) -> list[Span]:
    """The part of row groups of so many rows that is the one of `rank` among `world`.

    The row groups, in an order drawn from the seed, are cut into shares whose numbers of rows
    differ by one at most. So at most two row groups of a share are shared with others.
    """
    if world == 1:
        return [Span(group, 0, count) for group, count in enumerate(rows) if count]
    order = _drawn(seed, len(rows), epoch=0, item=SHARES)
    stops = np.cumsum(np.asarray(rows, np.int64)[order])
    low, high = _cut(int(stops[-1]), rank, world), _cut(int(stops[-1]), rank + 1, world)
    found = []
    for group, stop in zip(order.tolist(), stops.tolist(), strict=True):
        first = stop - rows[group]
        span = Span(group, max(low, first) - first, min(high, stop) - first)
        if span.start < span.stop:
            found.append(span)
    return found


def _cut(rows: int, rank: int, world: int) -> int:
    return rank * rows // world


def sizes(rows: int, buffer_rows: int, *, total: int, world: int) -> list[int]:
    """How many rows each buffer of a rank with `rows` of `total` rows has.

    All of them `buffer_rows`, but for the last. Every rank has as many buffers as the one with the
    most rows: where one row is lacking for that, the last full buffer gives it.
    """
    most = -(-total // world)
    count = -(-most // buffer_rows)
    full = [buffer_rows] * (count - 1)
    last = rows - sum(full)
    if last < 1 and full:
        full[-1], last = full[-1] - (1 - last), 1
    return [*full, last]


def spans(
    parts: Sequence[Span], *, seed: int, epoch: int, lanes: int, block: int
) -> Iterator[Span]:
    """The rows of an epoch in the order in which they are read, at most `block` at a time."""
    order = _drawn(seed, len(parts), epoch=epoch, item=GROUPS)
    waiting = deque(parts[i] for i in order.tolist())
    turns = deque(waiting.popleft() for _ in range(min(lanes, len(waiting))))
    while turns:
        group, start, stop = turns.popleft()
        end = min(start + block, stop)
        yield Span(group, start, end)
        if end < stop:
            turns.append(Span(group, end, stop))
        elif waiting:
            turns.append(waiting.popleft())


def filled(read: Iterable[Span], counts: Sequence[int]) -> Iterator[list[Span]]:
    """The spans that fill each of the buffers of so many rows."""
    left, rest = iter(read), None
    for count in counts:
        buffer = []
        while count:
            group, start, stop = rest or next(left)
            end = min(stop, start + count)
            buffer.append(Span(group, start, end))
            rest = Span(group, end, stop) if end < stop else None
            count -= end - start
        yield buffer


def within(count: int, *, seed: int, epoch: int, buffer: int) -> np.ndarray:
    """The permutation of the `count` rows of a buffer."""
    raw = words(seed, Purpose.ORDER, count=count, step=buffer, epoch=epoch, item=BUFFERS)
    return permutation(raw)


def spread_out(n: int, count: int, *, seed: int, item: int) -> np.ndarray:
    """`count` of n rows in ascending order: one drawn from each of as many equal parts."""
    edges = np.arange(count + 1, dtype=np.int64) * n // max(1, count)
    raw = words(seed, Purpose.SPLIT, count=count, item=item)
    found: np.ndarray = edges[:-1] + (raw % np.diff(edges).astype(np.uint64)).astype(np.int64)
    return found


def _drawn(seed: int, count: int, *, epoch: int, item: int) -> np.ndarray:
    return permutation(words(seed, Purpose.ORDER, count=count, epoch=epoch, item=item))
