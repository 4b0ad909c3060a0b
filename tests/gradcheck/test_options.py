"""What a gradient check tolerates and tries unless told otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Dense
from mlpx.gradcheck import check_gradients


def one_unit(activation: str, w: float, dtype: Any = "float64") -> MLP:
    """activation(w x), and no more."""
    layers = [1, Dense(1, activation=activation, bias=False)]
    model = MLP(layers, loss="mean_squared_error", dtype=dtype)
    model.set_parameters({"0.W": [[w]]})
    return model


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_tolerance_is_what_the_dtype_can_tell(dtype: str) -> None:
    report = check_gradients(one_unit("tanh", 0.5, dtype), [[1.0]], [3.0])
    wanted = {"float32": 200 * np.finfo("float32").eps, "float64": 1e-7}[dtype]
    assert report.tolerance == wanted
    assert report.passed
    told = check_gradients(one_unit("tanh", 0.5, dtype), [[1.0]], [3.0], tolerance=1e-3)
    assert told.tolerance == 1e-3


@pytest.mark.parametrize("kink", [0.0, 6.0])
@pytest.mark.parametrize(("method", "tried"), [("elements", 1), ("directions", 20)])
def test_at_each_kink_all_that_is_tried_is_left_out(kink: float, method: Any, tried: int) -> None:
    report = check_gradients(one_unit("relu6", kink), [[1.0]], [3.0], method=method)
    (row,) = report.rows
    assert (row.checked, row.kinks, row.passed) == (0, tried, False)
    assert check_gradients(one_unit("relu6", kink + 0.01), [[1.0]], [3.0], method=method).kinks == 0
