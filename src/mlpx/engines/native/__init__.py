"""The native engine: many steps in one call of a small C library."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass

from mlpx.engines.base import Engine, Runner
from mlpx.engines.native import rules, translations
from mlpx.engines.native.library import Blas, Op, blas, load, pool
from mlpx.engines.native.translate import Translator, UntranslatableError, address
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
        if load() is None:
            return MISSING
        if program.interpreted:
            return program.interpreted
        try:
            self._translate(program)
        except UntranslatableError as reason:
            return str(reason)
        return None

    def prepare(self, program: TrainingProgram) -> Runner:
        translated = self._translate(program)
        library, state = load(), address(program.state)
        chosen = blas()
        assert library is not None
        threads = thread_count(program)

        def run(plan: Plan, steps: int) -> None:
            ops, _ = translated[id(plan)]
            with single_threaded(chosen):
                library.mlpx_run(ops, len(ops), steps, state, pool(threads), threads)

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
    return len(os.sched_getaffinity(0)) if work > WORK_FOR_THREADS else 1


class single_threaded:  # noqa: N801
    """A context in which the BLAS uses one thread: ours call it side by side."""

    def __init__(self, blas: Blas) -> None:
        self.controller = blas.controller

    def __enter__(self) -> None:
        self.before = self.controller.num_threads
        self.controller.set_num_threads(1)

    def __exit__(self, *_: object) -> None:
        self.controller.set_num_threads(self.before)
