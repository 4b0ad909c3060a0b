"""The calls planned around a loss."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import MLP, SGD
from mlpx.kernels import batches
from mlpx.plan.plan import Call
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram


def program(outputs: int, *, part_rows: int | None = None) -> TrainingProgram:
    """A regression program on 22 rows in batches of 8."""
    model = MLP([5, outputs], loss="mean_squared_error")
    y = np.zeros((22, outputs), np.float32)
    data = TrainingData(np.ones((22, 5), np.float32), y, None)
    options = {"optimizer": SGD(), "moments": {}, "batch_size": 8, "rows": 22}
    return TrainingProgram(model, data, part_rows=part_rows, **options)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_a_loss_has_its_columns_one_after_the_other(outputs: int) -> None:
    """A single column is stored that way anyway, so it is not copied."""
    full = program(outputs).full
    assert full is not None

    def calls(name: str) -> list[Call]:
        return [call for call in full.calls if call.kernel.__name__ == name]

    (gradient,) = calls("gradient")
    z, _, _ = gradient.arguments
    assert z.flags.f_contiguous
    assert gradient.keywords["out"].flags.f_contiguous
    copies = [call for call in full.calls if call.kernel is batches.copy]
    assert bool(copies) is (outputs > 1)


@pytest.mark.parametrize(("part_rows", "most"), [(None, 8), (3, 3), (30, 8)])
def test_parts_of_a_batch_share_buffers_of_the_largest(part_rows: int | None, most: int) -> None:
    assert program(2, part_rows=part_rows).buffers.rows == most
