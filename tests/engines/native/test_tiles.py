"""Rows run in tiles that fit the cache, with the same results as all at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_cases import LAYERS, agrees

from mlpx import MLP, Dense, Optimizer
from mlpx.engines.lowering import Access, Operation, address, lower
from mlpx.engines.native import runner as native
from mlpx.engines.native import tiles
from mlpx.engines.native.assembly import NativeTarget
from mlpx.engines.native.barriers import Scheduled, schedule
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
    chain, count, local = max(links, key=lambda link: link.operations)
    names = [operation.name for operation, _ in placed[:chain]]
    assert {"gather", "affine", "softmax_loss", "affine_dW_part", "column_sum_part"} <= set(names)
    row_bytes = 4 * (100 + 50 + 50 + 10 + 10 + 3) + 8  # with the loss's; and the label
    assert count == round(4096 * row_bytes / tiles.CACHED_BYTES)
    for threads, share in ((2, 1), (1, 2)):  # rows of two threads; weights that fill it twice
        links = tiles.chains(placed, threads=threads, weights=share * tiles.CACHED_BYTES)
        count = round(4096 * row_bytes / tiles.CACHED_BYTES / 2)
        assert max(link[:2] for link in links) == (chain, count)
    within = {address(op["out"]) for op, _ in placed[:chain] if op.name in ("gather", "affine")}
    assert within & local.keys()
    for op, _ in placed[chain:]:  # what another operation reads is kept for all rows
        for a in op.touches:
            assert not any(a.start < i + n * 4096 and i < a.stop for i, n in local.items())


@pytest.mark.parametrize(
    ("before", "after", "is_local"),
    [
        ([], [], True),
        ([], ["read"], False),
        (["read"], [], False),  # it holds what the step before left there
        (["written"], [], False),
        ([], ["unknown"], True),
    ],
)
def test_what_a_tile_needs_for_itself_has_one_tiles_memory(
    before: list[str], after: list[str], is_local: bool
) -> None:
    """If it is written row by row before it is read, and nothing outside the chain touches it."""
    rows, size = 4096, 4096 << 10
    by_row = ("rows", rows)
    x, y = (Access(i * size, (i + 1) * size, True, by_row) for i in (1, 2))
    outside = {
        "read": Access(size, size + 8, False),
        "written": Access(size, size + 8, True),
        "unknown": Access(0, 8, True),
    }
    chain = [(x,), (replace(x, writes=False), y)]
    others = [[(outside[name],) for name in names] for names in (before, after)]
    touches = [*others[0], *chain, *others[1]]
    scheduled = [Scheduled(Operation("", (), (), (), t), wait=False) for t in touches]
    links = tiles.chains(scheduled, threads=1, weights=0)
    link = links[len(before)]
    assert link.operations == 2
    assert link.tiles > 1
    assert link.local == ({size: 1024, 2 * size: 1024} if is_local else {2 * size: 1024})
    part = replace(x, start=x.start + 1024, writes=False)
    for other in ((chain[1], chain[0]), (chain[0], (part, y))):  # read before, and read in part
        scheduled = [Scheduled(Operation("", (), (), (), t), wait=False) for t in other]
        assert size not in tiles.chains(scheduled, threads=1, weights=0)[0].local
