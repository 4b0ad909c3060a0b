"""What a checkpoint remembers of the data that a run trains on, to recognise it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from mlpx.backend import array_backend
from mlpx.program.data import TrainingData
from mlpx.types import Array

SAMPLE_BYTES = 1 << 24
"""Of a larger array, rows of about so many bytes are looked at, evenly spaced."""
Fingerprint = dict[str, list[Any] | None]


def fingerprint(data: TrainingData | None) -> Fingerprint | None:
    """Shape, dtype and hash of each array of `data`; None without data.

    The same for the same data on any device.
    """
    if data is None:
        return None
    data = getattr(data, "source", data)  # of a window
    told = getattr(data, "fingerprint", None)  # by rows that are not all in memory
    if told is not None:
        return dict(told())
    arrays = {"x": data.x, "y": data.y, "sample_weight": data.weights}
    return {name: None if a is None else _described(a) for name, a in arrays.items()}


def _described(array: Array) -> list[Any]:
    rows = len(array)
    row_bytes = np.dtype(array.dtype).itemsize * int(np.prod(array.shape[1:]))
    count = max(1, min(rows, SAMPLE_BYTES // max(1, row_bytes)))
    at, taken = np.linspace(0, rows - 1, count).astype(np.int64), array
    if not hasattr(array, "nbytes"):  # sparse rows, which are made dense by indexing
        taken = array[at]
    elif count < rows:
        taken = array[array_backend(array).asarray(at)]
    host = np.ascontiguousarray(array_backend(taken).to_numpy(taken))
    native = host.astype(host.dtype.newbyteorder("="), copy=False)
    found = hashlib.sha256(native.reshape(-1).view(np.uint8)).hexdigest()
    return [list(map(int, array.shape)), native.dtype.name, found]


def changes(now: Fingerprint | None, before: Fingerprint | None, *, name: str) -> list[str]:
    """What differs between two fingerprints, in words; `name` is put before the arrays' names."""
    if (now is None) != (before is None):
        return [f"there is {'no' if now is None else 'now'} {name}data"]
    told = []
    for part, (shape, dtype, found) in _known(before).items():
        if not (now and now.get(part)):
            told.append(f"there is no {name}{part}")
            continue
        shape_now, dtype_now, found_now = now[part] or []
        if shape_now != shape:
            told.append(f"{name}{part}.shape = {tuple(shape_now)}, it was {tuple(shape)}")
        elif dtype_now != dtype:
            told.append(f"{name}{part} is {dtype_now}, it was {dtype}")
        elif found_now != found:
            told.append(f"{name}{part} has other values")
    told += [f"there is now {name}{part}" for part in _known(now) if part not in _known(before)]
    return told


def _known(print_: Fingerprint | None) -> dict[str, list[Any]]:
    return {name: entry for name, entry in (print_ or {}).items() if entry is not None}
