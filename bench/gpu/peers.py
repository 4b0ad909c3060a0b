"""The time of a training step, ours and the peers', in one process and in turns.

Each contender is compared with a float64 reference before its time counts. All of them share the
GPU's one context; whoever has a turn finds the device idle and leaves it so.
"""

from __future__ import annotations

import gc
import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any

from gpu import ceilings
from gpu.cells import OURS, Cell, Pace, floors_of, problem_and_judge
from gpu.devices import device_lost, device_of, engine, free, installed, plain, said
from gpu.section import Row, Setup
from mlpx import get_backend
from mlpx.benchmark.check import Judge
from mlpx.benchmark.contenders.base import Contender, contender
from mlpx.benchmark.timing import steps_for, timed, warm_up
from mlpx.benchmark.workloads import Problem

EAGER = "torch/fused"
COMPILED = ("torch/whole", "torch/compiled")
GRAPHS = ("torch/graph", "jax/scan", *COMPILED)
EVERYBODY = (EAGER, "torch/graph", OURS, "jax/scan", *COMPILED)
"""In order: an engine that takes the device down with it leaves two peers' times behind."""
"""The peers that hand a whole step or many to the device at once, or compile what they hand."""
COMPILE_S = 30.0
"""`torch.compile` is not begun with less than this left: nobody can stop it."""
RESETTABLE = 1_000_000
"""Parameters up to which every turn starts from the first weights; others would wait for uploads
longer than they train.
"""


@dataclass
class Seat:
    """A contender that was checked, how many steps its turns have, and what they took."""

    name: str
    contender: Contender
    steps: int
    agrees: bool
    wall_us: list[float] = field(default_factory=list)
    device_us: list[float] = field(default_factory=list)


@dataclass
class Bench:
    """The contenders of one cell."""

    cell: Cell
    setup: Setup
    pace: Pace
    deadline_s: float
    problem: Problem
    judge: Judge
    floors_us: dict[str, float] = field(default_factory=dict)
    seats: list[Seat] = field(default_factory=list)

    def measure(self, names: tuple[str, ...]) -> Iterator[Row]:
        """As each contender joins, its row, and then one with the times of all so far in turns:
        the last of these has them all.
        """
        for name in names:
            if reason := self._no_time_for(name):
                yield self._judged(self._row(name, why=reason))
                continue
            started_s = time.perf_counter()
            try:
                row = self._admit(name)
                self._turns()
            except Exception as error:
                self.seats = [seat for seat in self.seats if seat.name != name]
                yield self._judged(self._row(name, why=said(error)))
                if lost := device_lost(self.setup):
                    yield self._row(name, passed=False, why=f"the device is lost: {lost}")
                    raise DeviceLostError(lost) from error
                continue
            row |= self._figures() | {"seconds": round(time.perf_counter() - started_s, 2)}
            yield self._judged(row)
            yield self._together()

    def _no_time_for(self, name: str) -> str | None:
        left_s = self.deadline_s - time.perf_counter()
        if self.setup.quick:
            return "left out of a rehearsal: it compiles" if name in COMPILED else None
        if left_s < (COMPILE_S if name in COMPILED else 0.0):
            return f"no time: {left_s:.0f} s left"
        return None

    def _judged(self, row: Row) -> Row:
        """The row with a verdict, if it is ours: peers may be missing, or wrong."""
        return row | ({"passed": "why" not in row} if row["contender"] == OURS else {})

    def _row(self, name: str, **found: Any) -> Row:
        """What every row of a contender has."""
        return {"cell": str(self.cell), "contender": name} | found

    def _admit(self, name: str) -> Row:
        """Build, check and warm up a contender, and give it a seat."""
        gc.collect()  # so that nothing is freed while a step is captured
        kind = contender(name)
        task = self.cell.task(device_of(kind, self.setup))
        if reason := kind.refuses(task):
            raise ValueError(reason)
        made = kind(task, self.problem)
        made.reset()
        made.run_checked(task.check_steps)
        made.synchronize()
        self.judge.task = task
        verdict = self.judge.verdict(made.outcome(), epsilon=kind.epsilon)
        pace = self.pace
        _, warm = warm_up(made, seconds=pace.warm_s)
        steps = steps_for(made, step_s=warm.step_s, seconds=pace.turn_s)
        made.reset()
        timed(made, steps)  # compiles what depends on the number of steps
        self.seats.append(Seat(name, made, steps, not verdict.reason))
        row = self._row(name, note=kind.note, device=task.device, precision=task.arithmetic)
        row |= {"versions": kind.versions() or {"mlpx": installed("mlpx")}}
        row |= {"agrees": not verdict.reason, "check": plain(verdict.to_json())}
        return row | ({"why": verdict.reason} if verdict.reason else {}) | engine(made)

    def _turns(self) -> None:
        """Rounds in which every seat has one turn, in random order; earlier rounds are dropped."""
        order = random.Random(0)
        for seat in self.seats:
            seat.wall_us, seat.device_us = [], []
        for _ in range(self.pace.rounds):
            for seat in order.sample(self.seats, len(self.seats)):
                if self.cell.workload.parameter_count <= RESETTABLE:
                    seat.contender.reset()
                found = timed(seat.contender, seat.steps)
                seat.wall_us.append(1e6 * found.wall_s / found.steps)
                if found.device_s is not None:
                    seat.device_us.append(1e6 * found.device_s / found.steps)

    def _figures(self) -> Row:
        """Of the seat that joined last."""
        seat = self.seats[-1]
        low, _, high = quantiles(seat.wall_us, n=4)
        device = {"device_step_us": median(seat.device_us)} if seat.device_us else {}
        found = {"step_us": median(seat.wall_us), "quartiles_us": [low, high]} | device
        return found | {"steps_a_turn": seat.steps, "turns": len(seat.wall_us)}

    def _together(self) -> Row:
        """The medians of all seats, who is how much faster, and how near the floor is.

        A ratio is peer over ours. Who does not agree with the reference has none.
        """
        times = {seat.name: median(seat.wall_us) for seat in self.seats}
        fair = {seat.name: times[seat.name] for seat in self.seats if seat.agrees}
        row: Row = {"cell": str(self.cell), "together": True, "step_us": times}
        row |= {"floors_us": self.floors_us} if self.floors_us else {}
        if OURS not in fair:
            return row
        ours_us = fair.pop(OURS)
        graphs = {name: fair[name] for name in GRAPHS if name in fair}
        if EAGER in fair:
            row["eager_over_ours"] = fair[EAGER] / ours_us
        if graphs:
            row["best_graph"] = min(graphs, key=lambda name: graphs[name])
            row["best_graph_over_ours"] = graphs[row["best_graph"]] / ours_us
        for name, floor_us in self.floors_us.items():
            row[f"{name}_floor_share"] = floor_us / ours_us
        return row


class DeviceLostError(Exception):
    """Nothing more can be done on the device in this process."""


def measure(
    cells: tuple[Cell, ...], names: tuple[str, ...], setup: Setup, *, budget_s: float, rounds: int
) -> Iterator[Row]:
    """The cells in order, as many as there is time for; each one's contenders are freed before the
    next.
    """
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    # What is stopped from outside has no last row.
    deadline_s = time.perf_counter() + min(budget_s, setup.limit_s - 10)
    pace = Pace.of(setup, rounds=rounds)
    known: ceilings.Ceilings = {}
    for name, found in ceilings.measure(get_backend(setup.device), quick=setup.quick):
        known[name] = found
    yield {"ceilings": known}
    made: tuple[Any, Problem, Judge] | None = None
    for i, cell in enumerate(cells):
        if time.perf_counter() > deadline_s:
            yield {"left_out_for_want_of_time": [str(each) for each in cells[i:]]}
            return
        try:
            if made is None or made[0] != cell[:2]:
                made = None  # two data sets need not be there at a time
                made = (cell[:2], *problem_and_judge(cell, setup))
            floors = floors_of(cell, known)
            yield from Bench(cell, setup, pace, deadline_s, *made[1:], floors).measure(names)
        except DeviceLostError:
            return
        except Exception as error:
            yield {"cell": str(cell), "passed": False, "why": said(error)}
        free()
