"""When threads and separate sums per thread are worth it."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import MLP, Optimizer
from mlpx.engines.lowering import lower
from mlpx.engines.native import runner as native
from mlpx.engines.native.assembly import NativeTarget
from mlpx.engines.native.library import load
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")


def step_of(layers: list[int], rows: int) -> TrainingProgram:
    data = TrainingData(np.ones((rows, layers[0]), np.float32), np.zeros(rows, np.int64), None)
    rule = Optimizer.resolve("sgd")
    return TrainingProgram(
        MLP(layers), data, optimizer=rule, moments={}, batch_size=rows, rows=rows
    )


def test_threads_are_for_what_is_worth_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "usable_cores", lambda: 3)

    def threads(layers: list[int], rows: int) -> bool:
        return {1: False, 3: True}[native.worthwhile_threads(step_of(layers, rows))]

    assert [threads([784, 50, 10], n) for n in (1, 32, 64)] == [0, 0, 1]
    assert [threads([20, 64, 64, 2], n) for n in (32, 128)] == [0, 1]
    monkeypatch.setattr(native, "ROWS_BY_PARAMETERS", 0)
    assert [threads([7, 10], native.LEAST_ROWS + n) for n in (0, 1)] == [0, 1]
    for least, worth in ((80, True), (81, False)):
        monkeypatch.setattr(native, "MANY_PARAMETERS", least)
        assert threads([7, 10], 1) == worth


@pytest.mark.parametrize(("threads", "rows"), [(1, 6), (2, 6), (5, 15)])
def test_own_sums_are_for_what_is_more_than_the_gradients_of_all_threads(
    threads: int, rows: int
) -> None:
    """Here a gradient has 28 parameters, and a row ten numbers."""
    worth = []
    for n in (rows - 1, rows):
        program = step_of([6, 4], n)
        assert program.full is not None
        operations = lower(program, program.full, NativeTarget())
        worth.append(native.worth_own_sums(operations, program, threads))
    assert worth == [False, True]
