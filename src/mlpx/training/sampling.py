"""Which rows an epoch sees, and in which order: from the seed and the epoch's number alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlpx.random import Purpose, integers, permutation, words


def _shuffle(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return permutation(words(seed, Purpose.ORDER, count=n, epoch=epoch))


def _with_replacement(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return integers(words(seed, Purpose.ORDER, count=rows, epoch=epoch), n)


def _sequential(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return np.arange(n)


SAMPLINGS: dict[str, Callable[[int, int, int, int], np.ndarray]] = {
    "shuffle": _shuffle,
    "with_replacement": _with_replacement,
    "sequential": _sequential,
}
"""(seed, epoch, n, rows) -> int64 (rows,)."""


def hold_out(seed: int, n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Which of n rows stay, and the `count` that are held out, both in ascending order."""
    order = permutation(words(seed, Purpose.SPLIT, count=n))
    return np.sort(order[count:]), np.sort(order[:count])


def rows_per_epoch(sampling: str, n: int, batch_size: int) -> int:
    """How many rows an epoch over n of them trains on."""
    # Drawing with replacement has no ragged batch: an epoch is as many whole batches.
    return -(-n // batch_size) * batch_size if sampling == "with_replacement" else n
