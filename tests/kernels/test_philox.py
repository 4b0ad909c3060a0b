"""Philox4x64-10: the same bits from NumPy, the host and array operations."""

from __future__ import annotations

from typing import Any

import fakecupy
import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st
from reference import philox as reference

from mlpx.backend import get_backend
from mlpx.kernels import philox
from mlpx.random import Purpose, fill_words, words

ONES = reference.MASK
WORD = st.integers(0, ONES)


def arrays(seed: int, purpose: int, step: int, item: int, blocks: int, xp: Any = np) -> Any:
    """The words that the array kernel draws."""
    out = xp.empty(4 * blocks, np.uint64)
    state = xp.asarray(np.array([3, step], dtype=np.uint64).view(np.int64))
    philox.fill(
        xp, state, seed=seed, purpose=purpose, item=item,
        blocks=xp.asarray(np.arange(blocks, dtype=np.uint64)), out=out,
        work=tuple(xp.empty(blocks, np.uint64) for _ in range(philox.SCRATCH)),
    )  # fmt: skip
    return out


@given(counter=st.tuples(*[WORD] * 4), key=st.tuples(*[WORD] * 2))
@example(counter=(0, 0, 0, 0), key=(0, 0))
@example(counter=(ONES,) * 4, key=(ONES,) * 2)
def test_rounds_give_numpys_words(counter: Any, key: Any) -> None:
    wanted = reference.numpys(counter, key)
    assert reference.block(counter, key) == wanted
    c = [np.array([word], dtype=np.uint64) for word in (*counter, 0, 0)]
    work = tuple(np.empty(1, np.uint64) for _ in range(3))
    for _ in range(philox.ROUNDS):
        c = philox._round(np, c, key, work)
        key = [(k + w) % 2**64 for k, w in zip(key, philox.WEYL, strict=True)]
    assert tuple(int(word[0]) for word in c[:4]) == wanted


@given(seed=WORD, step=st.integers(0, 2**63 - 1), item=WORD, blocks=st.integers(1, 5))
def test_arrays_equal_the_hosts_generator(seed: int, step: int, item: int, blocks: int) -> None:
    found = arrays(seed, Purpose.DROPOUT, step, item, blocks)
    expected = words(seed, Purpose.DROPOUT, count=4 * blocks, step=step, item=item)
    np.testing.assert_array_equal(found, expected)
    into = np.zeros(4 * blocks - 1, np.uint64)
    fill_words(seed, Purpose.DROPOUT, step=step, item=item, out=into)
    np.testing.assert_array_equal(into, expected[:-1])
    last = reference.block((blocks - 1, step, 0, item), (seed, int(Purpose.DROPOUT)))
    assert tuple(expected[-4:].tolist()) == last


def test_pieces_join_to_one_stream() -> None:
    out = np.empty(20001, np.uint64)
    fill_words(5, Purpose.NOISE, step=9, item=2, out=out)
    np.testing.assert_array_equal(out, words(5, Purpose.NOISE, count=20001, step=9, item=2))


@given(x=WORD, m=WORD)
def test_high_half_of_a_product(x: int, m: int) -> None:
    out, *work = (np.empty(1, np.uint64) for _ in range(4))
    philox.multiply_high(np, np.array([x], dtype=np.uint64), m, out=out, work=tuple(work))
    assert int(out[0]) == x * m >> 64


def test_device_draws_what_the_host_draws_without_allocating() -> None:
    with fakecupy.installed() as cupy:
        found = arrays(11, Purpose.DROPOUT, 77, 3, 50, cupy)
        np.testing.assert_array_equal(
            found.get(), words(11, Purpose.DROPOUT, count=200, step=77, item=3)
        )


def test_backends_say_who_draws() -> None:
    backend = get_backend("cpu")
    out = np.empty(6, np.uint64)
    assert backend.fill_words is not None
    backend.fill_words(np.array([1, 8]), seed=3, purpose=3, item=5, out=out)
    np.testing.assert_array_equal(out, words(3, Purpose.DROPOUT, count=6, step=8, item=5))
    with fakecupy.installed():
        assert get_backend("cuda").fill_words is None
