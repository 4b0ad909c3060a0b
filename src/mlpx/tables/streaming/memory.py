"""How much memory a stream takes, and how it is cut so that this is not too much."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Self

import numpy as np

from mlpx.errors import InputError
from mlpx.network.network import Network
from mlpx.records import require_count
from mlpx.tables.streaming.stream import BLOCK_ROWS, ParquetStream

FEWEST_ROWS = 1024
"""A buffer has more, unless memory is short."""
MOST_ROWS = 1 << 20
PERMUTING = 32
"""Bytes for each row of a buffer while its permutation is drawn."""
ENCODING = 4
"""While a block is encoded there are so many copies of it at most, of 8 bytes a number."""
FIXED_BYTES = 8 << 20
"""What a thread takes, and pyarrow beside what it decodes."""


class Costs(NamedTuple):
    """Bytes."""

    row: int
    """For each row of a buffer: in the window, in the next one, and its place in there."""
    lane: int
    """For each lane: what was read of a row group, and is decoded of it."""
    block: int
    """For a block that is encoded."""

    @classmethod
    def of(cls, stream: ParquetStream, rows: Iterable[np.ndarray]) -> Self:
        """Of a stream whose rows become such numbers and targets, each of one row."""
        arrays = list(rows)
        row = 2 * sum(array.nbytes for array in arrays) + PERMUTING
        decoded = decoded_bytes(stream)
        width = sum(array.size for array in arrays)
        lane = max(group.page_bytes for group in stream.files.groups) + 2 * decoded * BLOCK_ROWS
        return cls(row, int(lane), int(BLOCK_ROWS * (decoded + 8 * width * ENCODING)))


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
    """The stream with buffers of whole batches, as many as `memory_bytes` have room for.

    With less memory there are fewer lanes: they take a third of it at most.
    """
    if memory_bytes is None:
        return stream.cut(buffer_rows=_whole(stream, stream.buffer_rows, batch_size, model))
    require_count("memory_bytes", memory_bytes)
    left = int(memory_bytes) - FIXED_BYTES - costs.block
    lanes = max(1, min(stream.lanes, left // 3 // costs.lane))
    rows = (left - lanes * costs.lane) // costs.row
    if rows < batch_size:
        least = FIXED_BYTES + costs.block + costs.lane + batch_size * costs.row
        raise InputError(
            f"memory_bytes = {memory_bytes:,} has no room for a batch of {batch_size} rows while "
            f"others are decoded; give {least:,} or more, or a smaller batch_size"
        )
    rows = _whole(stream, min(rows, MOST_ROWS), batch_size, model)
    return stream.cut(buffer_rows=rows, lanes=int(lanes))


def _whole(stream: ParquetStream, most: int, batch_size: int, model: Network) -> int:
    """The largest number of rows up to `most` that is a whole number of batches, and after which
    no rest is left that is too small for a layer by itself.
    """
    n, least = len(stream), max(layer.least_rows for layer in model.layers)
    batches = max(1, min(most // batch_size, -(-n // batch_size)))
    for count in range(batches, 0, -1):
        rows = count * batch_size
        if n <= rows or not 0 < n % batch_size < least or n % rows >= batch_size:
            return rows
    return -(-n // batch_size) * batch_size
