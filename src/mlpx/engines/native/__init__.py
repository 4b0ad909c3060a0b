"""The native engine: many steps in one call of a small C library."""

from __future__ import annotations

from dataclasses import dataclass

from mlpx.engines.base import Engine, Forward, Runner
from mlpx.engines.lowering import UntranslatableError, address, lower
from mlpx.engines.native.forward import NativeForward
from mlpx.engines.native.library import blas, load, pool
from mlpx.engines.native.target import Library, assemble
from mlpx.engines.threads import blas_threads, usable
from mlpx.program import Network, Plan
from mlpx.step import TrainingProgram

__all__ = ["NativeEngine"]

MISSING = (
    "the native library was not built: install a C compiler and reinstall mlpx "
    "(pip install --force-reinstall --no-cache-dir mlpx)"
)
WORK_FOR_THREADS = 1.5e6
"""How many multiplications a step takes before threads are worth their barriers."""


@dataclass(frozen=True)
class NativeEngine(Engine, name="native"):
    """Runs on the CPU whatever its library has an operation for."""

    devices = ("cpu",)

    def refuses(self, program: TrainingProgram) -> str | None:
        if program.network.backend.kind != "cpu":
            return "it runs on the CPU only"
        if self.missing():
            return self.missing()
        if program.interpreted:
            return program.interpreted
        try:
            for plan in program.plans:
                lower(program, plan, Library())
        except UntranslatableError as reason:
            return str(reason)
        return None

    def missing(self) -> str | None:
        return MISSING if load() is None else None

    def describe(self) -> str:
        return f"{blas().name}, {usable()} thread{'s' if usable() > 1 else ''}"

    def prepare(self, program: TrainingProgram, *, threads: int | None = None) -> Runner:
        library, dtype = load(), program.network.dtype
        lowered = {id(plan): lower(program, plan, Library()) for plan in program.plans}
        made = {key: (assemble(found, dtype), found) for key, found in lowered.items()}
        assert library is not None
        count = threads or thread_count(program)

        def run(plan: Plan, steps: int) -> None:
            ops, _ = made[id(plan)]  # the operations hold the arrays that the ops point to
            # Our threads call the BLAS side by side, so it is to use one of its own.
            with blas_threads(1), pool(count) as workers:
                state = address(program.state)
                library.mlpx_run(ops, len(ops), steps, state, workers, count)

        return run

    def forward(self, network: Network) -> Forward | None:
        if network.backend.kind != "cpu" or self.missing():
            return None
        try:
            return NativeForward(network)
        except UntranslatableError:
            return None


def thread_count(program: TrainingProgram) -> int:
    """How many threads a step is worth."""
    sizes = [p.parameter.size for p in program.network.layout.places.values()]
    work = 3.0 * program.batch_size * sum(sizes)
    return usable() if work > WORK_FOR_THREADS else 1
