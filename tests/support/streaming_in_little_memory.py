"""Run as a program: train on a Parquet file while this may have only so much more memory.

Prints as JSON how many rows were trained on, and how far the address space grew at most.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq
from children import allow

from mlpx import MLP
from mlpx.tables.streaming.fitting import fit_stream
from mlpx.tables.streaming.stream import ParquetStream
from mlpx.tables.streaming.study import study


def trained(path: str, memory_bytes: int | None, cache: str | None) -> int:
    found = study(
        ParquetStream(path, seed=1), target="y", validation_share=0.01, memory_bytes=memory_bytes
    )
    model = MLP([found.encoder.width, 8, "relu", 1], loss="binary_cross_entropy", seed=0)
    history = fit_stream(
        model, found.stream, found.encoder, found.target, validation=found.validation,
        memory_bytes=memory_bytes, cache=cache, epochs=1, batch_size=256, verbose=0, threads=1,
    )  # fmt: skip
    return history.samples


def peak() -> int:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmPeak"].split()[0]) << 10


def main() -> None:
    path, mebibytes, *cache = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:  # everything is loaded while there is memory
        few = next(ParquetStream(path).in_order(most=600))[1]
        pq.write_table(few, f"{folder}/few.parquet", row_group_size=100)
        trained(f"{folder}/few.parquet", None, folder)
    before = peak()
    allow(float(mebibytes))
    rows = trained(path, int(float(mebibytes) * 2**20), cache[0] if cache else None)
    json.dump({"rows": rows, "grown": peak() - before}, sys.stdout)


if __name__ == "__main__":
    main()
