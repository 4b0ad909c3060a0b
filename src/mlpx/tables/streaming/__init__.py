"""Tables larger than memory: their rows come from Parquet files, some at a time.

::

    stream = ParquetStream("folder", seed=0)
    found = study(stream, target="y", validation_share=0.05, memory_bytes=10**9)
    model = MLP([found.encoder.width, 256, "relu", found.target.outputs])
    fit_stream(model, found.stream, found.encoder, found.target, validation=found.validation,
               memory_bytes=10**9, epochs=10)
"""

from __future__ import annotations

from mlpx.tables.streaming.encoded import EncodedStream
from mlpx.tables.streaming.fitting import fit_stream
from mlpx.tables.streaming.stream import ParquetStream
from mlpx.tables.streaming.study import Study, study

__all__ = ["EncodedStream", "ParquetStream", "Study", "fit_stream", "study"]
