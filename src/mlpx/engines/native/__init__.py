"""The native engine: many steps in one call of a small C library."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

import numpy as np

from mlpx.engines.base import Engine, Runner
from mlpx.engines.lowering import Operation, UntranslatableError, address, lower
from mlpx.engines.native.hazards import schedule
from mlpx.engines.native.library import Op, blas, load, pool
from mlpx.engines.threads import blas_threads, usable
from mlpx.program import Plan
from mlpx.step import TrainingProgram

__all__ = ["NativeEngine"]

MISSING = (
    "the native library was not built: install a C compiler and reinstall mlpx "
    "(pip install --force-reinstall --no-cache-dir mlpx)"
)
WORK_FOR_THREADS = 1.5e6
"""How many multiplications a step takes before threads are worth their barriers."""
PRODUCTS = {"affine", "affine_dx", "affine_dW"}
"""The operations that call the BLAS: they get its gemm."""


class Library:
    """The compiled library as a target of the lowering."""

    name, counts = "native", True

    def has(self, operation: str, dtype: np.dtype) -> bool:
        """Whether the library has an operation of that name for that dtype."""
        return _kernel(operation, dtype) is not None

    def formula(self, family: str, name: str) -> int:
        """The code of an activation's or a loss's formula, -1 if there is none."""
        library = load()
        code: int = getattr(library, f"mlpx_{family}")(name.encode()) if library else -1
        return code


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
        made = {key: (_ops(found, dtype), found) for key, found in lowered.items()}
        assert library is not None
        count = threads or thread_count(program)

        def run(plan: Plan, steps: int) -> None:
            ops, _ = made[id(plan)]  # the operations hold the arrays that the ops point to
            # Our threads call the BLAS side by side, so it is to use one of its own.
            with blas_threads(1), pool(count) as workers:
                state = address(program.state)
                library.mlpx_run(ops, len(ops), steps, state, workers, count)

        return run


def _ops(operations: list[Operation], dtype: np.dtype) -> ctypes.Array[Op]:
    """Operations as the library takes them, in the order in which it runs them."""
    placed = schedule(operations)
    return (Op * len(placed))(*(_op(operation, wait, dtype) for operation, wait in placed))


def _op(operation: Operation, wait: bool, dtype: np.dtype) -> Op:
    """An operation as the library has it."""
    n, p = list(operation.n), [address(value) for value in operation.p]
    if operation.name in PRODUCTS:
        n, p = [*n, blas().wide], [*p, blas().gemm[dtype.name]]
    op = Op(kernel=_kernel(operation.name, dtype), alone=operation.alone, wait=wait)
    op.n[: len(n)], op.c[: len(operation.c)], op.p[: len(p)] = n, operation.c, p
    return op


def _kernel(name: str, dtype: np.dtype) -> int | None:
    library = load()
    found: int | None = library.mlpx_kernel(f"{name}.{dtype.name}".encode()) if library else None
    return found


def thread_count(program: TrainingProgram) -> int:
    """How many threads a step is worth."""
    sizes = [p.parameter.size for p in program.network.layout.places.values()]
    work = 3.0 * program.batch_size * sum(sizes)
    return usable() if work > WORK_FOR_THREADS else 1
