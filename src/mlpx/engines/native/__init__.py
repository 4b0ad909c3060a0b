"""The native engine: many steps in one call of a small C library."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from mlpx.engines.base import Engine, Runner
from mlpx.engines.native import rules, translations
from mlpx.engines.native.library import Op, blas, load, pool
from mlpx.engines.native.translate import Translator, UntranslatableError, address
from mlpx.engines.threads import blas_threads, usable
from mlpx.program import Plan
from mlpx.step import TrainingProgram

__all__ = ["NativeEngine", "rules", "translations"]

Translated = dict[int, tuple["ctypes.Array[Op]", Translator]]
"""For each plan, by its id, the operations and what keeps their arrays alive."""
MISSING = (
    "the native library was not built: install a C compiler and reinstall mlpx "
    "(pip install --force-reinstall --no-cache-dir mlpx)"
)
WORK_FOR_THREADS = 1.5e6
"""How many multiplications a step takes before threads are worth their barriers."""


@dataclass(frozen=True)
class NativeEngine(Engine, name="native"):
    """Runs on the CPU whatever its library has an operation for."""

    def refuses(self, program: TrainingProgram) -> str | None:
        if program.network.backend.kind != "cpu":
            return "it runs on the CPU only"
        if self.missing():
            return self.missing()
        if program.interpreted:
            return program.interpreted
        try:
            self._translate(program)
        except UntranslatableError as reason:
            return str(reason)
        return None

    def missing(self) -> str | None:
        return MISSING if load() is None else None

    def describe(self) -> str:
        return f"{blas().name}, {usable()} thread{'s' if usable() > 1 else ''}"

    def prepare(self, program: TrainingProgram, *, threads: int | None = None) -> Runner:
        translated = self._translate(program)
        library, state = load(), address(program.state)
        assert library is not None
        count = threads or thread_count(program)

        def run(plan: Plan, steps: int) -> None:
            ops, _ = translated[id(plan)]
            # Our threads call the BLAS side by side, so it is to use one of its own.
            with blas_threads(1), pool(count) as workers:
                library.mlpx_run(ops, len(ops), steps, state, workers, count)

        return run

    def _translate(
        self, program: TrainingProgram
    ) -> dict[int, tuple[ctypes.Array[Op], Translator]]:
        made = {}
        for plan in (program.full, program.last):
            if plan is not None:
                to = Translator(plan, blas(), dtype=program.network.dtype, table=program.table)
                made[id(plan)] = to.operations(), to
        return made


def thread_count(program: TrainingProgram) -> int:
    """How many threads a step is worth."""
    sizes = [p.parameter.size for p in program.network.layout.places.values()]
    work = 3.0 * program.batch_size * sum(sizes)
    return usable() if work > WORK_FOR_THREADS else 1
