"""Training by operations that were joined gives what it gives by those apart, pass by pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from embedded import with_codes
from engine_cases import LAYERS

from mlpx import L1, L2, MLP, Dense, Dropout, Optimizer, Rescale
from mlpx.engines.lowering import Operation
from mlpx.engines.native import fusing
from mlpx.engines.native import runner as native
from mlpx.engines.native.fusing import (
    fuse,
    join_activations,
    join_slopes,
    read_in_place,
    split_columns,
)
from mlpx.engines.native.library import instruction_sets, load

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")
Pass = Callable[[Sequence[Operation]], list[Operation]]


def splitting(operations: Sequence[Operation]) -> list[Operation]:
    return split_columns(fuse(operations), threads=3)


PASSES: dict[str, Pass] = {
    f.__name__: f for f in (read_in_place, join_activations, join_slopes, fuse, splitting)
}
rng = np.random.default_rng(2)
X, LABELS = rng.normal(size=(45, 7)), rng.integers(0, 3, size=45)
BYTES = rng.integers(0, 256, size=(45, 7)).astype(np.uint8)
HALVES = X.astype(np.float16)
HIDDEN = [7, Dense(40, activation="tanh"), Dense(33, activation="gelu"), 3]  # keep y, and z
PROGRAMS: dict[str, dict[str, Any]] = {
    **{name: {"layers": layers} for name, layers in LAYERS.items()},
    "wider": {},
    "penalties of the hidden": {
        "layers": [7, Dense(9, activation="tanh", penalty=L1(0.01)), Dense(5, penalty=L2(0.1)), 3]
    },
    "bytes": {"x": BYTES, "layers": [7, Rescale(1 / 255), *HIDDEN[1:]]},
    "bytes and dropout": {"x": BYTES, "layers": [7, Rescale(1 / 255), Dropout(0.2), *HIDDEN[1:]]},
    "rescaled twice": {"layers": [7, Rescale(0.5), Rescale(2.0, 0.5), *HIDDEN[1:]]},
    "halves": {"x": HALVES},
    "the other byte order": {"x": X.astype(">f8")},
    "dense targets": {"y": rng.dirichlet(np.ones(3), size=45)},
    "values": {"y": rng.normal(size=(45, 3)), "loss": "mean_squared_error"},
    "weighted": {"sample_weight": np.linspace(0, 2, 45)},
    "clipped": {"optimizer": Optimizer.table["adam"](clip_norm=0.1)},
    "parts": {"optimizer": Optimizer.table["adam"](accumulate=3), "batch_size": 12},
    "one row": {"batch_size": 1},
    "all rows": {"batch_size": 45},
}


def trained(name: str, steps: Pass, *, threads: int) -> tuple[np.ndarray, np.ndarray]:
    """The parameters and losses after two epochs of steps that were made so."""
    options = {"x": X, "y": LABELS, "layers": HIDDEN, "optimizer": "momentum", "batch_size": 8}
    options |= PROGRAMS[name]
    loss = options.pop("loss", "softmax_cross_entropy")
    layers = options.pop("layers")
    model = MLP(layers, dtype="float64", seed=5, loss=loss)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "fuse", steps)
        patch.setattr(native, "split_columns", lambda operations, threads: operations)
        options |= {"engine": "native", "threads": threads, "verbose": 0, "epochs": 2}
        history = model.fit(with_codes(options.pop("x"), layers), options.pop("y"), **options)
    return model.flat, np.array(history.step_loss)


@cache
def unfused(name: str) -> tuple[np.ndarray, np.ndarray]:
    return trained(name, list, threads=1)


CASES = [
    *((change, instruction_sets()[:1]) for change in PASSES),
    ("splitting", instruction_sets()[1:]),  # the others divide columns in other multiples
]


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize(
    ("change", "isa"), [(change, isa) for change, isas in CASES for isa in isas]
)
def test_each_pass_changes_no_result(
    change: str, isa: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By more than rounding, on one thread and on three."""
    monkeypatch.setenv("MLPX_ISA", isa)
    for limit in ("LEAST_COLUMNS", "LEAST_WEIGHTS"):
        monkeypatch.setattr(fusing, limit, 1)
    for threads in (1, 3):
        for found, wanted in zip(
            trained(name, PASSES[change], threads=threads), unfused(name), strict=True
        ):
            np.testing.assert_allclose(found, wanted, rtol=1e-11, atol=1e-11)
