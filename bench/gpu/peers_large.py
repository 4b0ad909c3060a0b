"""Wider nets in every arithmetic, beside PyTorch's graph and JAX, and the floor of each."""

from __future__ import annotations

from collections.abc import Iterator

from gpu import peers
from gpu.cells import OURS, Cell
from gpu.section import Row, Setup
from mlpx.benchmark.workloads import WORKLOADS, Workload

WIDE, DEEP = WORKLOADS["wide"], WORKLOADS["deep"]
CELLS = (
    *(Cell(WIDE, 128, kind, 60_000) for kind in ("float32", "tf32")),
    *(Cell(DEEP, 8192, kind) for kind in ("float32", "bf16", "tf32")),
    *(Cell(WIDE, 8192, kind, 1 << 17) for kind in ("float32", "bf16", "tf32")),
    *(Cell(DEEP, 2048, kind) for kind in ("float32", "bf16", "tf32")),
)
"""The most important first; those of one net and batch share their data. The wide net's rows are
enough that ours, which starts each epoch anew where peers go round, does not do so all the time.
"""
TINY = Workload("quick", (6, 4, 2), "relu", "adam", 1e-3)
QUICK = (Cell(TINY, 8, "bf16", 40),)
NAMES = ("torch/graph", OURS, "jax/scan")
BUDGET_S = 110.0


def run(setup: Setup) -> Iterator[Row]:
    """See `peers.Bench.measure`."""
    cells = QUICK if setup.quick else CELLS
    return peers.measure(cells, NAMES, setup, budget_s=BUDGET_S, rounds=7)
