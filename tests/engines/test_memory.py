"""What training keeps in memory is what docs/memory.md says, and steps allocate nothing."""

from __future__ import annotations

import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Optimizer
from mlpx.engines import Engine, choose
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram

pytestmark = pytest.mark.xdist_group("alone")

ENGINES = [name for name in Engine.table if not Engine.table[name]().missing()]
TABLES = 3 * 8 + 8  # a step's line of the log, its numbers of the optimizer, and its order


def formula(widths: list[int], rows: int, *, moments: int, item: int, threads: int = 1) -> int:
    """Bytes, as docs/memory.md has them, for Dense layers and softmax cross-entropy of labels."""
    d, *hidden, k = widths
    parameters = sum((a + 1) * b for a, b in pairwise(widths))
    row = d + 2 * sum(hidden) + sum(set(hidden)) + 7 * k + 10
    return item * (parameters * (2 + moments + threads - 1) + rows * row)


def make(widths: list[int], rows: int, optimizer: str, dtype: str) -> TrainingProgram:
    model, rule = MLP(widths, dtype=dtype), Optimizer.resolve(optimizer)
    data = TrainingData(np.ones((4 * rows, widths[0]), dtype), np.zeros(4 * rows, np.int64), None)
    moments = {name: np.zeros_like(model.flat) for name in rule.moments}
    return TrainingProgram(
        model, data, optimizer=rule, moments=moments, batch_size=rows, rows=4 * rows
    )


@pytest.mark.parametrize("widths", [[784, 50, 10], [20, 64, 64, 2], [300, 120, 60, 30, 5]])
@pytest.mark.parametrize(("optimizer", "moments"), [("sgd", 0), ("momentum", 1), ("adam", 2)])
def test_arrays_are_those_of_the_formula(widths: list[int], optimizer: str, moments: int) -> None:
    program = make(widths, 256, optimizer, "float64")
    flat = program.network.flat.nbytes
    found = (2 + moments) * flat + program.buffers.nbytes
    assert program.gradient.nbytes == flat
    assert len(program.moments) == moments
    assert found == pytest.approx(formula(widths, 256, moments=moments, item=8), rel=0.01)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 2])
def test_fit_takes_no_more_than_that(engine: str, threads: int) -> None:
    widths, rows = [200, 80, 10], 512
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8 * rows, 200)).astype("float32"), rng.integers(0, 10, size=8 * rows)
    options: dict[str, Any] = {"batch_size": rows, "engine": engine, "threads": threads}
    MLP(widths).fit(x, y, epochs=1, verbose=0, **options)  # what modules keep for themselves
    model = MLP(widths)
    tracemalloc.start()
    try:
        model.fit(x, y, epochs=2, optimizer="adam", verbose=0, check_finite=False, **options)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    wanted = formula(widths, rows, moments=2, item=4, threads=threads) - model.flat.nbytes
    slices = 2 * 4 * min(65536, model.flat.size)  # the rule's scratch
    assert peak < 1.05 * wanted + slices + len(x) * TABLES + 100_000


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_thousand_steps_leave_nothing(engine: str, threads: int) -> None:
    program = make([20, 16, 3], 8, "adam", "float32")
    assert program.full is not None
    execute = choose(engine, program, threads=threads).runner
    program.start_epoch(np.arange(32), step=0)
    execute(program.full, 1)
    tracemalloc.start()
    try:
        for _ in range(100):  # what Python keeps for itself
            program.state[0] = 0
            execute(program.full, 2)
        grown = []
        for _ in range(3):  # what is left behind each time, not what another thread made meanwhile
            before = tracemalloc.get_traced_memory()[0]
            for _ in range(500):
                program.state[0] = 0
                execute(program.full, 2)
            grown.append(tracemalloc.get_traced_memory()[0] - before)
        assert min(grown) < 300
    finally:
        tracemalloc.stop()
