"""`fit_stream`: a model trained on a stream of rows."""

from __future__ import annotations

import os
from typing import Any

from mlpx.mlp import MLP
from mlpx.tables.encoder import Encoder
from mlpx.tables.streaming.encoded import EncodedStream
from mlpx.tables.streaming.stream import ParquetStream
from mlpx.tables.target import Target
from mlpx.training.history import History


def fit_stream(
    model: MLP,
    stream: ParquetStream,
    encoder: Encoder,
    target: Target,
    *,
    validation: Any = None,
    memory_bytes: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    **options: Any,
) -> History:
    """Train `model`, whose d_in is the encoder's width, on the rows of a stream in its order.

    While the model is trained on the rows of one buffer, those of the next are decoded and encoded
    in a thread beside it. memory_bytes: what buffers and decoding may take together, beside the
    model and its validation rows; None leaves the stream's buffers and lanes as they are. Buffers
    are made of whole batches. validation: rows that are not in the stream, a pyarrow.Table, which
    stay in memory. `options` are those of `MLP.fit`; a run with checkpoints goes on to the bit
    where it was, given the same files, seed and memory_bytes. cache: a folder on a disk with room
    for all rows as float32 numbers, where they are kept until the end, in a file without a name:
    then only the first epoch decodes and encodes, and the bits are the same.

    Raises InputError if memory_bytes is too little, and what `MLP.fit` and the stream raise.
    """
    rows = EncodedStream(stream, encoder, target, memory_bytes=memory_bytes, cache=cache)
    if validation is not None:
        options["validation_data"] = tuple(rows.encoded(validation, model))
    return model.fit(rows, None, **options)
