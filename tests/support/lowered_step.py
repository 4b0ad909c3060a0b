"""A training step lowered to the operations of the native engine."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx import MLP, Optimizer
from mlpx.engines.lowering import Operation, lower
from mlpx.engines.native.assembly import NativeTarget
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram


def lowered(layers: list[Any], rule: Optimizer) -> tuple[list[Operation], np.ndarray, int]:
    """The operations of a step of three rows, its gradient, and the number of parameters."""
    model = MLP(layers)
    data = TrainingData(np.ones((9, layers[0]), np.float32), np.zeros(9, np.int64), None)
    moments = {name: np.zeros(model.layout.size, np.float32) for name in rule.moments}
    program = TrainingProgram(
        model, data, optimizer=rule, moments=moments, batch_size=3 * rule.accumulate, rows=9,
        part_rows=3,
    )  # fmt: skip
    assert program.full is not None
    found = lower(program, program.full, NativeTarget())
    return found, program.gradient, len(model.layout)
