"""What gpu_cluster.cu is given and what it must answer, in float64: a cluster of B blocks trains
784-50-10 at batch 100.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

INPUTS, HIDDEN, OUT, BATCH, WIDTH = 784, 50, 10, 100, 52
BATCHES, RATE = 4, 0.05

Floats = np.ndarray[Any, np.dtype[Any]]


class Problem:
    """The numbers for a cluster of `blocks`; each kernel takes them as they are."""

    def __init__(self, blocks: int) -> None:
        self.blocks = blocks
        self.columns = INPUTS // blocks
        self.rows = -(-BATCH // blocks)
        self.items = self.rows * WIDTH // 4
        """The float4 of a block's rows."""
        random = np.random.default_rng(blocks)
        shape = (blocks, blocks, self.rows, WIDTH)
        self.parts = random.standard_normal(shape).astype(np.float32)
        self.x = random.random((BATCH, self.columns), np.float32)
        self.W = random.standard_normal((self.columns, HIDDEN)).astype(np.float32)
        self.d = random.standard_normal((BATCH, HIDDEN)).astype(np.float32)
        self.bytes = random.integers(0, 256, (BATCHES, BATCH, INPUTS), np.uint8)
        self.W1 = (random.standard_normal((INPUTS, HIDDEN)) / 20).astype(np.float32)
        self.W2 = np.zeros(512, np.float32)
        self.W2[: HIDDEN * OUT] = random.standard_normal(HIDDEN * OUT) / 10

    @cached_property
    def images(self) -> Floats:
        """The bytes as blocks take them: (batches, blocks, 100, columns and zeros)."""
        wide = -(-self.columns // 4) * 4
        cut = self.bytes.reshape(BATCHES, BATCH, self.blocks, self.columns).swapaxes(1, 2)
        return np.ascontiguousarray(np.pad(cut, [(0, 0)] * 3 + [(0, wide - self.columns)]))

    def scattered(self, rounds: int) -> Floats:
        """Sums that each block ends with, (blocks, rows, 52), after so many rounds."""
        parts = self.parts.astype(np.float64)
        parts[:, :, 0, 0] = (rounds - 1 + np.arange(self.blocks))[:, None]
        sums: Floats = parts.sum(0)
        return sums

    def gathered(self, items: int, rounds: int) -> Floats:
        """What each block ends with, (blocks, blocks, 4 items), after so many rounds."""
        sent = self.parts.reshape(self.blocks, -1)[:, : 4 * items].astype(np.float64)
        sent[:, 0] = rounds - 1 + np.arange(self.blocks)
        return np.broadcast_to(sent, (self.blocks, *sent.shape))

    def product(self) -> Floats:
        return self.x.astype(np.float64) @ self.W

    def descended(self, reps: int, rate: float) -> Floats:
        return self.W - reps * rate * (self.x.astype(np.float64).T @ self.d)

    def trained(self, steps: int) -> Floats:
        """W1 and then W2 in 512 numbers, after so many steps."""
        W1, W2 = self.W1.astype(np.float64), self.W2[: HIDDEN * OUT].astype(np.float64)
        W2 = W2.reshape(HIDDEN, OUT)
        targets = (np.arange(BATCH)[:, None] * 7 + np.arange(OUT) * 3) % 10 / 10
        for step in range(steps):
            x = self.bytes[step % BATCHES] / 255
            h = np.maximum(x @ W1, 0)
            dz2 = (h @ W2 - targets) / BATCH
            dz1 = (dz2 @ W2.T) * (h > 0)
            W1 = W1 - RATE * (x.T @ dz1)
            W2 = W2 - RATE * (h.T @ dz2)
        return np.concatenate([W1.ravel(), W2.ravel(), np.zeros(512 - HIDDEN * OUT)])


def held(blocks: int) -> Floats:
    """What hold's blocks read of the next."""
    return ((np.arange(blocks) + 1) % blocks + 0.5).astype(np.float32)


def largest_error(found: Floats, expected: Floats) -> float:
    """The largest difference, by the largest number expected; NaN if there is one."""
    difference = np.abs(found.reshape(expected.shape) - expected)
    return float(difference.max() / np.abs(expected).max())
