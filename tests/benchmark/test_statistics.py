"""Medians with an interval, ratios, and the rule when to stop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from mlpx.benchmark.statistics import (
    LEAST_ROUNDS,
    geometric_mean,
    is_narrow,
    ratio,
    summarise,
)


@pytest.mark.parametrize(
    ("n", "low", "high"), [(6, 1, 6), (8, 1, 8), (9, 2, 8), (12, 3, 10), (20, 6, 15), (50, 18, 33)]
)
def test_interval_of_the_median_against_the_published_table(n, low, high):
    # ranks from the binomial(n, 1/2) table, as in Conover, "Practical nonparametric statistics"
    found = summarise([float(i) for i in np.random.default_rng(n).permutation(n) + 1])
    assert (found.low, found.high) == (low, high)
    assert found.median == (n + 1) / 2
    assert found.rounds == n
    assert 0.95 <= found.coverage < 0.995


def test_coverage_is_what_is_observed():
    draw = np.random.default_rng(0)
    hits = []
    for _ in range(2000):
        found = summarise(list(draw.exponential(size=11)))
        hits.append(found.low <= math.log(2) <= found.high)
    assert np.mean(hits) == pytest.approx(found.coverage, abs=0.015)


def test_too_few_rounds_say_so():
    found = summarise([1.0, 3.0, 2.0])
    assert (found.low, found.median, found.high) == (1.0, 2.0, 3.0)
    assert found.coverage == pytest.approx(0.75)
    assert not is_narrow([1.0] * (LEAST_ROUNDS - 1), precision=0.5)
    assert is_narrow([1.0] * LEAST_ROUNDS, precision=0.0)


def test_narrow_is_half_the_interval_over_the_median():
    values = [0.95, 1.0, 1.0, 1.0, 1.0, 1.05]
    assert is_narrow(values, precision=0.0501)
    assert not is_narrow(values, precision=0.0499)


def test_ratio_adds_the_relative_widths_in_squares():
    a = summarise([9.0, 10.0, 10.0, 10.0, 10.0, 11.0])
    b = summarise([5.0] * 6)
    middle, low, high = ratio(a, b)
    assert (middle, low, high) == pytest.approx((2.0, 1.8, 2.2))
    inverse = ratio(b, a)
    assert inverse == pytest.approx((1 / middle, 1 / high, 1 / low))
    wide = ratio(a, a)
    assert wide[2] == pytest.approx(math.exp(math.hypot(math.log(1.1), math.log(10 / 9))))


def test_geometric_mean():
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
    assert math.isnan(geometric_mean([]))
