"""Programs that one fit keeps for the next of the same kind, with the engine that runs them.

Planning, lowering and assembling a step takes longer than the steps of a small batch. None of it
depends on the data's values, only on their dtypes and shapes, so a `fit` of the same kind gives
the program other rows and goes on.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from functools import cached_property
from operator import is_
from typing import Any
from weakref import proxy

from mlpx.engines import Engine, Runner
from mlpx.errors import DeviceMemoryError
from mlpx.network.network import Network
from mlpx.program.data import NOTHING, TrainingData
from mlpx.program.footprint import too_large
from mlpx.program.program import TrainingProgram
from mlpx.types import Array

MOST = 32
MOST_BYTES = {"cpu": 32 << 20, "cuda": 256 << 20}
"""How many a model keeps, and the memory they may take together, by kind of device."""


@dataclass(eq=False)
class Prepared:
    """A program, the engine chosen to run it, and why; ready to run."""

    kind: tuple[Any, ...]
    """The data, options and network it was made for."""
    arrays: tuple[Array, ...]
    """What it trains: the flat parameters and the optimizer's moments."""
    program: TrainingProgram
    engine: Engine
    reason: str
    execute: Runner
    stretch: int = 1
    """How many steps the last call of the engine ran."""

    @cached_property
    def nbytes(self) -> int:
        """The bytes it takes besides the arrays that it trains."""
        return self.program.nbytes + self.execute.nbytes

    def trains(self, arrays: tuple[Array, ...]) -> bool:
        """Whether it trains these very arrays, not copies of them."""
        return len(self.arrays) == len(arrays) and all(map(is_, self.arrays, arrays))

    def feed(self, data: TrainingData) -> None:
        """Train on `data` from now on, which must be of the kind it was made for."""
        self.program.feed(data)
        self.execute.feed()


def program_of(
    model: Network, data: TrainingData, moments: dict[str, Array], options: dict[str, Any]
) -> TrainingProgram:
    """The training program, which does not keep the model alive.

    Raises DeviceMemoryError saying which batch size would fit.
    """
    try:
        return TrainingProgram(proxy(model), data, moments=moments, **options)
    except DeviceMemoryError as error:
        traceback.clear_frames(error.__traceback__)  # frees what was allocated
        rows = min(options["part_rows"] or options["batch_size"], options["rows"])
        left = model.backend.memory().free_bytes
        raise too_large(model, data, options["optimizer"], rows=rows, free_bytes=left) from error


def trained(flat: Array, moments: dict[str, Array]) -> tuple[Array, ...]:
    """The arrays that a program trains."""
    return (flat, *moments.values())


def kinds(data: TrainingData) -> tuple[Any, ...]:
    """The properties of the data that a program depends on."""
    arrays = (data.x, data.y, data.weights)
    parts = [None if a is None else (a.dtype, a.shape, a.strides) for a in arrays]
    return (*parts, data.resident)


def take(model: Network, kind: tuple[Any, ...], arrays: tuple[Array, ...]) -> Prepared | None:
    """Remove and return what an earlier fit of this kind left; None if there is nothing."""
    kept: list[Prepared] = model.prepared
    for prepared in kept:
        if prepared.trains(arrays) and prepared.kind == kind:
            model.prepared = [other for other in kept if other is not prepared]
            return prepared
    return None


def leave(model: Network, prepared: Prepared) -> None:
    """Keep it for the next fit, without the data; drop those out of use or beyond the limits."""
    if not prepared.program.data.resident:
        return
    prepared.feed(NOTHING)
    kept, room = list[Prepared](), MOST_BYTES[model.backend.kind]
    for each in (prepared, *model.prepared):
        again = any(each.kind == other.kind for other in kept)
        if each.trains(prepared.arrays) and not again and each.nbytes <= room:
            kept.append(each)
            room -= each.nbytes
    model.prepared = kept[:MOST]
