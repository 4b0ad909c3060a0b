"""The clock of the device."""

from __future__ import annotations

from typing import Any


def replay_us(backend: Any, graph: Any, stream: Any) -> float:
    """Microseconds of a replay of a graph, by events, with nothing before it on the device."""
    cuda = backend.xp.cuda
    backend.synchronize()
    start, stop = cuda.Event(), cuda.Event()
    with stream:
        start.record()
        graph.launch(stream)
        stop.record()
    stop.synchronize()
    return float(1e3 * cuda.get_elapsed_time(start, stop))
