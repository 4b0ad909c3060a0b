"""The memory that training takes, and the error if a device lacks it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, BatchNorm, Dense, Dropout, Optimizer
from mlpx.errors import DeviceMemoryError
from mlpx.program.data import TrainingData
from mlpx.program.footprint import _Measuring, measure
from mlpx.program.program import TrainingProgram

LAYERS = [7, Dense(20), BatchNorm(), "relu", Dropout(0.5), 3]


def data(n: int) -> TrainingData:
    return TrainingData(np.zeros((n, 7), np.uint8), np.zeros(n, np.int64), np.ones((n, 1)))


@pytest.mark.parametrize("rows", [2, 33, 500])
@pytest.mark.parametrize("optimizer", ["sgd", "lamb", "muon"])
def test_activations_are_those_of_the_program(optimizer: str, rows: int) -> None:
    model, rule = MLP(LAYERS), Optimizer.table[optimizer](average="ema")
    found = measure(model, data(600), rule)
    model.backend = _Measuring()
    moments = {name: np.zeros_like(model.flat) for name in rule.arrays}
    program = TrainingProgram(
        model, data(600), optimizer=rule, moments=moments, batch_size=rows, rows=rows
    )
    # Random bits come by eight, so a few bytes a row.
    assert found.activations(rows) == pytest.approx(program.buffers.nbytes, rel=0.02, abs=200)
    needed = found.parameters + found.activations(rows)
    assert [found.largest(n) for n in (needed - 1, needed, 0)] == [rows - 1, rows, 0]
    assert found.parameters == model.flat.nbytes
    assert found.moments == (len(moments) + 1) * model.flat.nbytes
    assert found.data == 600 * (7 + 8 + 8)
    elsewhere = replace(data(600), resident=False)
    assert measure(model, elsewhere, rule).data == 600 * (8 + 8)


def test_the_error_says_what_fits(fake_cupy: Any) -> None:
    """And a batch of that size does fit."""
    x, y = np.zeros((4000, 7), np.float32), np.arange(4000) % 3
    model = MLP([7, 900, 3], device="cuda")
    before = model.flat.get()
    fake_cupy.machine.free_bytes = 2_000_000
    with pytest.raises(DeviceMemoryError) as caught:
        model.fit(x, y, batch_size=2000, epochs=1, verbose=0)
    text = str(caught.value)
    assert text.startswith("batch_size=2000 does not fit on cuda:0 (Fake CUDA device): parameters ")
    for part in ("moments and gradient", "activations 20.9 MiB", "data ", "were free"):
        assert part in text
    fits = int(re.search(r"batch_size=(\d+) would fit", text)[1])
    assert 50 < fits < 400
    assert np.array_equal(model.flat.get(), before)
    model.fit(x, y, batch_size=fits, epochs=1, verbose=0)
    fake_cupy.machine.free_bytes = 36_000
    with pytest.raises(DeviceMemoryError, match="not even batch_size=1 fits"):
        model.fit(x[:2], y[:2], batch_size=2, epochs=1, verbose=0, optimizer="adam")
