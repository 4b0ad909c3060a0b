"""The native engine: many steps in one call of a small C library."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.backend.cpu import usable_cores
from mlpx.engines.base import Engine, Predictor, Runner
from mlpx.engines.lowering import Operation, UntranslatableError, address, lower
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.native.assembly import Library, assemble
from mlpx.engines.native.folding import update_at_once
from mlpx.engines.native.library import Op, blas, load, pool
from mlpx.engines.native.prediction import NativePredictor
from mlpx.engines.native.tiles import sum_by_rows
from mlpx.engines.threads import blas_threads
from mlpx.network.network import Network
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram

__all__ = ["NativeEngine"]

MISSING = (
    "the native library was not built: install a C compiler and reinstall mlpx "
    "(pip install --force-reinstall --no-cache-dir mlpx)"
)
LEAST_ROWS, ROWS_BY_PARAMETERS = 30, 4.5e5
"""A batch is worth threads from so many rows on, and so many more over the number of parameters:
for what threads save is by row and parameter, and what they cost is by parameter, and by step.
"""
UNCACHED_PARAMETERS = 4_000_000
"""From so many on no cache holds them and their moments, and threads share the memory's speed."""
MOST_TILED_ROWS, LEAST_TILED_PARAMETERS = 32, 100_000
"""Up to so many rows and from so many parameters on, a step is mostly reading and writing them, and
the gradient is better never in memory; a product of more rows is slower in tiles.
"""


@dataclass(frozen=True)
class NativeEngine(Engine, name="native"):
    """Runs on the CPU whatever its library has an operation for."""

    devices = ("cpu",)

    def refuses(self, program: TrainingProgram) -> str | None:
        if program.network.backend.kind != "cpu":
            return "it runs on the CPU only"
        if self.missing():
            return self.missing()
        try:
            for plan in program.plans:
                lower(program, plan, Library())
        except UntranslatableError as reason:
            return str(reason)
        return None

    def missing(self) -> str | None:
        return MISSING if load() is None else None

    def describe(self) -> str:
        return f"{blas().name}, {usable_cores()} thread{'s' if usable_cores() > 1 else ''}"

    def prepare(self, program: TrainingProgram, *, threads: int | None = None) -> Runner:
        return NativeRunner(program, threads or worthwhile_threads(program))

    def predictor(self, network: Network) -> Predictor | None:
        if network.backend.kind != "cpu" or self.missing():
            return None
        try:
            return NativePredictor(network)
        except UntranslatableError:
            return None


class NativeRunner:
    """Calls the library with the operations of a plan, on so many threads."""

    def __init__(self, program: TrainingProgram, threads: int) -> None:
        self.program, self.threads = program, threads
        library = load()
        assert library is not None
        self._run, self._state = library.mlpx_run, address(program.state)
        self._blas_threads = blas().threads
        dtype, count = program.network.dtype, threads
        weights = program.network.flat.nbytes
        others = np.zeros((count - 1, program.gradient.size), dtype) if count > 1 else None
        self.nbytes = 0 if others is None else others.nbytes
        self._made: dict[int, ctypes.Array[Op]] = {}
        self._kept: list[Sequence[Any]] = []
        self._sources: list[tuple[Op, str]] = []
        for plan in program.plans:
            found = lower(program, plan, Library())
            if worth_own_sums(found, program, count):
                found = sum_by_rows(found, program.gradient, others)
            else:
                found = update_at_once(
                    found, program.gradient, count=len(program.network.layout),
                    tiled=worth_tiles(program),
                )  # fmt: skip
            ops, placed = assemble(found, dtype, threads=count, weights=weights)
            self._made[id(plan)] = ops
            self._hold(plan, ops, placed)

    def _hold(self, plan: Plan, ops: ctypes.Array[Op], placed: list[Operation]) -> None:
        """Keep the arrays that the ops point to, but for the data, and where the data are."""
        names = {id(plan.calls[i].arguments[1]): name for i, name in plan.reads}
        for op, operation in zip(ops, placed, strict=True):
            reads = operation.name == "gather"
            if reads:
                self._sources.append((op, names[id(operation["x"])]))
                operation = operation.replaced(x=None)
            self._kept.append(operation.p)

    def __call__(self, plan: Plan, steps: int) -> None:
        """Run a plan so many times."""
        ops = self._made[id(plan)]
        with blas_threads(self._blas_threads), pool(self.threads) as workers:
            self._run(ops, len(ops), steps, self._state, workers, self.threads)

    def feed(self) -> None:
        """Point the operations that read the data to where they are now."""
        _, at = FIELDS["gather"].places["x"]
        for op, name in self._sources:
            op.p[at] = address(getattr(self.program.data, name))


def worthwhile_threads(program: TrainingProgram) -> int:
    """How many threads a step is worth."""
    size = max(1, len(program.network.layout))
    many = program.part_rows > LEAST_ROWS + ROWS_BY_PARAMETERS / size
    return usable_cores() if many or size >= UNCACHED_PARAMETERS else 1


def worth_tiles(program: TrainingProgram) -> bool:
    """Whether weights had better be updated tile by tile, as their gradient is made."""
    large = len(program.network.layout) >= LEAST_TILED_PARAMETERS
    return large and program.part_rows <= MOST_TILED_ROWS


def worth_own_sums(operations: list[Operation], program: TrainingProgram, threads: int) -> bool:
    """Whether each thread had better add up the gradient of its own rows.

    Then threads pass each other gradients; else what these are made of.
    """
    made_of: int = sum(
        op["rows"] * (op["inputs"] + op["outputs"]) for op in operations if op.name == "affine_dW"
    )
    return made_of > max(2, threads) * len(program.network.layout)
