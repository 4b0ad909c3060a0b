"""The CUDA engine: fused kernels and cublasLt, whole steps captured as graphs and replayed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from mlpx.backend import diagnose
from mlpx.backend.cuda import first_line
from mlpx.engines.base import Engine, Runner
from mlpx.engines.cuda.graphs import Put
from mlpx.engines.cuda.heads import with_heads
from mlpx.engines.cuda.kernels import Kernels, compile_all, function
from mlpx.engines.cuda.launches import SOURCES
from mlpx.engines.cuda.products import HALVES
from mlpx.engines.cuda.runner import CudaRunner
from mlpx.engines.lowering import UntranslatableError, lower
from mlpx.program.program import TrainingProgram

__all__ = ["CudaEngine"]


@dataclass(frozen=True)
class CudaEngine(Engine, name="cuda"):
    """Runs on a CUDA device whatever it has a kernel for."""

    devices = ("cuda",)
    precisions = ("float32", "tf32", *HALVES)

    def refuses(self, program: TrainingProgram) -> str | None:
        if program.network.backend.kind != "cuda":
            return "it runs on CUDA devices only"
        cast = f"to_{program.precision}"
        if program.precision in HALVES and not Kernels().has(cast, program.network.dtype):
            return f"no operation {cast}"
        try:
            lowered = [lower(program, plan, Kernels()) for plan in program.plans]
        except UntranslatableError as reason:
            return str(reason)
        needed = {operation.name for each in lowered for operation in each}
        wanted = needed | {operation.name for each in lowered for operation in with_heads(each)}
        return uncompiled(program, needed, wanted)

    def missing(self) -> str | None:
        found = diagnose()
        return None if found.ok else f"{found.message}; {found.remedy}"

    def describe(self) -> str:
        return "fused kernels and cublasLt, steps as graphs"

    def prepare(self, program: TrainingProgram, *, threads: int | None = None) -> Runner:
        return CudaRunner(program)

    def parts(self, program: TrainingProgram) -> list[tuple[str, Callable[[], object]]] | None:
        runner, plan = CudaRunner(program), program.plans[0]
        with program.network.backend.failing("profiling a step", nobody_else=True):
            runner.begin(plan)
        parts = [("advance", runner.advance(0))]  # which reads where the program is
        for operation, put in runner.launches[id(plan)]:
            parts.append((f"{operation.name} {'x'.join(map(str, operation.n[:3]))}", put))
        # A launch has no more than the addresses of what the runner holds.
        return [(name, partial(call, put, runner)) for name, put in parts]

    def notes(self, runner: Runner) -> list[str]:
        return runner.notes if isinstance(runner, CudaRunner) else []


def call(put: Put, _held: object) -> None:
    """Put an operation; `_held` lives as long as this can be called."""
    put()


def uncompiled(program: TrainingProgram, needed: set[str], wanted: set[str]) -> str | None:
    """Compile the kernels that are wanted; why those that are needed cannot be had on this machine,
    None if they can.
    """
    backend: Any = program.network.backend
    found = compile_all(backend, sorted({SOURCES[name] for name in wanted}))
    sources = {SOURCES[name] for name in needed}
    problem = next((f.error for name, f in found.items() if name in sources and f.error), None)
    try:
        if problem:
            raise problem
        with backend.xp.cuda.Device(backend.index):
            for name in needed:
                function(backend, name, program.network.dtype)
    except Exception as error:  # a compiler's errors are of many classes
        return f"its kernels do not compile: {first_line(error)}"
    return None
