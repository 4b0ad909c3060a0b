"""Our own step on the GPU: by graphs of one and of many steps, on one lane and on more, and each of
its operations alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from statistics import median
from typing import Any, NamedTuple
from unittest.mock import patch

import numpy as np

from gpu.data import images
from gpu.section import Row, Setup
from gpu.timing import replay_us
from mlpx.backend import get_backend
from mlpx.engines import choose
from mlpx.engines.cuda import composed, graphs, planner, runner
from mlpx.engines.cuda.graphs import LANES
from mlpx.engines.cuda.prefetch import Prefetched
from mlpx.engines.cuda.products import FACTORS
from mlpx.engines.cuda.runner import MOST_STEPS, CudaRunner
from mlpx.layers import Rescale
from mlpx.mlp import MLP
from mlpx.optimizers import Optimizer
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram

ROUNDS, QUICK_ROUNDS = 7, 2
REPEATED, QUICK_REPEATED = 50, 2
"""How often an operation stands in the graph that times it."""
ROWS, QUICK_ROWS = 60_000, 40


class Net(NamedTuple):
    """What is trained, from bytes."""

    hidden: tuple[int, ...]
    activation: str
    optimizer: str
    batch_size: int
    precision: str = "float32"


NETS = (
    Net((50,), "sigmoid", "sgd", 100),
    Net((512, 512), "relu", "adam", 128),
    Net((512, 512), "relu", "adam", 8192),
    Net((512, 512), "relu", "adam", 8192, "tf32"),
    Net((512, 512), "relu", "adam", 8192, "bf16"),
)


class Way(NamedTuple):
    """How a step is put on the device."""

    graph_steps: int = MOST_STEPS
    lanes: int = LANES
    heads: bool = True
    """Whether the end of the classifier is one launch."""
    rows_ahead: bool = True
    """Whether the next step's rows are gathered beside this step's update."""

    def patches(self) -> Iterator[tuple[Any, str, Any]]:
        """The module, the name and the value of all that it changes."""
        yield runner, "MOST_STEPS", self.graph_steps
        yield from ((module, "LANES", self.lanes) for module in (graphs, planner))
        if not self.heads:
            yield composed, "with_heads", list
        if not self.rows_ahead:
            yield composed, "with_rows", lambda program, plan, found: Prefetched(list(found), [])


WAYS = (
    Way(),
    Way(graph_steps=1),
    Way(lanes=1),
    Way(lanes=2),
    Way(heads=False),
    Way(rows_ahead=False),
)


def run(setup: Setup) -> Iterator[Row]:
    for net in NETS[:1] if setup.quick else NETS:
        described = {"network": [784, *net.hidden, 10]} | {
            name: getattr(net, name) for name in ("optimizer", "batch_size", "precision")
        }
        try:
            for row in measure(net, setup):
                yield described | row
        except Exception as error:
            yield described | {"passed": False, "why": f"{type(error).__name__}: {error}"}


def measure(net: Net, setup: Setup) -> Iterator[Row]:
    """The step in each way, then its operations."""
    bench = Bench(net, setup)
    for way in WAYS:
        row: Row = {"what": "step"} | way._asdict()
        with ExitStack() as stack:
            for module, name, value in way.patches():
                stack.enter_context(patch.object(module, name, value))
            execute = bench.runner()
            row |= {"step_us": bench.step_us(execute), "nodes": len(bench.launches(execute))}
        yield row | {"passed": not execute.notes, "why": "; ".join(execute.notes)}
    execute = bench.runner()
    yield {"what": "operations", "us": bench.operations(execute)}
    yield {"what": "products of our own", "us": bench.own_products(execute)}


class Bench:
    """A net with its data, and the clock of its device."""

    def __init__(self, net: Net, setup: Setup) -> None:
        self.quick = setup.quick
        rows = QUICK_ROWS if setup.quick else ROWS
        x, y = images(rows)
        self.backend: Any = get_backend(setup.device)
        self.cuda: Any = self.backend.xp.cuda
        model = MLP(
            [784, Rescale(1 / 255), *net.hidden, 10], activation=net.activation, device=setup.device
        )
        optimizer = Optimizer.resolve(net.optimizer)
        moments = {
            name: self.backend.zeros(model.layout.size, model.dtype) for name in optimizer.moments
        }
        data = TrainingData(self.backend.asarray(x), self.backend.asarray(y), None)
        self.program = TrainingProgram(
            model, data, optimizer=optimizer, moments=moments, precision=net.precision,
            batch_size=min(net.batch_size, rows // 2), rows=rows,
        )  # fmt: skip
        self.order = np.random.default_rng(1).permutation(rows)
        self.rounds = QUICK_ROUNDS if setup.quick else ROUNDS
        self.repeated = QUICK_REPEATED if setup.quick else REPEATED

    def runner(self) -> CudaRunner:
        made = choose("cuda", self.program).runner
        assert isinstance(made, CudaRunner)
        return made

    def launches(self, execute: CudaRunner) -> list[graphs.Launch]:
        return execute.replayer.launches[id(self.program.full)]

    def step_us(self, execute: CudaRunner) -> float:
        """The median time of a step in an epoch of full batches."""
        plan, steps = self.program.full, self.program.full_steps
        assert plan is not None
        found = [self.time(partial(execute, plan, steps)) / steps for _ in range(self.rounds + 1)]
        return median(found[1:])

    def time(self, call: Callable[[], Any]) -> float:
        """Microseconds of what a call puts on the device, from the start of an epoch."""
        self.program.start_epoch(self.order, step=0)
        with self.cuda.Device(self.backend.index):
            start, stop = self.cuda.Event(), self.cuda.Event()
            self.backend.synchronize()
            start.record()
            call()
            stop.record()
            stop.synchronize()
            return float(1e3 * self.cuda.get_elapsed_time(start, stop))

    def operations(self, execute: CudaRunner) -> dict[str, float]:
        """Microseconds of each operation behind itself in a graph: its node and what it does."""
        assert self.program.full is not None
        self.time(partial(execute, self.program.full, 1))
        found: dict[str, float] = {}
        for i, (operation, put) in enumerate(self.launches(execute)):
            sizes = "x".join(map(str, operation.n[:3]))
            found[f"{i} {operation.name} {sizes}"] = self.repeated_us(put)
        return found

    def own_products(self, execute: CudaRunner) -> dict[str, float]:
        """The same of the products by our own kernels instead of cublasLt's."""
        found: dict[str, float] = {}
        for i, (operation, _) in enumerate(self.launches(execute)):
            if operation.name in FACTORS:
                sizes = "x".join(map(str, operation.n[:3]))
                put = execute.planner.launcher(operation)
                found[f"{i} {operation.name} {sizes}"] = self.repeated_us(put)
        return found

    def repeated_us(self, put: graphs.Put) -> float:
        """Microseconds of a launch in a graph of many of it."""
        with self.cuda.Device(self.backend.index):
            stream = self.cuda.Stream(non_blocking=True)
            with stream:
                put()
                stream.begin_capture()
                for _ in range(self.repeated):
                    put()
                graph = stream.end_capture()
            times = []
            for _ in range(self.rounds):
                # so that positions stay inside the tables, whatever advances them
                self.program.start_epoch(self.order, step=0)
                times.append(replay_us(self.backend, graph, stream) / self.repeated)
        return float(median(times))
