"""Philox4x64-10 as plain integers, and as NumPy has it.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011.
"""

from __future__ import annotations

import numpy as np

MASK = (1 << 64) - 1
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

Four = tuple[int, int, int, int]


def block(counter: Four, key: tuple[int, int]) -> Four:
    """Four words from a counter of four and a key of two."""
    for i in range(10):
        k0, k1 = ((k + i * w) & MASK for k, w in zip(key, WEYL, strict=True))
        p0, p1 = MULTIPLIERS[0] * counter[0], MULTIPLIERS[1] * counter[2]
        counter = (
            (p1 >> 64) ^ counter[1] ^ k0,
            p1 & MASK,
            (p0 >> 64) ^ counter[3] ^ k1,
            p0 & MASK,
        )
    return counter


def numpys(counter: Four, key: tuple[int, int]) -> Four:
    """The same from NumPy's generator, which steps the counter before it draws."""
    whole = sum(word << 64 * i for i, word in enumerate(counter))
    generator = np.random.Philox(key=key[0] | key[1] << 64, counter=(whole - 1) % (1 << 256))
    words: Four = tuple(generator.random_raw(4).tolist())
    return words
