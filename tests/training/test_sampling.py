"""Row orders depend on seed and epoch alone, are fair, and differ every epoch."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx.training.sampling import SAMPLINGS, hold_out, rows_per_epoch


def draw(name: str, *, seed: int = 0, epoch: int = 0, n: int = 100, rows: int = 100) -> np.ndarray:
    return SAMPLINGS[name](seed, epoch, n, rows)


@pytest.mark.parametrize("n", [1, 2, 3, 100, 1025])
@pytest.mark.parametrize("name", ["shuffle", "sequential"])
def test_every_row_once(name: str, n: int) -> None:
    order = draw(name, n=n, rows=n)
    assert order.dtype == np.int64
    assert sorted(order) == list(range(n))


def test_sequential_is_as_it_lies() -> None:
    assert draw("sequential", epoch=3).tolist() == list(range(100))


@pytest.mark.parametrize("name", ["shuffle", "whole_batches", "with_replacement"])
def test_seed_and_epoch_alone_decide(name: str) -> None:
    first = draw(name, seed=1, epoch=2)
    assert np.array_equal(first, draw(name, seed=1, epoch=2))
    assert not np.array_equal(first, draw(name, seed=1, epoch=3))
    assert not np.array_equal(first, draw(name, seed=2, epoch=2))
    assert not np.array_equal(first, draw("sequential"))


def test_what_whole_batches_leave_out_differs_every_epoch() -> None:
    orders = [draw("whole_batches", epoch=e, n=20, rows=16) for e in range(50)]
    assert all(len(set(order)) == 16 for order in orders)
    left_out = {tuple(sorted(set(range(20)) - set(order))) for order in orders}
    assert len(left_out) > 40
    assert set(np.concatenate(orders)) == set(range(20))


def test_replacement_draws_every_row_alike() -> None:
    order = draw("with_replacement", n=10, rows=100_000)
    counts = np.bincount(order, minlength=10)
    assert len(counts) == 10
    assert abs(counts - 10_000).max() < 5 * np.sqrt(10_000 * 0.9)


def test_shuffles_put_every_row_everywhere() -> None:
    places = np.array([draw("shuffle", epoch=e, n=5, rows=5) for e in range(2000)])
    for place in places.T:
        counts = np.bincount(place, minlength=5)
        assert abs(counts - 400).max() < 5 * np.sqrt(400 * 0.8)


def test_rows_held_out_are_of_the_seed_alone() -> None:
    kept, held = hold_out(3, 50, 12)
    assert len(held) == 12
    assert sorted([*kept, *held]) == list(range(50))
    assert kept.tolist() == sorted(kept)
    assert held.tolist() == sorted(held)
    assert np.array_equal(held, hold_out(3, 50, 12)[1])
    assert not np.array_equal(held, hold_out(4, 50, 12)[1])
    assert not np.array_equal(held, np.arange(38, 50))


@pytest.mark.parametrize(
    ("name", "n", "batch_size", "rows"),
    [("shuffle", 23, 6, 23), ("sequential", 23, 6, 23), ("with_replacement", 23, 6, 24),
     ("with_replacement", 24, 6, 24), ("with_replacement", 1, 1, 1),
     ("whole_batches", 23, 6, 18), ("whole_batches", 24, 6, 24), ("whole_batches", 5, 5, 5)],
)  # fmt: skip
def test_rows_of_an_epoch(name: str, n: int, batch_size: int, rows: int) -> None:
    """With replacement, and where it is left out, there is no ragged batch."""
    assert rows_per_epoch(name, n, batch_size) == rows
