"""Lowering: a plan's calls as operations by name, which the native library and CUDA both run."""

from __future__ import annotations

from mlpx.engines.lowering import (
    batches,
    embeddings,
    layers,
    losses,
    parametric,
    penalties,
    updates,
)
from mlpx.engines.lowering.operations import ARRAYS, NUMBERS, Access, Operation, address
from mlpx.engines.lowering.translator import Target, Translator, UntranslatableError
from mlpx.plan.plan import Plan
from mlpx.program.program import TrainingProgram

__all__ = [
    "ARRAYS",
    "NUMBERS",
    "Access",
    "Operation",
    "Target",
    "Translator",
    "UntranslatableError",
    "address",
    "lower",
]

TRANSLATED = (batches, embeddings, layers, losses, parametric, penalties, updates)
"""Whose kernels have translations: importing a module enters them in `TRANSLATIONS`."""


def lower(program: TrainingProgram, plan: Plan, target: Target) -> list[Operation]:
    """A plan of the program as operations of the target, valid as long as the program lives.

    Raises UntranslatableError.
    """
    return Translator(plan, target, program.network.dtype).translate()
