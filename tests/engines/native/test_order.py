"""The library draws the permutations that NumPy draws."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx.engines.native import order
from mlpx.engines.native.library import load
from mlpx.random import Purpose, permutation, words


@pytest.mark.skipif(load() is None, reason="the native library was not built")
@pytest.mark.parametrize("epoch", [0, 3, 2**40])
@pytest.mark.parametrize("seed", [0, 7, 2**64 - 1])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 1023, 1024, 1025, 70_001])
def test_the_same_permutation(count: int, seed: int, epoch: int) -> None:
    found = order.shuffled(seed, Purpose.ORDER, count=count, epoch=epoch)
    wanted = permutation(words(seed, Purpose.ORDER, count=count, epoch=epoch))
    assert found.dtype == np.int64
    assert np.array_equal(found, wanted)


def test_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    before = order.shuffled(3, Purpose.SPLIT, count=50, epoch=1)
    monkeypatch.setattr(order, "load", lambda: None)
    assert np.array_equal(order.shuffled(3, Purpose.SPLIT, count=50, epoch=1), before)
