"""What is measured beside peers: a net at a batch size, its arithmetic, numbers and floors."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from gpu import ceilings
from gpu.devices import free
from gpu.section import Setup
from mlpx.benchmark.check import Judge
from mlpx.benchmark.contenders.base import contender
from mlpx.benchmark.workloads import (
    ARITHMETIC,
    GPU_HOST_THREADS,
    LEAST_ROWS,
    Problem,
    Task,
    Workload,
    make_problem,
)

OURS = "mlpx/cuda"
BIG = 1e11
"""Floating-point operations of a step from which the reference is run on the GPU."""


class Cell(NamedTuple):
    """A net at a batch size, in the arithmetic that all must use."""

    workload: Workload
    batch: int
    arithmetic: str = "float32"
    least_rows: int = LEAST_ROWS

    def __str__(self) -> str:
        net = "-".join(map(str, self.workload.layers))
        return f"{net} {self.workload.optimizer} {self.batch} {self.arithmetic}"

    def task(self, device: str) -> Task:
        """What its contenders are given."""
        dtype, precision = ARITHMETIC[self.arithmetic]
        return Task(
            self.workload, self.batch, dtype=dtype, device=device, precision=precision,
            threads=min(GPU_HOST_THREADS, os.cpu_count() or 1), least_rows=self.least_rows,
        )  # fmt: skip


class Pace(NamedTuple):
    """How long to measure."""

    warm_s: float
    turn_s: float
    rounds: int

    @classmethod
    def of(cls, setup: Setup, *, rounds: int) -> Pace:
        """Turns of 50 ms; a rehearsal only sees that everything works."""
        return cls(0.0, 0.001, 3) if setup.quick else cls(0.2, 0.05, rounds)


def floors_of(cell: Cell, known: ceilings.Ceilings) -> dict[str, float]:
    """The floors of the cell's arithmetic, by what they count."""
    found = ceilings.floors_us(cell.workload, cell.batch, known)
    return {
        name.removeprefix(f"{cell.arithmetic} "): floor_us
        for name, floor_us in found.items()
        if name.startswith(f"{cell.arithmetic} ")
    }


def problem_and_judge(cell: Cell, setup: Setup) -> tuple[Problem, Judge]:
    """The numbers of a cell, and who knows what its steps must leave."""
    task = cell.task(setup.device)
    problem = make_problem(task)
    wanted = None
    if cell.workload.flops(cell.batch, "train") >= BIG:
        with suppress(ImportError, RuntimeError):
            wanted = trained_in_float64(task, problem)
    return problem, Judge(task, problem, wanted=wanted)


def trained_in_float64(task: Task, problem: Problem) -> list[np.ndarray]:
    """What PyTorch's steps in float64 leave: where NumPy would take minutes."""
    wide = Problem(
        problem.x.astype(np.float64), problem.labels, problem.order,
        [W.astype(np.float64) for W in problem.weights],
        [b.astype(np.float64) for b in problem.biases],
    )  # fmt: skip
    made = contender("torch/eager")(replace(task, dtype="float64", precision="float32"), wide)
    made.reset()
    made.run(task.check_steps)
    made.synchronize()
    found = [np.ascontiguousarray(a) for a in made.outcome()]
    del made
    free()
    return found
