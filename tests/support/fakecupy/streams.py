"""Streams, events and graphs that run late: what waits for nothing has not happened.

The null stream runs at once, as the functions of the fake do. Any other stream keeps what it is
given until something waits for it: an event, a synchronisation. So a wait that is missing is seen
in the numbers; one for the null stream that is missing is refused. A captured graph runs its nodes
in a random order that its edges allow.
"""

from __future__ import annotations

import functools
import random
import threading
import time
import weakref
from collections.abc import Callable
from operator import or_

from .state import CUDARuntimeError, counters, cuda_call, machine, require_driver

UNJOINED = 904  # cudaErrorStreamCaptureUnjoined
INVALIDATED = 901  # cudaErrorStreamCaptureInvalidated
alive: weakref.WeakValueDictionary[int, Stream] = weakref.WeakValueDictionary()
_local = threading.local()


class Node:
    """Something to do in a graph, after others. `bit` tells it from the graph's other nodes."""

    def __init__(self, action: Callable[[], None], after: list[Node], room: int | None,
                 bit: int) -> None:  # fmt: skip
        self.action, self.after, self.room, self.bit = action, after, room, bit
        self.before = functools.reduce(or_, (node.before | node.bit for node in after), 0)
        """The bits of all that is surely done before."""

    def follows(self, other: Node) -> bool:
        """Whether the other is surely done before."""
        return bool(self.before & other.bit)


class Graph:
    """A captured graph."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.joined: list[Stream] = []
        self.launches = 0
        self.random = random.Random(1)

    def launch(self, stream: Stream | None = None) -> None:
        cuda_call("graphLaunch")
        self.launches += 1
        (stream or current()).put(self._run)

    def upload(self, stream: Stream | None = None) -> None:
        cuda_call("graphUpload")

    def _run(self) -> None:
        waits = {node: len(set(node.after)) for node in self.nodes}
        behind: dict[Node, list[Node]] = {node: [] for node in self.nodes}
        for node in self.nodes:
            for before in set(node.after):
                behind[before].append(node)
        ready = [node for node, count in waits.items() if count == 0]
        while ready:
            node = ready.pop(self.random.randrange(len(ready)))
            node.action()
            for other in behind[node]:
                waits[other] -= 1
                if waits[other] == 0:
                    ready.append(other)


class Stream:
    """A stream that does what it was given when something waits for it."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False,
                 *, priority: int | None = None) -> None:  # fmt: skip
        require_driver()
        if not null:
            cuda_call("streamCreate")
        self.is_non_blocking = non_blocking
        self.ptr = 0 if null else id(self)
        self.device_id = machine.current
        self.queue: list[Callable[[], None]] = []
        self.finished = 0
        self.graph: Graph | None = None
        self.last: list[Node] = []
        self.seen = getattr(_local, "waited", 0)
        """How much of the null stream's work is surely done before what comes now."""
        alive[self.ptr] = self

    def __enter__(self) -> Stream:
        stack().append(self)
        return self

    def __exit__(self, *_: object) -> None:
        stack().pop()

    def use(self) -> Stream:
        stack()[-1] = self
        return self

    @property
    def done(self) -> bool:
        return self.finished == len(self.queue)

    def put(self, action: Callable[[], None], room: int | None = None) -> None:
        """Do something when its turn comes; `room` is memory that it works in."""
        if self.graph is not None:
            node = Node(action, self.last, room, 1 << len(self.graph.nodes))
            for other in self.graph.nodes:
                shared = room is not None and other.room == room
                assert not shared or node.follows(other), "two at a time in one workspace"
            self.graph.nodes.append(node)
            self.last = [node]
        elif self.ptr == 0:
            action()
        else:
            assert self.seen >= work(), "this stream does not wait for the null stream's last work"
            self.queue.append(action)

    def run(self, stop: int | None = None) -> None:
        """Do what is queued, up to `stop`."""
        stop = len(self.queue) if stop is None else stop
        while self.finished < stop:
            self.finished += 1
            self.queue[self.finished - 1]()

    def synchronize(self) -> None:
        cuda_call("streamSynchronize")
        counters.wait()
        self.run()

    def record(self, event: Event | None = None) -> Event:
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        cuda_call("streamWaitEvent")
        if event.nodes is not None:
            if self.graph is None:
                assert event.graph is not None
                self.graph, self.last = event.graph, []
                self.graph.joined.append(self)
            self.last = [*self.last, *event.nodes]
        else:
            self.seen = max(self.seen, event.work)
            self.put(event.run)

    def begin_capture(self, mode: int | None = None) -> None:
        cuda_call("streamBeginCapture")
        if self.ptr == 0:
            raise RuntimeError("the default stream cannot be captured")
        self.graph, self.last = Graph(), []

    def end_capture(self) -> Graph:
        graph, ends = self.graph, self.last
        if graph is None:
            raise CUDARuntimeError(401, "cudaErrorIllegalState: the stream is not captured")
        for stream in [self, *graph.joined]:
            stream.graph, stream.last = None, []
        cuda_call("streamEndCapture")
        reached = functools.reduce(or_, (node.before | node.bit for node in ends), 0)
        if reached.bit_count() < len(graph.nodes):
            raise CUDARuntimeError(UNJOINED, "cudaErrorStreamCaptureUnjoined")
        return graph

    def is_capturing(self) -> bool:
        return self.graph is not None


class Event:
    """A place in a stream."""

    def __init__(self, block: bool = False, disable_timing: bool = False,
                 interprocess: bool = False) -> None:  # fmt: skip
        cuda_call("eventCreate")
        self.ptr = id(self)
        self.timed = not disable_timing
        self.recorded_s = 0.0
        self.stream: Stream | None = None
        self.position = 0
        self.nodes: list[Node] | None = None
        self.graph: Graph | None = None
        self.work = 0

    def record(self, stream: Stream | None = None) -> None:
        cuda_call("eventRecord")
        stream = stream or current()
        self.nodes = self.graph = None
        if stream.graph is not None:
            self.nodes, self.graph = stream.last, stream.graph
            return
        if stream.ptr == 0:
            self.work = work()
        stream.put(self._happen)
        self.stream, self.position = stream, len(stream.queue)

    def _happen(self) -> None:
        self.recorded_s = time.perf_counter()

    @property
    def done(self) -> bool:
        return self.stream is None or self.stream.finished >= self.position

    def run(self) -> None:
        """Do all that is before the event."""
        if self.stream is not None:
            self.stream.run(self.position)

    def synchronize(self) -> None:
        cuda_call("eventSynchronize")
        counters.wait()
        self.run()


def elapsed_ms(start: Event, end: Event) -> float:
    """Milliseconds between two events."""
    if not (start.timed and end.timed):
        raise CUDARuntimeError(400, "cudaErrorInvalidResourceHandle: invalid resource handle")
    return 1e3 * (end.recorded_s - start.recorded_s)


def stack() -> list[Stream]:
    """This thread's current streams, the innermost last."""
    if not hasattr(_local, "stack"):
        _local.stack = [null]
    found: list[Stream] = _local.stack
    return found


def current() -> Stream:
    """The current stream of this thread."""
    return stack()[-1]


def capturing() -> bool:
    """Whether this thread's current stream is captured."""
    return current().graph is not None


def work() -> int:
    """How often this thread has given the null stream something to do."""
    return getattr(_local, "work", 0)


def worked() -> None:
    """The null stream was given something to do."""
    _local.work = work() + 1


def run_all() -> None:
    """What waiting for the device does."""
    _local.waited = work()
    for stream in list(alive.values()):
        stream.run()
        stream.seen = max(stream.seen, work())


null = Stream(null=True)
Stream.null = null
