"""The time of a training step, ours and the peers', each contender checked for equal results."""

from __future__ import annotations

import time
from importlib.util import find_spec
from typing import Any

import gpu_ceilings
from mlpx.benchmark import session
from mlpx.benchmark.rounds import Rules
from mlpx.benchmark.workloads import WORKLOADS, Task, Workload

Cell = tuple[Workload, int]
SMALL = Workload("small", (784, 50, 10), "sigmoid", "sgd", 0.1)
WIDE = WORKLOADS["wide"]
NARROW = Workload("narrow", (64, 64, 64, 64, 64), "relu", "adam", 1e-3)
DEEP = WORKLOADS["deep"]
CELLS: dict[str, tuple[Cell, ...]] = {
    "small": ((SMALL, 100), (WIDE, 128), (SMALL, 1024)),
    "wide": (
        *((WIDE, 8192), (DEEP, 2048), (NARROW, 1 << 16), (WIDE, 1024), (DEEP, 8192)),
        *((NARROW, 1 << 20), (DEEP, 512), (NARROW, 1 << 14)),
    ),
}
"""What is measured, the most important first."""
QUICK: tuple[Cell, ...] = ((Workload("quick", (6, 4, 2), "relu", "adam", 1e-3), 8),)
PEERS = ("torch", "jax")
CELL_S = 40.0
BUILD_S = 80.0
"""What a cell takes beside its rounds, about: compilers are slow."""


class Quiet:
    """Watches in silence."""

    def cell(self, task: Task, names: list[str]) -> None:
        pass

    def says(self, task: Task, name: str, text: str) -> None:
        print(f"  {task.workload.name} {task.batch_size}: {name}: {text}", flush=True)

    def rounds(self, task: Task, seats: Any) -> None:
        pass


def measure(part: str, device: str, *, deadline_s: float, quick: bool) -> dict[str, Any]:
    """As many cells of a part as there is time for, until `deadline_s` of the clock."""
    from mlpx import get_backend

    backend = get_backend(device)
    ceilings = gpu_ceilings.measure(backend, quick=quick) if backend.kind == "cuda" else {}
    cells, left_out = [], []
    for workload, batch in QUICK if quick else CELLS[part]:
        name = f"{'-'.join(map(str, workload.layers))} {workload.optimizer} {batch}"
        if time.perf_counter() + CELL_S + BUILD_S > deadline_s and not quick:
            left_out.append(name)
            continue
        floors = gpu_ceilings.floors_us(workload, batch, ceilings) if ceilings else {}
        cells.append({"cell": name, "floors_us": floors} | cell(workload, batch, device, quick))
    return {"ceilings": ceilings, "cells": cells, "left_out_for_want_of_time": left_out}


def cell(workload: Workload, batch: int, device: str, quick: bool) -> dict[str, Any]:
    """One workload at one batch size: microseconds of a step by contender, or why there are none.

    `best_peer_over_ours`: how many times faster the fastest of our contenders is.
    """
    settings = session.Settings(
        workloads=(workload,),
        batch_sizes=(batch,),
        devices=(device,),
        peers=() if quick else tuple(name for name in PEERS if find_spec(name)),
        rules=Rules.quick() if quick else Rules(budget_s=CELL_S, accept_noise=True),
    )
    (found,) = session.run(settings, watcher=Quiet())["cells"]
    rows = {row["contender"]: row for row in found["results"]}
    times = {name: 1e6 * row["step_s"]["median"] for name, row in rows.items() if "step_s" in row}
    why = {name: row["reason"] for name, row in rows.items() if row.get("reason")}
    ours = [t for name, t in times.items() if name.startswith("mlpx/")]
    theirs = [t for name, t in times.items() if name.split("/")[0] in PEERS]
    ratio = min(theirs) / min(ours) if ours and theirs else None
    return {"step_us": times, "not_timed": why, "best_peer_over_ours": ratio}
