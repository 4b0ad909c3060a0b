"""Philox4x64-10 as plain integers.

Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011; the answers are those
that come with its Random123 library (kat_vectors).
"""

from __future__ import annotations

MASK = (1 << 64) - 1
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)

Four = tuple[int, int, int, int]
ANSWERS: tuple[tuple[Four, tuple[int, int], Four], ...] = (
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (MASK, MASK, MASK, MASK),
        (MASK, MASK),
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
)
"""Counter, key and output: zeros, ones, and the digits of pi."""


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
