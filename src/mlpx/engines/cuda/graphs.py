"""Steps as CUDA graphs: operations that need not wait for each other run side by side, on lanes.

A lane is a stream while the graph is captured. Its operations run in order, so they may share the
memory they work in; across lanes each waits for what it needs, and for nothing else. The time of a
small net's step is that of its longest chain of operations, so whatever is not on that chain, such
as metrics, labels and gradients of weights, goes beside it.
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
    """A graph of so many steps, and of `last` behind them; `move_to` is told which step comes next.
    It is captured on streams of its own, since a failure may leave them unusable.

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
    """Have one stream wait for what another has been given."""
    later.wait_event(earlier.record(cuda.Event(disable_timing=True)))


def needs(operations: Sequence[Operation]) -> list[list[int]]:
    """The operations that each must wait for: those before it that touch what it touches, without
    those that another of them waits for already.
    """
    needed, behind = list[list[int]](), list[int]()
    for i, operation in enumerate(operations):
        direct, every = list[int](), 0
        for j in reversed(range(i)):
            if not every >> j & 1 and in_order(operation, operations[j]):
                direct.append(j)
                every |= behind[j] | 1 << j
        needed.append(direct)
        behind.append(every)
    return needed


def lanes(operations: Sequence[Operation]) -> list[int]:
    """The lane of each operation.

    Of the operations that wait for one, its heir is the one with the longest chain of operations
    behind it, and goes on the same lane. An operation that is nobody's heir goes where the shortest
    chain is still to come: a lane whose last operation has an heir to come is claimed by that. Of
    lanes that are equal in this, it takes the one that is free first.

    For example, a step of two layers:

        operation        reads     writes  waits for  behind it  heir of  lane
        0 outputs        x W       z       -          4          -        0
        1 loss           z         dz      0          3          0        0
        2 mean loss      dz        line    1          0          -        1
        3 way back       dz W      dh      1          2          1        0
        4 last weights   dz        dV      1          1          -        2
        5 first weights  x dh      dU      3          1          3        0
        6 rule           dU dV     W       5 4        0          5 4      0

    Three operations wait for the loss. The longest chain is behind 3, which so stays on lane 0; 2
    finds lane 0 claimed by 3 and goes on lane 1. When 4 is placed, lane 0 is claimed by 5, and lane
    1 is free only after 2, so it goes on lane 2, which is empty. 6 is the heir of 5 and of 4, whose
    chains are equally long, and goes on the first of their lanes. The chain 0 1 3 5 6 is on one
    lane and waits for nothing beside it except, at its end, for 4.
    """
    needed = needs(operations)
    height, heir = heirs(needed)
    last, placed, depth = [-1] * LANES, list[int](), list[int]()

    def claim(lane: int, i: int) -> int:
        """The length of the chain that is still to come on the lane, -1 for none."""
        waiting = heir.get(last[lane], -1)
        return height[waiting] if waiting > i else -1

    def free_at(lane: int) -> int:
        """How many operations run one after the other until the lane is free."""
        return depth[last[lane]] if last[lane] >= 0 else 0

    for i, before in enumerate(needed):
        inherited = [k for k in range(LANES) if heir.get(last[k]) == i]
        chosen = max(inherited, key=lambda k: height[last[k]], default=None)
        if chosen is None:
            chosen = min(range(LANES), key=lambda k: (claim(k, i), free_at(k)))
        depth.append(1 + max([free_at(chosen), *(depth[j] for j in before)]))
        last[chosen] = i
        placed.append(chosen)
    return placed


def heirs(needed: Sequence[Sequence[int]]) -> tuple[list[int], dict[int, int]]:
    """The length of the longest chain behind each operation, and each operation's heir: of those
    that wait for it, the one with the longest chain behind it.
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
    """Whether `before` must be done when `operation` begins."""
    return any(a.overlaps(b) for a in operation.touches for b in before.touches)
