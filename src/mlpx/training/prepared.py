"""What one fit leaves for the next of the same kind: the program of a step, and what runs it.

Planning a step, translating it and assembling it takes longer than the steps of a small batch. None
of it depends on what the data are, only on their kinds: so a `fit` of the same kind gives the
program other rows, and goes on.
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
"""How many a model keeps, and how much memory they may take in all, by the kind of its device."""


@dataclass(eq=False)
class Prepared:
    """A program, the engine that runs it and why that one, ready to run."""

    kind: tuple[Any, ...]
    """What it was made for."""
    arrays: tuple[Array, ...]
    """What it trains: the flat parameters, and the optimizer's moments."""
    program: TrainingProgram
    engine: Engine
    reason: str
    execute: Runner
    stretch: int = 1
    """How many steps one call of the engine ran at last."""

    @cached_property
    def nbytes(self) -> int:
        """The bytes it takes beside the arrays that it trains."""
        return self.program.nbytes + self.execute.nbytes

    def trains(self, arrays: tuple[Array, ...]) -> bool:
        """Whether it is these arrays, and no copies of them, that it trains."""
        return len(self.arrays) == len(arrays) and all(map(is_, self.arrays, arrays))

    def feed(self, data: TrainingData) -> None:
        """Take the rows of `data` from now on, which is of the kind it was made for."""
        self.program.feed(data)
        self.execute.feed()


def program_of(
    model: Network, data: TrainingData, moments: dict[str, Array], options: dict[str, Any]
) -> TrainingProgram:
    """The training program; it does not keep the model alive.

    Raises DeviceMemoryError, which says which batch size would fit.
    """
    try:
        return TrainingProgram(proxy(model), data, moments=moments, **options)
    except DeviceMemoryError as error:
        traceback.clear_frames(error.__traceback__)  # what was allocated is free again
        rows = min(options["part_rows"] or options["batch_size"], options["rows"])
        left = model.backend.memory().free_bytes
        raise too_large(model, data, options["optimizer"], rows=rows, free_bytes=left) from error


def trained(flat: Array, moments: dict[str, Array]) -> tuple[Array, ...]:
    """The arrays that a program trains."""
    return (flat, *moments.values())


def kinds(data: TrainingData) -> tuple[Any, ...]:
    """What a program depends on of the data."""
    arrays = (data.x, data.y, data.weights)
    parts = [None if a is None else (a.dtype, a.shape, a.strides) for a in arrays]
    return (*parts, data.resident)


def take(model: Network, kind: tuple[Any, ...], arrays: tuple[Array, ...]) -> Prepared | None:
    """What an earlier fit left of this kind, None if there is nothing; nobody else gets it."""
    kept: list[Prepared] = model.prepared
    for prepared in kept:
        if prepared.trains(arrays) and prepared.kind == kind:
            model.prepared = [other for other in kept if other is not prepared]
            return prepared
    return None


def leave(model: Network, prepared: Prepared) -> None:
    """Keep it for the next fit, without the data; what is of no use any more is let go."""
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
