"""Which rows an epoch sees, in which order: a function of the seed and the epoch alone."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from mlpx.engines.native.order import shuffled
from mlpx.network.network import Network
from mlpx.random import Purpose, integers, permutation, words


def _shuffle(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return shuffled(seed, Purpose.ORDER, count=n, epoch=epoch)


def _whole_batches(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return _shuffle(seed, epoch, n, n)[:rows]


def _with_replacement(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return integers(words(seed, Purpose.ORDER, count=rows, epoch=epoch), n)


def _sequential(seed: int, epoch: int, n: int, rows: int) -> np.ndarray:
    return np.arange(n)


SAMPLINGS: dict[str, Callable[[int, int, int, int], np.ndarray]] = {
    "shuffle": _shuffle,
    "whole_batches": _whole_batches,
    "with_replacement": _with_replacement,
    "sequential": _sequential,
}
"""(seed, epoch, n, rows) -> int64 (rows,)."""


class Feed:
    """Which rows each epoch sees, in which order, and how many are in memory at a time."""

    room: int | None = None
    """How many rows there is room for; None if all of them are always in memory."""

    def order(self, epoch: int, position: int) -> np.ndarray:
        """The rows of an epoch that begins or continues at step `position`: int64 (rows,)."""
        raise NotImplementedError

    def places(self) -> np.ndarray:
        """Where the rows are, in their own order; int64, as for `TrainingProgram.start_epoch`."""
        raise NotImplementedError

    def rows_at(self, order: np.ndarray, places: slice) -> np.ndarray:
        """The rows of the data that an epoch with this `order` has at some places of it."""
        return order[places]

    def draw_ahead(self, epoch: int) -> None:
        """Draw the order of `epoch`; called while the device still runs the epoch before."""

    def ready(self, position: int, end: int) -> int:
        """Load the rows of step `position`; returns up to which step, at most `end`, they last."""
        return end

    def close(self) -> None:
        """Called when the run has ended, however it did."""


class Sampled(Feed):
    """Rows drawn by `sampling` from the network's seed."""

    def __init__(self, network: Network, sampling: str, *, n: int, rows: int) -> None:
        self.network, self.n, self.rows = network, n, rows
        self.draw = SAMPLINGS[sampling]
        self._drawn: tuple[tuple[int, int], np.ndarray] | None = None
        """The seed and number of the next epoch, with its order, once drawn."""

    def order(self, epoch: int, position: int) -> np.ndarray:
        key = self.network.seed, epoch
        drawn, self._drawn = self._drawn, None
        return drawn[1] if drawn and drawn[0] == key else self._draw(key)

    def places(self) -> np.ndarray:
        return np.arange(self.rows)

    def draw_ahead(self, epoch: int) -> None:
        # The order depends on the key alone, so drawing one that is never used changes nothing.
        key = self.network.seed, epoch
        self._drawn = key, self._draw(key)

    def _draw(self, key: tuple[int, int]) -> np.ndarray:
        return self.draw(*key, self.n, self.rows)


def hold_out(seed: int, n: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows of n to train on, and the `count` that are held out, both in ascending order."""
    order = permutation(words(seed, Purpose.SPLIT, count=n))
    return np.sort(order[count:]), np.sort(order[:count])


def rows_per_epoch(sampling: str, n: int, batch_size: int) -> int:
    """How many rows an epoch over n of them trains on."""
    if sampling == "with_replacement":  # an epoch is as many batches, all of them full
        return -(-n // batch_size) * batch_size
    return n - n % batch_size if sampling == "whole_batches" else n
