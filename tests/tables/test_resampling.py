"""The bootstrap draws rows, or whole groups of them, as it says."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx.errors import InputError
from mlpx.tables import resampling
from mlpx.tables.resampling import Resamples


def test_each_draw_has_as_many_rows_and_all_rows_alike() -> None:
    times = Resamples.of(50, count=2000).times
    assert times.shape == (2000, 50)
    assert (times.sum(axis=1) == 50).all()
    np.testing.assert_allclose(times.mean(axis=0), 1.0, atol=5 * 2000**-0.5)
    np.testing.assert_allclose(times.var(axis=0), 1.0, atol=0.25)  # of a binomial: 1 - 1 / n


def test_sums_are_those_of_the_drawn_rows() -> None:
    resamples, columns = Resamples.of(20, count=7), np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(resamples.sums(columns), resamples.times @ columns, rtol=1e-6)
    weights = np.concatenate(list(resamples.weights()))
    assert np.array_equal(weights, resamples.times)


def test_groups_are_drawn_whole() -> None:
    groups = np.array(["b", "a", "b", "c", "a", "b"])
    weights = np.concatenate(list(Resamples.of(6, groups=groups, count=30).weights()))
    for name in "abc":
        own = weights[:, groups == name]
        assert (own == own[:, :1]).all()
    assert len(np.unique(weights, axis=0)) > 5


def test_of_many_rows_random_parts_are_drawn_that_scatter_as_rows_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = np.random.default_rng(1).normal(size=(40_000, 1))
    single = Resamples(np.arange(40_000), count=300).sums(values).std()
    monkeypatch.setattr(resampling, "BLOCKS", 2000)
    parts = Resamples.of(40_000, count=300)
    assert parts.times.shape == (300, 2000)
    assert np.bincount(parts.blocks).std() > 3  # by chance, not one row after the other
    assert parts.sums(values).std() == pytest.approx(single, rel=0.15)


def test_what_is_drawn_depends_on_the_seed_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    first, again, other = (Resamples.of(30, count=5, seed=seed).times for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    monkeypatch.setattr(resampling, "ELEMENTS", 64)
    parts = list(Resamples.of(30, count=5, seed=1).weights())
    assert [len(part) for part in parts] == [2, 2, 1]
    assert np.array_equal(np.concatenate(parts), first)


def test_no_rows_and_other_groups_are_refused() -> None:
    with pytest.raises(InputError, match="no held-out rows"):
        Resamples.of(0)
    with pytest.raises(InputError, match="groups has 2 rows; wanted 3"):
        Resamples.of(3, groups=np.zeros(2))
