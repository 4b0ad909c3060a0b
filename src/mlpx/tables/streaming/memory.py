"""How much memory a stream takes, and how it is cut so that this is not too much."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import pyarrow as pa

from mlpx.errors import InputError
from mlpx.network.network import Network
from mlpx.records import require_count
from mlpx.tables.streaming.stream import ParquetStream, block_of

FEWEST_ROWS = 1024
"""So many rows tell what a decoded one takes."""
MOST_ROWS = 1 << 20
"""More rows in a buffer would not mix better, and take longer until the first step."""
PERMUTING = 32
"""Bytes for each row of a buffer while its permutation is drawn."""
ENCODING = 160
"""Bytes for each row of a block, for what is made of one column at a time."""
FIXED_BYTES = 40 << 20
"""What a thread takes, and pyarrow beside what it decodes."""
SAMPLE_ROWS, SAMPLE_SHARE = 1 << 17, 8
"""A sample of the rows has at most so many, and takes at most one part in so many of the memory."""
KEPT = 3
"""Allocators keep so many times what a sample took; their holes fill, and do not shrink."""
ARENA_BYTES, ARENA_SHARE = 1 << 27, 8
"""The addresses that glibc sets aside for a thread, if there are enough."""
PAGES_SHARE = 4
"""The pages of the lanes that are open take at most one part in so many."""


@dataclass(frozen=True)
class Costs:
    """Bytes."""

    row: int
    """For each row of a buffer: in the window, in the next one, and its place in there."""
    sample: int
    """For a sample of the rows as large as one may be."""
    pages: int
    """For each lane: what was read of a row group."""
    decoded: int
    """For each row of each lane's block, which is decoded."""
    encoded: int
    """For each row of the block that is encoded."""

    @classmethod
    def of(cls, stream: ParquetStream, rows: Iterable[np.ndarray]) -> Self:
        """Of a stream whose rows become such numbers and targets, each of one row."""
        nbytes = sum(array.nbytes for array in rows)
        one = decoded_bytes(stream)
        decoded = int(2 * one)  # two batches of which a part is taken
        pages = max(group.page_bytes for group in stream.files.groups)
        encoded = 2 * nbytes + decoded + ENCODING
        return cls(2 * nbytes + PERMUTING, int(SAMPLE_ROWS * one), pages, decoded, encoded)

    def total(self, rows: int, lanes: int, memory_bytes: int) -> int:
        """Of buffers of so many rows, with so many lanes, of so much memory."""
        block = block_of(rows, lanes)
        open_lanes = lanes * (self.pages + block * self.decoded)
        fixed = max(FIXED_BYTES, KEPT * min(self.sample, memory_bytes // SAMPLE_SHARE))
        fixed += min(ARENA_BYTES, memory_bytes // ARENA_SHARE)
        passing = open_lanes + block * self.encoded
        return fixed + rows * self.row + passing + passing // 2  # with what allocators waste


def give_back() -> None:
    """Give memory that was freed back to the system, which allocators do not do of themselves."""
    pa.default_memory_pool().release_unused()
    with suppress(AttributeError, OSError):  # it is glibc's
        ctypes.CDLL(None).malloc_trim(0)


def decoded_bytes(stream: ParquetStream) -> float:
    """About what a decoded row takes, by the first rows of the first row group that has any."""
    group = next(group for group in stream.files.groups if group.rows)
    batches = stream.files.read(group, rows=FEWEST_ROWS)
    batch: Any = next(batches)
    batches.close()
    return float(batch.get_total_buffer_size() / len(batch))


def fitting(
    stream: ParquetStream, costs: Costs, batch_size: int, memory_bytes: int | None, model: Network
) -> ParquetStream:
    """The stream with buffers of whole batches, as many as `memory_bytes` have room for, and with
    fewer lanes where their pages would take too much of it.

    Raises InputError if there is no room for a batch.
    """
    if memory_bytes is None:
        return stream.cut(buffer_rows=_whole(stream, stream.buffer_rows, batch_size, model))
    require_count("memory_bytes", memory_bytes)
    memory_bytes = int(memory_bytes)
    lanes = max(1, min(stream.lanes, memory_bytes // PAGES_SHARE // costs.pages))
    while lanes > 1 and costs.total(batch_size, lanes, memory_bytes) > memory_bytes:
        lanes -= 1
    few, many = 0, min(MOST_ROWS, -(-len(stream) // batch_size) * batch_size) // batch_size + 1
    while many - few > 1:
        middle = (few + many) // 2
        fits = costs.total(middle * batch_size, lanes, memory_bytes) <= memory_bytes
        few, many = (middle, many) if fits else (few, middle)
    if not few:
        raise InputError(
            f"memory_bytes = {memory_bytes:,} has no room for a batch of {batch_size} rows while "
            f"others are decoded; give {_least(costs, batch_size):,} or more, or a smaller "
            "batch_size"
        )
    return stream.cut(buffer_rows=_whole(stream, few * batch_size, batch_size, model), lanes=lanes)


def _least(costs: Costs, batch_size: int) -> int:
    """The least memory for a batch: of more, a sample may take more."""
    least, before = costs.total(batch_size, 1, 0), 0
    while least > before:
        least, before = costs.total(batch_size, 1, least), least
    return least


def _whole(stream: ParquetStream, most: int, batch_size: int, model: Network) -> int:
    """The largest number of rows up to `most` that is a whole number of batches, and after which
    no rest is left that is too small for a layer by itself: it would straddle two buffers.
    """
    n, least = len(stream), max(layer.least_rows for layer in model.layers)
    batches = max(1, min(most // batch_size, -(-n // batch_size)))
    for count in range(batches, 0, -1):
        rows = count * batch_size
        if n <= rows or not 0 < n % batch_size < least or n % rows >= batch_size:
            return rows
    raise InputError(
        f"{n:,} rows in batches of {batch_size} leave {n % batch_size}, and the network's layers "
        f"need {least} in a batch: give another batch_size"
    )
