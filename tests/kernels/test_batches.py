"""What a step does around the network, kernel by kernel."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx.backend import get_backend
from mlpx.kernels import batches

RNG = np.random.default_rng(5)


def filled(*shape: int, dtype: Any = np.float64) -> np.ndarray:
    """Rubbish to write over."""
    return np.full(shape, 77, dtype)


def test_row_and_rows_of_a_table() -> None:
    take, table = get_backend("cpu").take, RNG.normal(size=(5, 3))
    out = filled(1, 3)
    batches.select_row(np, take, table, np.array([3, 1]), out=out)
    np.testing.assert_array_equal(out[0], table[3])
    rows, raw, cast = np.array([4, 0, 4]), filled(3, 3), filled(3, 3, dtype=np.float32)
    batches.gather(np, take, table, rows, raw=raw, out=cast)
    np.testing.assert_array_equal(cast, table[rows].astype(np.float32))
    batches.gather(np, take, table, rows, raw=raw, out=raw)
    np.testing.assert_array_equal(raw, table[rows])


@pytest.mark.parametrize(("position", "row"), [(0, 0), (4, 4), (5, 0), (13, 3)])
def test_rows_in_turn(position: int, row: int) -> None:
    take, table = get_backend("cpu").take, RNG.normal(size=(5, 3))
    state, at, out = np.array([position, 1]), filled(1, dtype=np.int64), filled(1, 3)
    batches.select_row_in_turn(np, take, table, state, at=at, out=out)
    np.testing.assert_array_equal(out[0], table[row])
    assert state.tolist() == [position, 1]


def test_weights_sum_to_one_unless_all_are_zero() -> None:
    w, total, out = np.array([[1.0], [0.0], [3.0]]), filled(1, 1), filled(3, 1)
    batches.normalise_weights(np, w, total=total, out=out)
    assert (total.item(), out.ravel().tolist()) == (4.0, [0.25, 0.0, 0.75])
    batches.normalise_weights(np, np.zeros((3, 1)), total=total, out=out)
    assert not out.any()
    assert not np.signbit(out).any()


def test_weighted_mean() -> None:
    r, rows, out = RNG.random((4, 1)), RNG.normal(size=(4, 1)), filled(1, 1)
    batches.weighted_mean(np, r, rows, out=out)
    assert out.item() == pytest.approx((r * rows).sum(), rel=1e-14)


def test_largest_output_of_each_row() -> None:
    z = np.array([[1.0, 3.0, 2.0], [0.0, -1.0, -2.0], [5.0, 6.0, 7.0]])
    labels = filled(3, dtype=np.int64)
    batches.likeliest(np, z, out=labels)
    assert labels.tolist() == [1, 0, 2]
    out, predicted = filled(3, 1), filled(3, dtype=np.int64)
    batches.correct(np, z, np.array([1, 2, 2]), predicted=predicted, out=out)
    assert out.ravel().tolist() == [1, 0, 1]


def test_all_columns_must_be_right() -> None:
    z = np.array([[1.0, -1.0], [0.5, 0.0], [0.5, -2.0], [-0.5, 2.0], [-1.0, -1.0]])
    t = np.array([[1.0, 0.0], [0.52, 0.5], [1.0, 1.0], [1.0, 0.0], [0.4, 0.1]])
    out, work = filled(5, 1), (filled(5, 2), filled(5, 2))
    batches.all_correct(np, z, t, work=work, out=out)
    assert out.ravel().tolist() == [1, 1, 0, 0, 1]


def test_norms_and_sums() -> None:
    arrays, out = (np.array([3.0, -4.0]), np.zeros(3), np.array([2.0])), filled(1, 3)
    batches.norms(np, arrays, out=out)
    assert out.tolist() == [[5, 0, 2]]
    batches.sum_rows(np, np.array([[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]), out=out)
    assert out.tolist() == [[11, 22, 33]]


def test_the_record_and_the_counters() -> None:
    log, state = filled(3, 2), np.array([1, 6])
    batches.record(np, log, state, np.array([[4.0, 5.0]]))
    assert log.tolist() == [[77, 77], [4, 5], [77, 77]]
    batches.advance(np, state)
    assert state.tolist() == [2, 7]
    x = np.asfortranarray(RNG.normal(size=(3, 2)))
    batches.copy(np, x, out=log)
    np.testing.assert_array_equal(log, x)
