"""Counter-based random numbers: the same on every device, at any point, from the seed alone.

The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC
2011), the one NumPy ships. A stream is keyed by (seed, purpose); the position in the stream is a
counter of four words (block, step, epoch, item), so that any batch order or dropout mask can be
drawn without those before it. Floats, normals and permutations are derived from the raw words here,
because NumPy may change how its `Generator` derives them.
"""

from __future__ import annotations

import os
import threading
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlpx.errors import InputError, InputTypeError

Words = NDArray[np.uint64]
_WORD = 1 << 64
_PIECE = 8192


class Purpose(IntEnum):
    """What a stream is for; streams of different purposes never overlap."""

    WEIGHTS = 1
    ORDER = 2
    DROPOUT = 3
    NOISE = 4
    SPLIT = 5
    DIRECTIONS = 6
    SEARCH = 7
    RESAMPLE = 8
    PERMUTE = 9
    START = 10


def check_seed(seed: int | None) -> int:
    """The seed to use: `seed` itself, or a fresh one from the operating system for None.

    Raises InputTypeError or InputError unless it is a whole number in [0, 2**64).
    """
    if seed is None:
        return int.from_bytes(os.urandom(8), "little")
    if isinstance(seed, bool) or not hasattr(seed, "__index__"):
        raise InputTypeError(f"seed = {seed!r} is a {type(seed).__name__}; it must be an integer")
    if not 0 <= seed < _WORD:
        raise InputError(f"seed = {seed}; it must be in [0, 2**64)")
    return int(seed)


def fill_words(seed: int, purpose: int, *, step: int, item: int, out: Words) -> None:
    """`words` of epoch 0 into `out`, in pieces, so that nothing of its size is allocated."""
    generator = _generator(seed, purpose, (step << 64) | (item << 192))
    for start in range(0, len(out), _PIECE):
        part = out[start : start + _PIECE]
        part[...] = generator.random_raw(len(part))


def words(
    seed: int, purpose: Purpose, *, count: int, step: int = 0, epoch: int = 0, item: int = 0
) -> Words:
    """`count` raw 64-bit words of the stream, uint64 of shape (count,).

    Block i of four words is Philox4x64-10 of counter (i, step, epoch, item) under key (seed,
    purpose).
    """
    counter = (step << 64) | (epoch << 128) | (item << 192)
    raw: Words = _generator(seed, purpose, counter).random_raw(count)
    return raw


class _Generators(threading.local):
    """One generator per thread: making a new one would ask the system for unused entropy, which
    takes longer than drawing a few words.
    """

    def __init__(self) -> None:
        self.philox = np.random.Philox(0)
        self.idle: Any = self.philox.state  # with an empty buffer


_generators = _Generators()


def _generator(seed: int, purpose: int, counter: int) -> np.random.Philox:
    """The thread's generator at this counter, until the next call."""
    # NumPy advances the counter before it draws, so it starts one before ours.
    key = np.array([seed, int(purpose)], dtype=np.uint64)
    philox, state = _generators.philox, {"key": key, "counter": _before(counter)}
    philox.state = _generators.idle | {"state": state}
    return philox


def _before(counter: int) -> Words:
    low, mask = (counter - 1) % (1 << 256), _WORD - 1
    words = (low & mask, low >> 64 & mask, low >> 128 & mask, low >> 192)
    return np.array(words, dtype=np.uint64)


def uniform(raw: Words) -> NDArray[np.float64]:
    """Floats in [0, 1) on the grid of 2**-53, one per word."""
    floats: NDArray[np.float64] = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return floats


def normal(raw: Words) -> NDArray[np.float64]:
    """Standard normals from an even number of words, one per word.

    Source: Box and Muller, "A note on the generation of random normal deviates", 1958.
    """
    first, second = uniform(raw[0::2]), uniform(raw[1::2])
    radius = np.sqrt(-2.0 * np.log1p(-first))  # 1 - first is in (0, 1]: the logarithm is finite
    angle = 2.0 * np.pi * second
    pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    return pairs.reshape(-1)


def permutation(raw: Words) -> NDArray[np.int64]:
    """A permutation of range(len(raw)), from one word per element.

    The low bits of each word are replaced by the element's index, so all keys differ and any
    correct sort of them gives the same permutation on every machine and device.
    """
    keys = raw & ~low_bits(len(raw))
    keys |= np.arange(len(raw), dtype=np.uint64)
    return places(keys)


def low_bits(count: int) -> np.uint64:
    """The bits that hold any index below `count`."""
    return np.uint64((1 << max(count - 1, 1).bit_length()) - 1)


def places(keys: Words) -> NDArray[np.int64]:
    """The indices of keys in ascending order; each has its own in its low bits. In their memory."""
    keys.sort()
    keys &= low_bits(len(keys))
    return keys.view(np.int64)


def integers(raw: Words, bound: int) -> NDArray[np.int64]:
    """Whole numbers in [0, bound), bound <= 2**31, one per word, from its upper 32 bits by
    multiplication.

    The bias is below bound / 2**32. Source: Lemire, "Fast random integer generation in an
    interval", 2019.
    """
    drawn: NDArray[np.int64] = (
        ((raw >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32)
    ).astype(np.int64)
    return drawn
