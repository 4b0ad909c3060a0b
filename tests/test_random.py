"""The generator against NumPy and a plain reference, and its statistics."""

from __future__ import annotations

from collections import Counter
from itertools import permutations
from math import erf, log, pi, sqrt
from threading import Thread
from typing import Any

import numpy as np
import pytest
from reference import philox

from mlpx.errors import InputError, InputTypeError
from mlpx.random import (
    Purpose,
    check_seed,
    fill_words,
    integers,
    normal,
    permutation,
    uniform,
    words,
)

N = 100_000
MASK = philox.MASK


def draw(count: int, seed: int = 3, **where: int) -> np.ndarray:
    return words(seed, Purpose.WEIGHTS, count=count, **where)


@pytest.mark.parametrize(
    ("seed", "step", "epoch", "item"),
    [
        (0, 0, 0, 0),
        (1, 2, 3, 4),
        (MASK, MASK, MASK, MASK),
        (9, 0, 0, 1),
        (9, 0, 1, 0),
        (9, 1, 0, 0),
    ],
)
@pytest.mark.parametrize("purpose", list(Purpose))
def test_words_are_blocks_of_philox(
    seed: int, step: int, epoch: int, item: int, purpose: Purpose
) -> None:
    wanted = [
        word
        for i in range(3)
        for word in philox.block((i, step, epoch, item), (seed, int(purpose)))
    ]
    found = words(seed, purpose, count=11, step=step, epoch=epoch, item=item)
    assert found.dtype == np.uint64
    assert found.tolist() == wanted[:11]


def test_words_are_numpys_from_one_block_back() -> None:
    numpys = np.random.Philox(key=np.array([5, int(Purpose.ORDER)], np.uint64), counter=0)
    np.testing.assert_array_equal(
        words(5, Purpose.ORDER, count=44)[4:], numpys.random_raw(40)
    )  # NumPy's first block is our second


@pytest.mark.parametrize("count", [0, 1, 5, 8192, 8193, 20_000])
def test_fill_words_is_words(count: int) -> None:
    out = np.full(count, 7, dtype=np.uint64)
    fill_words(4, Purpose.DROPOUT, step=3, item=2, out=out)
    np.testing.assert_array_equal(out, words(4, Purpose.DROPOUT, count=count, step=3, item=2))


def test_another_thread_disturbs_nothing() -> None:
    class Disturbed(np.ndarray):
        """While a piece of it is looked for, another thread draws words."""

        def __getitem__(self, part: Any) -> Any:
            other = Thread(target=words, args=(1, Purpose.ORDER), kwargs={"count": 3})
            other.start()
            other.join()
            return super().__getitem__(part)

    out = np.zeros(20_000, np.uint64)
    fill_words(4, Purpose.DROPOUT, step=3, item=2, out=out.view(Disturbed))
    np.testing.assert_array_equal(out, words(4, Purpose.DROPOUT, count=20_000, step=3, item=2))


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5])
def test_fewer_words_are_the_first_of_more(count: int) -> None:
    np.testing.assert_array_equal(draw(count), draw(9)[:count])


def test_streams_do_not_meet() -> None:
    streams = [
        words(seed, purpose, count=50, step=step, epoch=epoch, item=item)
        for purpose in Purpose
        for seed, step, epoch, item in [
            (0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0, 1, 1, 1)
        ]
    ]  # fmt: skip
    assert len(np.unique(np.concatenate(streams))) == 50 * len(streams)


def test_purposes_keep_their_numbers() -> None:
    """They are part of every stream: another number is another run from the same seed."""
    assert {p.name: int(p) for p in Purpose} == {
        "WEIGHTS": 1, "ORDER": 2, "DROPOUT": 3, "NOISE": 4, "SPLIT": 5, "DIRECTIONS": 6,
        "SEARCH": 7, "RESAMPLE": 8, "PERMUTE": 9, "START": 10,
    }  # fmt: skip


def kolmogorov(sample: np.ndarray, distribution: Any) -> float:
    """sqrt(n) times the largest distance between the sample's distribution and another."""
    ordered = np.sort(sample)
    exact = np.array([distribution(float(x)) for x in ordered])
    n = len(ordered)
    below, above = exact - np.arange(n) / n, np.arange(1, n + 1) / n - exact
    return float(sqrt(n) * max(below.max(), above.max()))


KOLMOGOROV = 1.95  # exceeded once in a thousand seeds; these are fixed


def test_uniform_is_uniform() -> None:
    u = uniform(draw(N))
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 4 / sqrt(12 * N)
    assert abs(u.var() - 1 / 12) < 4 / sqrt(180 * N)
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / sqrt(N)
    assert kolmogorov(u, lambda x: x) < KOLMOGOROV


def test_uniform_ends() -> None:
    raw = np.array([0, 2**11 - 1, 2**11, MASK], dtype=np.uint64)
    assert uniform(raw).tolist() == [0.0, 0.0, 2.0**-53, 1 - 2.0**-53]


def test_normal_is_normal() -> None:
    z = normal(draw(N))
    assert abs(z.mean()) < 4 / sqrt(N)
    assert abs(z.var() - 1) < 4 * sqrt(2 / N)
    assert abs((z**3).mean()) < 4 * sqrt(15 / N)
    assert abs((z**4).mean() - 3) < 4 * sqrt(96 / N)
    assert kolmogorov(z, lambda x: (1 + erf(x / sqrt(2))) / 2) < KOLMOGOROV
    assert abs(np.corrcoef(z[0::2], z[1::2])[0, 1]) < 4 / sqrt(N / 2)


def test_normal_is_box_and_muller() -> None:
    raw = np.array([0, 5, MASK, 0, 1 << 63, 1 << 62], dtype=np.uint64)
    found = normal(raw)
    farthest, middle = sqrt(2 * 53 * log(2)), sqrt(2 * log(2))
    np.testing.assert_allclose(found, [0, 0, farthest, 0, 0, middle], atol=1e-15)
    assert normal(raw[:2]).shape == (2,)
    quarter = normal(np.array([1 << 63, 1 << 61], dtype=np.uint64))
    np.testing.assert_allclose(quarter, middle * np.array([np.cos(pi / 4), np.sin(pi / 4)]))


@pytest.mark.parametrize("n", [1, 2, 3, 64, 65, 1000])
def test_permutation_is_one(n: int) -> None:
    order = permutation(draw(n))
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_permutation_of_nothing() -> None:
    assert permutation(draw(0)).shape == (0,)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_every_permutation_is_as_likely(n: int) -> None:
    draws = 12_000
    counts = Counter(tuple(permutation(draw(n, item=i)).tolist()) for i in range(draws))
    each = draws / len(list(permutations(range(n))))
    chi2 = sum((counts[p] - each) ** 2 / each for p in permutations(range(n)))
    cells = draws / each - 1
    assert chi2 < cells + 4 * sqrt(2 * cells) + 8


def test_permutation_of_equal_words_is_in_order() -> None:
    assert permutation(np.full(5, MASK, np.uint64)).tolist() == [0, 1, 2, 3, 4]


def test_permutation_orders_by_the_high_bits() -> None:
    raw = np.array([3 << 60, 1 << 60, 2 << 60, 0], dtype=np.uint64)
    assert permutation(raw).tolist() == [3, 1, 2, 0]
    # Two words apart in their lowest used bit: those below belong to the index.
    assert permutation(np.array([1 << 2, 0, 0], dtype=np.uint64)).tolist() == [1, 2, 0]


@pytest.mark.parametrize("bound", [1, 2, 3, 10, 2**31])
def test_integers_stay_in_bounds(bound: int) -> None:
    ends = np.array([0, MASK], dtype=np.uint64)
    assert integers(ends, bound).tolist() == [0, bound - 1]
    drawn = integers(draw(N), bound)
    assert drawn.dtype == np.int64
    assert drawn.min() >= 0
    assert drawn.max() < bound
    assert abs(drawn.mean() / bound - (0.5 - 0.5 / bound)) < 4 / sqrt(12 * N)


def test_integers_are_even() -> None:
    counts = np.bincount(integers(draw(N), 10), minlength=10)
    chi2 = float(((counts - N / 10) ** 2 / (N / 10)).sum())
    assert chi2 < 9 + 4 * sqrt(18)


def test_seed() -> None:
    assert check_seed(0) == 0
    assert check_seed(MASK) == MASK
    assert type(check_seed(np.int32(7))) is int  # type: ignore[arg-type]
    assert check_seed(None) != check_seed(None)
    assert 0 <= check_seed(None) <= MASK
    for wrong in (-1, MASK + 1):
        with pytest.raises(InputError, match=rf"seed = {wrong}; it must be in \[0, 2\*\*64\)"):
            check_seed(wrong)
    for other in (1.0, "1", True):
        with pytest.raises(InputTypeError, match="must be an integer"):
            check_seed(other)  # type: ignore[arg-type]
