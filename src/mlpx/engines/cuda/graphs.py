"""Steps as CUDA graphs: what need not wait for each other runs side by side, on lanes.

A lane is a stream while the graph is captured. Its operations are in order, so they may share what
they work in; across lanes each waits for what it needs, and for nothing else. A step of a small net
takes as long as its longest chain of operations has nodes, so whatever is not on that chain, the
metrics, the labels, gradients of weights, goes beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mlpx.engines.lowering import Operation

Put = Callable[[], Any]
"""Puts an operation on the current stream."""
Launch = tuple[Operation, Put]
LANES = 3
"""The chain, the gradients of weights, and the rest; each has a workspace of its own."""


def capture(
    cuda: Any, launches: Sequence[Launch], steps: int, move_to: Callable[[int], None], last: Put
) -> Any:
    """A graph of so many steps, and of `last` behind them; `move_to` is told which step comes. Its
    streams are of its own, for a failure may spoil them.

    Raises RuntimeError, of whatever class CUDA chooses.
    """
    streams = [cuda.Stream(non_blocking=True) for _ in range(LANES)]
    waits = needs([operation for operation, _ in launches])
    streams[0].begin_capture()
    try:
        for step in range(steps):
            move_to(step)
            put_step(cuda, launches, waits, streams)
        with streams[0]:
            last()
    finally:
        move_to(0)
        graph = streams[0].end_capture()
    return graph


def put_step(
    cuda: Any, launches: Sequence[Launch], waits: list[list[int]], streams: list[Any]
) -> None:
    """One step, forked from the first stream and joined to it."""
    main, *others = streams
    for other in others:
        wait(cuda, other, main)
    done = list[Any]()
    for (operation, put), needed in zip(launches, waits, strict=True):
        stream = streams[operation.lane]
        for j in needed:
            if launches[j][0].lane != operation.lane:
                stream.wait_event(done[j])
        with stream:
            put()
        done.append(stream.record(cuda.Event(disable_timing=True)))
    for other in others:
        wait(cuda, main, other)


def wait(cuda: Any, later: Any, earlier: Any) -> None:
    """Let one stream go on only when another has done what it has."""
    later.wait_event(earlier.record(cuda.Event(disable_timing=True)))


def needs(operations: Sequence[Operation]) -> list[list[int]]:
    """Which others each operation must wait for itself: those before it that touch what it touches,
    but for those that one of them waits for.
    """
    found, behind = list[list[int]](), list[int]()
    for i, operation in enumerate(operations):
        direct, every = list[int](), 0
        for j in reversed(range(i)):
            if not every >> j & 1 and in_order(operation, operations[j]):
                direct.append(j)
                every |= behind[j] | 1 << j
        found.append(direct)
        behind.append(every)
    return found


def lanes(operations: Sequence[Operation]) -> list[int]:
    """The lane of each operation: that of the one it is the heir of, else the one that is waited
    for least, and of those the one that is free first.
    """
    needed = needs(operations)
    height, heir = heirs(needed)
    last, found, depth = [-1] * LANES, list[int](), list[int]()

    def claim(lane: int, i: int) -> int:
        """How long the step would wait for what else is to come on the lane."""
        waiting = heir.get(last[lane], -1)
        return height[waiting] if waiting > i else -1

    def free_at(lane: int) -> int:
        """How many operations come one after the other until the lane is free."""
        return depth[last[lane]] if last[lane] >= 0 else 0

    for i, before in enumerate(needed):
        inherited = [k for k in range(LANES) if heir.get(last[k]) == i]
        chosen = max(inherited, key=lambda k: height[last[k]], default=None)
        if chosen is None:
            chosen = min(range(LANES), key=lambda k: (claim(k, i), free_at(k)))
        depth.append(1 + max([free_at(chosen), *(depth[j] for j in before)]))
        last[chosen] = i
        found.append(chosen)
    return found


def heirs(needed: Sequence[Sequence[int]]) -> tuple[list[int], dict[int, int]]:
    """How long the chain behind each operation is, and its heir: of all that wait for it the one
    that keeps the step waiting longest.
    """
    height, heir = [0] * len(needed), dict[int, int]()
    for i in reversed(range(len(needed))):
        for j in needed[i]:
            height[j] = max(height[j], height[i] + 1)
    for i, before in enumerate(needed):
        for j in before:
            heir[j] = max(heir.get(j, i), i, key=lambda k: (height[k], -k))
    return height, heir


def in_order(operation: Operation, before: Operation) -> bool:
    """Whether the second must be done before the first begins."""
    return any(a.overlaps(b) for a in operation.touches for b in before.touches)
