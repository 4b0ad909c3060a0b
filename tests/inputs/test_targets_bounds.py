"""The range of targets, and the position of the first one beyond it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from mlpx import get_backend
from mlpx.errors import InputError
from mlpx.inputs.arrays import SUM_TOLERANCE, Checks
from mlpx.inputs.targets import check_y
from mlpx.kernels.losses import Loss

CROSS, BINARY, MSE = "softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error"
LARGEST = float(np.finfo("float32").max)


class Counted(Checks):
    """Counts its calls."""

    asked = 0

    def require(self, fine: Any, refuse: Callable[[], None]) -> None:
        self.asked += 1
        super().require(fine, refuse)


def check(y: Any, loss: str, columns: int, checks: Checks | None = None) -> None:
    options = {"d_out": columns, "loss": Loss.resolve(loss), "dtype": np.dtype("float32")}
    check_y(y, n=len(y), backend=get_backend("cpu"), checks=checks, **options)


@pytest.mark.parametrize(
    ("y", "fine", "off", "loss"),
    [
        ([[0.0, 0.0], [1.0, 0.0]], 1.0, 1.0 + 1e-9, BINARY),
        ([[0.0, 0.0], [1.0, 0.0]], 0.0, -1e-9, BINARY),
        ([[0.0, 1.0], [0.0, 1.0]], SUM_TOLERANCE * 0.99, SUM_TOLERANCE * 1.01, CROSS),
        ([[0.0, 1.0], [0.0, 0.0]], 1 - SUM_TOLERANCE * 0.99, 1 - SUM_TOLERANCE * 1.01, CROSS),
        ([[0.0, 1.0], [0.0, 0.0]], 1 + SUM_TOLERANCE * 0.99, 1 + SUM_TOLERANCE * 1.01, CROSS),
        ([[0.0, 1.0], [0.0, 1.0]], 0.0, -SUM_TOLERANCE / 2, CROSS),
        ([[0.0, 1.0], [0.0, 1.0]], 0.0, np.inf, CROSS),
        ([[0.0, -1.0], [5.0, 1.0]], LARGEST, 2 * LARGEST, MSE),
        ([[0.0, -1.0], [5.0, 1.0]], -LARGEST, -2 * LARGEST, MSE),
        ([[0.0, 1.0], [5.0, 1.0]], 0.0, -1e-9, "poisson"),
    ],
)
def test_targets_go_as_far_as_is_said(y: Any, fine: float, off: float, loss: str) -> None:
    for value in (fine, off):
        given = np.array(y)
        given[1, 0] = value
        if value == fine:
            check(given, loss, 2)
            continue
        with pytest.raises(InputError, match="row 1"):
            check(given, loss, 2)


@pytest.mark.parametrize(("elements", "parts"), [(1 << 22, 1), (18, 1), (4, 5), (3, 5), (1, 9)])
def test_rows_are_looked_at_part_by_part_and_named(
    elements: int, parts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mlpx.inputs.targets.CHUNK_ELEMENTS", elements)
    y, checks = np.zeros((9, 2)), Counted()
    y[:, 0] = 1
    check(y, CROSS, 2, checks)
    assert checks.asked == parts
    y[7, 1] = 0.5
    with pytest.raises(InputError, match=r"^y row 7 is \[1. +0.5\]; one-hot"):
        check(y, CROSS, 2)
    with pytest.raises(InputError, match=r"^y has 3 at row 7, column 1; "):
        check(6 * y - 5 * (y == 1), BINARY, 2)
    with pytest.raises(InputError, match=r"^y has 3 at row 5; "):
        check([0, 1, 0, 1, 0, 3, 7], BINARY, 1)
