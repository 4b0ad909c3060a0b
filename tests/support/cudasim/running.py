"""Runs a kernel on a case, and checks that it writes what the case says and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import cudasim
from cudasim.cases import Case
from cudasim.checking import FILL, STATE, TOLERANCE, Packed, errors
from mlpx.engines.cuda.kernels import OPERATION
from mlpx.engines.cuda.launches import ROOM_BYTES, launch


def apart(a: np.ndarray) -> np.ndarray:
    """A copy at the very end of its own memory, so that a sanitizer detects reads beyond it."""
    memory = np.full(a.nbytes + 8, FILL, np.uint8)
    found = memory[8:].view(a.dtype).reshape(a.shape)
    found[...] = a
    return found


def placed(packed: Packed) -> np.ndarray:
    """The bytes of a case, aligned to 16 bytes."""
    memory = np.empty(packed.bytes.size + 16, np.uint8)
    start = -memory.ctypes.data % 16
    memory[start : start + packed.bytes.size] = packed.bytes
    return memory[start : start + packed.bytes.size]


def run(
    name: str, case: Case, dtype: str, *, schedule: int = cudasim.FORWARD, seed: int = 1,
    library: Path | None = None, tight: bool = False,
) -> list[Any]:  # fmt: skip
    """The arrays after one launch; checks that only what the case says is written."""
    packed = Packed(case)
    memory = placed(packed)
    arrays, start = packed.arrays(memory), memory.ctypes.data
    addresses, room = packed.addresses(start), memory[:ROOM_BYTES]
    held: dict[int, np.ndarray] = {}
    if tight:
        for place, a in zip(addresses, arrays, strict=True):
            if place and place not in held:
                held[place] = apart(a)
        arrays = [held.get(place) for place in addresses]
        addresses = [0 if a is None else a.ctypes.data for a in arrays]
        room = np.zeros(ROOM_BYTES, np.uint8)
    given = np.zeros(1, OPERATION)
    for field, values in (("n", case.n), ("c", case.c), ("p", addresses)):
        given[field][0, : len(values)] = values
    given["p"][0, -1] = room.ctypes.data
    size = launch(name, case.n)
    kernel = cudasim.kernel(f"{name}_{dtype}", library)
    kernel(
        size.grid, size.block, given.tobytes(), start + STATE, size.shared_bytes,
        schedule=schedule, seed=seed,
    )  # fmt: skip
    if tight:
        memory[:ROOM_BYTES] = room
        for into, a in zip(packed.arrays(memory), arrays, strict=True):
            if a is not None:
                into[...] = a
    assert (wrong := packed.spoilt(memory)) is None, wrong
    return arrays


def check(name: str, case: Case, dtype: str, **how: Any) -> list[Any]:
    """As `run`; the numbers are those of the case, too."""
    found = run(name, case, dtype, **how)
    for wrong in errors(case, found, dtype):
        assert wrong.units <= TOLERANCE, f"{name}: {wrong}"
    return found
