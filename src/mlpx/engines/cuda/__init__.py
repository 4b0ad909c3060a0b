"""The CUDA engine: fused kernels and cublasLt, whole steps captured as graphs and replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlpx.backend import diagnose
from mlpx.backend.cuda import first_line
from mlpx.engines.base import Engine, RefusedError, Runner
from mlpx.engines.cuda.graphs import Put
from mlpx.engines.cuda.heads import with_heads
from mlpx.engines.cuda.kernels import CudaTarget, compile_all, function
from mlpx.engines.cuda.launches import SOURCES
from mlpx.engines.cuda.products import HALVES
from mlpx.engines.cuda.runner import CudaRunner
from mlpx.engines.lowering import Operation, lower
from mlpx.program.program import TrainingProgram

__all__ = ["CudaEngine"]


@dataclass(frozen=True)
class CudaEngine(Engine, name="cuda"):
    """Runs on a CUDA device whatever it has a kernel for."""

    devices = ("cuda",)
    precisions = ("float32", "tf32", *HALVES)

    def missing(self) -> str | None:
        diagnosis = diagnose()
        return None if diagnosis.ok else f"{diagnosis.message}; {diagnosis.remedy}"

    def describe(self) -> str:
        return "fused kernels and cublasLt, steps as graphs"

    def _runner(self, program: TrainingProgram, threads: int | None) -> Runner:
        if program.network.backend.kind != "cuda":
            raise RefusedError("it runs on CUDA devices only")
        cast = f"to_{program.precision}"
        if program.precision in HALVES and not CudaTarget().has(cast, program.network.dtype):
            raise RefusedError(f"no operation {cast}")
        lowered = [lower(program, plan, CudaTarget()) for plan in program.plans]
        require_compiled(program, lowered)
        return CudaRunner(program, lowered)

    def parts(
        self, program: TrainingProgram, runner: Runner
    ) -> list[tuple[str, Callable[[], object]]] | None:
        assert isinstance(runner, CudaRunner)
        plan = program.plans[0]
        with program.network.backend.failing("profiling a step", nobody_else=True):
            runner.begin(plan)
        parts = [("advance", runner.replayer.advance(0))]  # which reads where the program is
        for operation, put in runner.replayer.launches[id(plan)]:
            parts.append((f"{operation.name} {'x'.join(map(str, operation.n[:3]))}", put))
        # A launch has no more than the addresses of what the runner holds.
        return [(name, partial(call, put, runner)) for name, put in parts]

    def notes(self, runner: Runner) -> list[str]:
        return runner.notes if isinstance(runner, CudaRunner) else []


def call(put: Put, _held: object) -> None:
    """Put an operation; `_held` lives as long as this can be called."""
    put()


def require_compiled(program: TrainingProgram, lowered: Sequence[Sequence[Operation]]) -> None:
    """Compile the kernels of the operations, and those that could take their place.

    Raises RefusedError if one of the operations has no kernel on this machine.
    """
    backend: Any = program.network.backend
    needed = {operation.name for each in lowered for operation in each}
    wanted = needed | {operation.name for each in lowered for operation in with_heads(each)}
    compiled = compile_all(backend, sorted({SOURCES[name] for name in wanted}))
    sources = {SOURCES[name] for name in needed}
    errors = (each.error for name, each in compiled.items() if name in sources)
    problem = next((error for error in errors if error), None)
    try:
        if problem:
            raise problem
        with backend.xp.cuda.Device(backend.index):
            for name in needed:
                function(backend, name, program.network.dtype)
    except Exception as error:  # a compiler's errors are of many classes
        raise RefusedError(f"its kernels do not compile: {first_line(error)}") from error
