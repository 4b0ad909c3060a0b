"""The interpreter: calls each kernel through `xp`, on any backend. The reference for the other
engines.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlpx.engines.base import Engine, Runner
from mlpx.engines.threads import blas_threads
from mlpx.plan.plan import Call, Plan
from mlpx.program.program import TrainingProgram


@dataclass(frozen=True)
class Interpreter(Engine, name="interpreter"):
    """Runs every plan."""

    interprets = True

    def _runner(self, program: TrainingProgram, threads: int | None) -> Runner:
        return InterpreterRunner(program, threads)

    def parts(
        self, program: TrainingProgram, runner: Runner
    ) -> list[tuple[str, Callable[[], object]]] | None:
        xp = program.network.backend.xp
        return [(named(call), call.bind(xp)) for call in program.plans[0].calls]


class InterpreterRunner:
    """Calls the kernels of a plan one after the other."""

    nbytes = 0

    def __init__(self, program: TrainingProgram, threads: int | None) -> None:
        self.program, self.threads = program, threads
        self.xp = program.network.backend.xp
        self.calls = {
            id(plan): [call.bind(self.xp) for call in plan.calls] for plan in program.plans
        }

    def __call__(self, plan: Plan, steps: int) -> None:
        """Run a plan `steps` times."""
        calls = self.calls[id(plan)]
        # Divergence shows in the loss; a warning from a ufunc deep inside a step helps nobody.
        with np.errstate(all="ignore"), blas_threads(self.threads):
            for _ in range(steps):
                for call in calls:
                    call()

    def feed(self) -> None:
        """Bind the calls that read the data again."""
        for plan in self.program.plans:
            for i, _ in plan.reads:
                self.calls[id(plan)][i] = plan.calls[i].bind(self.xp)


def named(call: Call) -> str:
    """The name of what is called, such as `affine.forward` or `relu.backward`."""
    kernel = call.kernel
    owner = getattr(kernel, "__self__", None)
    name = owner.name if owner is not None else kernel.__module__.rpartition(".")[2]
    return f"{name}.{kernel.__name__}"


def run_once(plan: Plan, start: int = 0) -> None:
    """Run a plan once, from one of its calls on: a forward pass, which belongs to no program."""
    xp = plan.buffers.backend.xp
    with np.errstate(all="ignore"):
        for call in plan.calls[start:]:
            call.bind(xp)()
