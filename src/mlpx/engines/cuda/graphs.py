"""Steps as CUDA graphs: what may be put off runs beside the rest, on a branch of the graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mlpx.engines.lowering import Operation

Put = Callable[[], Any]
"""Puts an operation on the current stream."""
Launch = tuple[Operation, Put]


def capture(cuda: Any, launches: Iterable[Launch], steps: int) -> Any:
    """A graph of so many steps; its streams are of its own, for a failure may spoil them.

    Raises RuntimeError, of whatever class CUDA chooses.
    """
    main, side = (cuda.Stream(non_blocking=True) for _ in range(2))
    launches = list(launches)
    main.begin_capture()
    try:
        for _ in range(steps):
            put_forked(cuda, launches, main, side)
    finally:
        graph = main.end_capture()
    return graph


def put_forked(cuda: Any, launches: list[Launch], main: Any, side: Any) -> None:
    """One step: operations that may be late go to `side`, until one on `main` touches what they do.

    Each of them waits for all that is on `main` before it.
    """
    put_off: list[Operation] = []
    for operation, put in launches:
        if operation.late:
            wait(cuda, side, main)
            with side:
                put()
            put_off.append(operation)
            continue
        if any(in_order(operation, before) for before in put_off):
            wait(cuda, main, side)
            put_off = []
        with main:
            put()
    if put_off:
        wait(cuda, main, side)


def wait(cuda: Any, later: Any, earlier: Any) -> None:
    """Let one stream go on only when another has done what it has."""
    later.wait_event(earlier.record(cuda.Event(disable_timing=True)))


def in_order(operation: Operation, before: Operation) -> bool:
    """Whether the second must be done before the first begins."""
    return any(a.overlaps(b) for a in operation.touches for b in before.touches)
