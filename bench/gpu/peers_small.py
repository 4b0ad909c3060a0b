"""784-50-10 at batch 100 beside every peer; the rows are as many as MNIST has."""

from __future__ import annotations

from collections.abc import Iterator

from gpu import peers
from gpu.cells import Cell
from gpu.section import Row, Setup
from mlpx.benchmark.workloads import Workload

SMALL = Workload("small", (784, 50, 10), "sigmoid", "sgd", 0.1)
CELLS = (Cell(SMALL, 100, least_rows=60_000),)
QUICK = (Cell(Workload("quick", (6, 4, 2), "sigmoid", "sgd", 0.1), 8, least_rows=40),)
BUDGET_S = 80.0


def run(setup: Setup) -> Iterator[Row]:
    """See `peers.Bench.measure`; `torch.compile` comes last."""
    cells = QUICK if setup.quick else CELLS
    return peers.measure(cells, peers.EVERYBODY, setup, budget_s=BUDGET_S, rounds=15)
