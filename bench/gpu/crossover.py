"""From which batch on a step is shorter on the GPU, for each of the benchmark's nets; and what
`placement` believes. Its constants are to be written from these figures.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from gpu.faults import lost, said
from gpu.section import Row, Setup
from mlpx.backend import get_backend
from mlpx.backend.cpu import usable_cores
from mlpx.benchmark.workloads import WORKLOADS, Workload
from mlpx.engines import choose, placement
from mlpx.engines.cuda.replayer import largest
from mlpx.mlp import MLP
from mlpx.optimizers import Optimizer
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram

NETS = ("tabular", "mnist", "wide", "deep")
BATCHES = (1, 8, 32, 128, 512, 2048, 8192)
MOST_STEPS, QUICK_STEPS, MOST_ROWS = 128, 4, 32_768
"""Of an epoch."""
RUN_S, ROUNDS = 0.03, 5
"""How long a run of steps is to take, and how many are measured."""
TOO_SLOW = 10.0
"""So many times slower, larger batches of the CPU are not timed."""
ENGINES = {"cpu": "auto", "cuda": "cuda"}


class Times(NamedTuple):
    """Of a step at a batch size."""

    batch: int
    cpu_us: float
    cuda_us: float


def run(setup: Setup) -> Iterator[Row]:
    names, batches = (NETS[:1], (1, 8)) if setup.quick else (NETS, BATCHES)
    for name in names:
        try:
            yield from compare(WORKLOADS[name], batches, setup)
        except Exception as error:
            yield {"net": name, "passed": False, "why": said(error)}
        gone = lost(get_backend(setup.device))
        if gone:
            yield {"net": "the rest", "passed": False, "why": f"the device is lost: {gone}"}
            return


def compare(workload: Workload, batches: tuple[int, ...], setup: Setup) -> Iterator[Row]:
    """A row a batch, the smallest first, and then where the GPU overtakes."""
    rows = max(rows_of(batch, setup.quick) for batch in batches)
    trainers = [Trainer(workload, rows, device, setup.quick) for device in (setup.device, "cpu")]
    model, times = trainers[0].model, list[Times]()
    for batch in batches:
        row: Row = {"net": workload.name, "batch": batch, "layers": list(workload.layers)}
        row |= {"optimizer": workload.optimizer, "passed": True}
        row |= {f"predicted_{kind}_us": us for kind, us in predicted(model, batch).items()}
        for trainer in trainers:
            row |= tried(trainer, batch)
        yield row
        if "cuda_us" in row and "cpu_us" in row:
            times.append(Times(batch, row["cpu_us"], row["cuda_us"]))
            if row["cpu_us"] > TOO_SLOW * row["cuda_us"]:
                del trainers[1:]
    yield {"net": workload.name} | crossing(times, model)


def tried(trainer: Trainer, batch: int) -> Row:
    """The columns of one device in a row."""
    kind = trainer.kind
    try:
        found = trainer.measure(batch)
    except Exception as error:  # the other device may work
        return {"passed": False, "why": f"{kind}: {said(error)}"}
    row = {f"{kind}_{name}": value for name, value in found.items()}
    if kind == "cuda" and found["reason"] != "asked for":
        row |= {"passed": False, "why": found["reason"]}
    return row


def predicted(model: MLP, batch: int) -> dict[str, float]:
    """Microseconds of a step by `placement`."""
    speeds = {"cpu": placement.cpu_speed(), "cuda": placement.CUDA}
    return {kind: placement.step_us(model, batch, speed) for kind, speed in speeds.items()}


def crossing(times: list[Times], model: MLP) -> Row:
    """The first batch from which on the GPU's step is the shorter one, None if there is none; where
    between two batches that is; and where `placement` believes it.
    """
    slower = [i for i, each in enumerate(times) if each.cuda_us >= each.cpu_us]
    first = slower[-1] + 1 if slower else 0
    row: Row = {"what": "crossover", "batch": times[first].batch if first < len(times) else None}
    if 0 < first < len(times):
        row["about"] = between(times[first - 1], times[first])
    estimates = ((n, predicted(model, n)) for n in range(1, BATCHES[-1] + 1))
    row["predicted"] = next((n for n, us in estimates if us["cuda"] < us["cpu"]), None)
    return row | ({"why": "the CPU's is shorter at every batch"} if row["batch"] is None else {})


def between(slower: Times, faster: Times) -> float:
    """The batch of equal times, by a straight line through their logarithms."""
    above, below = (math.log(each.cuda_us / each.cpu_us) for each in (slower, faster))
    share = above / (above - below)
    return float(slower.batch * (faster.batch / slower.batch) ** share)


def rows_of(batch: int, quick: bool) -> int:
    """Of an epoch of so many full batches."""
    most = QUICK_STEPS if quick else MOST_STEPS
    return batch * max(1, min(most, MOST_ROWS // batch))


class Trainer:
    """A net on a device, with data; its weights are not zeros, which multiply faster."""

    def __init__(self, workload: Workload, rows: int, device: str, quick: bool) -> None:
        self.quick, self.backend = quick, get_backend(device)
        self.kind = self.backend.kind
        rng, d = np.random.default_rng(1), workload.layers[0]
        self.model = MLP(
            workload.layers, activation=workload.activation, initializer="zeros", device=device
        )
        weights = rng.standard_normal(self.model.layout.size, np.float32)
        self.backend.upload(0.02 * weights, out=self.model.flat)
        self.x = self.backend.asarray(rng.random((rows, d), np.float32))
        self.y = self.backend.asarray(rng.integers(0, workload.layers[-1], rows))
        self.order = rng.permutation(rows)
        self.optimizer = Optimizer.resolve(workload.optimizer)
        size, dtype = self.model.layout.size, self.model.dtype
        self.moments = {name: self.backend.zeros(size, dtype) for name in self.optimizer.moments}

    def measure(self, batch: int) -> Row:
        """Microseconds of a step, by whom, and on how many threads."""
        rows = rows_of(batch, self.quick)
        program = TrainingProgram(
            self.model, TrainingData(self.x[:rows], self.y[:rows], None), batch_size=batch,
            rows=rows, optimizer=self.optimizer, moments=self.moments,
        )  # fmt: skip
        engine, reason, execute = choose(ENGINES[self.kind], program)
        us, steps = self.step_us(partial(self.seconds, program, execute), program.full_steps)
        row: Row = {"us": us, "steps": steps, "engine": engine.name}
        row["reason"] = "; ".join([reason, *engine.notes(execute)])
        if self.kind == "cpu":
            row["threads"] = getattr(execute, "threads", usable_cores())
        return row

    def step_us(self, run: Callable[[int], float], most: int) -> tuple[float, int]:
        """The median time of a step in runs of as many as are worth it."""
        run(1)
        steps = largest(min(most, int((0.0 if self.quick else RUN_S) / run(1))))
        for _ in range(2):  # a graph of a few steps is captured when a second run has use for it
            run(steps)
        found = [run(steps) for _ in range(1 if self.quick else ROUNDS)]
        return 1e6 * median(found) / steps, steps

    def seconds(self, program: TrainingProgram, execute: Any, steps: int) -> float:
        """Of so many steps from the start of an epoch."""
        assert program.full is not None
        program.start_epoch(self.order[self.order < program.rows], step=0)
        self.backend.synchronize()
        started_s = time.perf_counter()
        execute(program.full, steps)
        self.backend.synchronize()
        return time.perf_counter() - started_s
