"""The CUDA engine computes what the interpreter does, for every row of every table.

The cases are those of the native engine's tests; the kernels are those of the .cu files, run by the
simulator on the fake CuPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import cudasim
import test_native
from test_native import (  # noqa: F401
    BOUNDS,
    compare,
    test_activation,
    test_layers,
    test_loss,
    test_optimizer,
    test_schedule,
    test_soft_targets,
    test_targets,
    test_targets_of_weighted_rows,
    test_update,
    test_ways_to_train,
    test_weights,
)

pytest_plugins = ["fakecupy.fixtures"]
pytestmark = pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler")


@pytest.fixture(autouse=True)
def on_cuda(fake_cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cases run on the CUDA engine instead of the native one."""
    monkeypatch.setattr(test_native, "both", both)


def both(
    layers: list[Any],
    *,
    dtypes: tuple[str, ...] = ("float64",),
    y: Any = None,
    loss: Any = "softmax_cross_entropy",
    **options: Any,
) -> None:
    """Two epochs with a ragged batch: by the CUDA engine, and by the interpreter on the CPU."""
    from mlpx import MLP

    rng = np.random.default_rng(3)
    x = rng.normal(size=(45, 7))
    y = rng.integers(0, 3, size=45) if y is None else y
    options = {"epochs": 2, "batch_size": 8, "optimizer": "sgd", "verbose": 0} | options
    for dtype in dtypes:
        slow, first = test_native.train("interpreter", x, y, layers, dtype, loss, options)
        second = MLP(layers, dtype=dtype, loss=loss, seed=5, device="cuda")
        fast = second.fit(x, y, engine="cuda", **options)
        assert fast.engine == "cuda"
        compare(fast, second.to("cpu"), slow, first, bound=BOUNDS[dtype])
