"""Philox4x64-10 as array operations, for devices without a generator of their own.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The words are those
of `mlpx.random.words`, bit for bit.
"""

from __future__ import annotations

import numpy as np

from mlpx.types import Array, Namespace

MULTIPLIERS = 0xD2E7470EE14C6C93, 0xCA5A826395121157
WEYL = 0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B
ROUNDS = 10
SCRATCH = 9
"""How many uint64 arrays, of one element per block, `fill` needs."""
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


def fill(
    xp: Namespace,
    state: Array,
    *,
    seed: int,
    purpose: int,
    item: int,
    blocks: Array,
    out: Array,
    work: tuple[Array, ...],
) -> None:
    """out = the words of blocks 0, 1, ... at the step in `state`, four words per block.

    Block i is Philox4x64-10 of counter (i, state[1], 0, item) under key (seed, purpose). state
    int64 (2,), blocks uint64 (m,) holds 0 to m - 1, out uint64 (4 m,), work SCRATCH arrays uint64
    (m,).
    """
    c = list(work[:6])
    xp.copyto(c[0], blocks)
    xp.copyto(c[1], state.view(np.uint64)[1:2])
    c[2].fill(0)
    c[3].fill(item)
    key = [seed, purpose]
    for _ in range(ROUNDS):
        c = _round(xp, c, key, work[6:])
        key = [(k + w) % 2**64 for k, w in zip(key, WEYL, strict=True)]
    words = out.reshape(-1, 4)
    for i in range(4):
        xp.copyto(words[:, i], c[i])


def _round(xp: Namespace, c: list[Array], key: list[int], work: tuple[Array, ...]) -> list[Array]:
    """One round on c[0] to c[3]; returns the arrays in their new roles, the last two free."""
    c0, c1, c2, c3, high0, high1 = c
    multiply_high(xp, c0, MULTIPLIERS[0], out=high0, work=work)
    multiply_high(xp, c2, MULTIPLIERS[1], out=high1, work=work)
    c0 *= np.uint64(MULTIPLIERS[0])  # the low half of the product: uint64 wraps
    c2 *= np.uint64(MULTIPLIERS[1])
    high1 ^= c1
    high1 ^= np.uint64(key[0])
    high0 ^= c3
    high0 ^= np.uint64(key[1])
    return [high1, c2, high0, c0, c1, c3]


def multiply_high(xp: Namespace, x: Array, m: int, *, out: Array, work: tuple[Array, ...]) -> None:
    """out = the upper 64 bits of x m, from products of 32-bit halves; all uint64 (n,)."""
    m_low, m_high = np.uint64(m & 0xFFFFFFFF), np.uint64(m >> 32)
    low, high, t = work
    xp.bitwise_and(x, _LOW, out=low)
    xp.right_shift(x, _HALF, out=high)
    xp.multiply(low, m_low, out=out)
    out >>= _HALF
    xp.multiply(high, m_low, out=t)
    t += out  # high m_low + carry: below 2**64
    xp.bitwise_and(t, _LOW, out=out)
    low *= m_high
    low += out
    low >>= _HALF
    t >>= _HALF
    xp.multiply(high, m_high, out=out)
    out += t
    out += low
