"""Rows run in tiles that fit the cache, with the same results as all at once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_cases import LAYERS, agrees

from mlpx import MLP, Dense, Optimizer
from mlpx.engines.lowering import lower
from mlpx.engines.native import runner as native
from mlpx.engines.native import tiles
from mlpx.engines.native.assembly import NativeTarget
from mlpx.engines.native.barriers import schedule
from mlpx.engines.native.library import load
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")


@pytest.mark.parametrize("own", [True, False], ids=["own sums", "shared sums"])
@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_tiles(layers: list[Any], own: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if a batch is not a whole number of tiles, or has fewer rows than the data."""
    monkeypatch.setattr(native, "worth_own_sums", lambda *_: own)
    monkeypatch.setattr(tiles, "_tiles", lambda *_, **__: 4)
    agrees("native", layers, batch_size=42, optimizer="momentum")


def test_parts_of_a_batch_in_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "worth_own_sums", lambda *_: True)
    monkeypatch.setattr(tiles, "_tiles", lambda *_, **__: 4)
    agrees(
        "native", LAYERS["dropout"], optimizer=Optimizer.table["adam"](accumulate=2), batch_size=10
    )


def test_rows_run_in_tiles_that_fit_the_cache() -> None:
    """Gathering, network, loss and backward pass are one chain, in tiles that fit the cache."""
    model = MLP([100, Dense(50, activation="tanh"), 10])
    data = TrainingData(np.ones((4096, 100), np.float32), np.zeros(4096, np.int64), None)
    program = TrainingProgram(
        model, data, optimizer=Optimizer.resolve("sgd"), moments={}, batch_size=4096, rows=4096
    )
    plan = program.full
    assert plan is not None
    found = tiles.sum_by_rows(lower(program, plan, NativeTarget()), program.gradient, None)
    placed = schedule(found)
    links = tiles.chains(placed, threads=1, weights=model.flat.nbytes)
    chain, count = max(links)
    names = [operation.name for operation, _ in placed[:chain]]
    assert {"gather", "affine", "softmax_loss", "affine_dW_part", "column_sum_part"} <= set(names)
    row_bytes = 4 * (100 + 50 + 50 + 10 + 10 + 3) + 8  # with the loss's; and the label
    assert count == round(4096 * row_bytes / tiles.CACHED_BYTES)
    for threads, share in ((2, 1), (1, 2)):  # rows of two threads; weights that fill it twice
        links = tiles.chains(placed, threads=threads, weights=share * tiles.CACHED_BYTES)
        assert max(links) == (chain, round(4096 * row_bytes / tiles.CACHED_BYTES / 2))
