"""The named memory that the plans of a program share."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import MLP
from mlpx.plan.plan import Buffers


def made() -> Buffers:
    return Buffers(MLP([2, 2]).backend, 10, np.dtype("float32"))


def test_smaller_batches_use_the_same_memory() -> None:
    buffers = made()
    large, small = buffers.get("a", 10, 3), buffers.get("a", 4, 3)
    assert (large.shape, small.shape) == ((10, 3), (4, 3))
    assert np.shares_memory(large, small)
    assert buffers.nbytes == 10 * 3 * 4


def test_names_are_apart_and_columns_lie_by_column() -> None:
    buffers = made()
    a, b = buffers.get("a", 10, 3), buffers.get("b", 10, 3, dtype="int64", by_column=True)
    assert not np.shares_memory(a, b)
    assert b.shape == (10, 3)
    assert b.flags.f_contiguous
    assert b.dtype == np.int64


def test_a_name_means_one_array() -> None:
    buffers = made()
    buffers.get("a", 10, 3)
    with pytest.raises(ValueError, match="'a' is 3 wide, float32, by row; asked for 4 wide"):
        buffers.get("a", 10, 4)
    with pytest.raises(ValueError, match="asked for 3 wide, float64, by column"):
        buffers.get("a", 10, 3, dtype="float64", by_column=True)
    with pytest.raises(ValueError, match=r"'a' is .*; asked for 30 wide, float32, vector"):
        buffers.vector("a", 30)


def test_more_rows_than_there_is_memory_for_are_refused() -> None:
    with pytest.raises(ValueError, match="buffer 'a' is for 10 rows; asked for 11"):
        made().get("a", 11, 3)
