"""Philox4x64-10: known answers, and the same bits from the host and from array operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fakecupy
from mlpx.backend import get_backend
from mlpx.kernels import philox
from mlpx.random import Purpose, fill_words, words
from reference.layers import philox as reference

ONES = 2**64 - 1
# Random123's kat_vectors for philox4x64-10: counter, key, words.
KNOWN = [
    (
        [0, 0, 0, 0],
        [0, 0],
        [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B],
    ),
    (
        [ONES] * 4,
        [ONES] * 2,
        [0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0],
    ),
    (
        [0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89],
        [0x452821E638D01377, 0xBE5466CF34E90C6C],
        [0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6],
    ),
]
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


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN)
def test_rounds_give_the_known_answers(
    counter: list[int], key: list[int], expected: list[int]
) -> None:
    assert reference(counter, key) == expected
    c = [np.array([word], dtype=np.uint64) for word in (*counter, 0, 0)]
    work = tuple(np.empty(1, np.uint64) for _ in range(3))
    for _ in range(10):
        c = philox._round(np, c, key, work)
        key = [(k + w) % 2**64 for k, w in zip(key, philox.WEYL, strict=True)]
    assert [int(word[0]) for word in c[:4]] == expected


def test_zero_stream_of_the_host_starts_with_the_known_answer() -> None:
    out = np.empty(4, np.uint64)
    fill_words(0, 0, step=0, item=0, out=out)
    assert out.tolist() == KNOWN[0][2]


@given(seed=WORD, step=st.integers(0, 2**63 - 1), item=WORD, blocks=st.integers(1, 5))
def test_arrays_equal_the_hosts_generator(seed: int, step: int, item: int, blocks: int) -> None:
    found = arrays(seed, Purpose.DROPOUT, step, item, blocks)
    expected = words(seed, Purpose.DROPOUT, count=4 * blocks, step=step, item=item)
    np.testing.assert_array_equal(found, expected)
    into = np.zeros(4 * blocks - 1, np.uint64)
    fill_words(seed, Purpose.DROPOUT, step=step, item=item, out=into)
    np.testing.assert_array_equal(into, expected[:-1])
    last = reference([blocks - 1, step, 0, item], [seed, int(Purpose.DROPOUT)])
    assert [int(word) for word in expected[-4:]] == last


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
