"""How much device memory training takes, and which batch size would fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mlpx.backend import CpuBackend
from mlpx.errors import DeviceMemoryError
from mlpx.network.network import Network
from mlpx.optimizers import Optimizer
from mlpx.program.data import TrainingData
from mlpx.program.program import TrainingProgram
from mlpx.types import Array

TRIED = (8, 16)
"""Rows of the two programs that are compared to find the memory per row."""


class _Measuring(CpuBackend):
    """A host backend where random bits take as much memory as on a device."""

    fill_words = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Footprint:
    """Bytes that training takes: those independent of the batch size, and those per row."""

    parameters: int
    moments: int
    """The optimizer's moments and the gradient."""
    data: int
    fixed: int
    """Buffers whose size does not depend on the batch size."""
    row: int

    def activations(self, rows: int) -> int:
        """Bytes of all buffers of a step of `rows` rows."""
        return self.fixed + rows * self.row

    def largest(self, free_bytes: int) -> int:
        """The largest batch that fits into `free_bytes`, as free before planning; 0 if none."""
        return max(0, (free_bytes - self.parameters - self.fixed) // self.row)


def measure(network: Network, data: TrainingData, optimizer: Optimizer) -> Footprint:
    """The memory that training `network` on `data` takes, measured on small host programs."""
    size = network.layout.size * network.dtype.itemsize
    few, more = (_buffers(network, data, optimizer, rows) for rows in TRIED)
    row = (more - few) // (TRIED[1] - TRIED[0])
    kept = [data.x if data.resident else None, data.y, data.weights]
    return Footprint(
        parameters=size,
        moments=(len(optimizer.arrays) + 1) * size,
        data=sum(int(array.nbytes) for array in kept if array is not None),
        fixed=few - TRIED[0] * row,
        row=row,
    )


def _buffers(network: Network, data: TrainingData, optimizer: Optimizer, rows: int) -> int:
    """Bytes of the buffers of a step of `rows` rows."""
    flat = np.zeros(network.layout.size, network.dtype)
    program = TrainingProgram(
        network.with_parameters(flat, _Measuring()),
        TrainingData(*(_empty(array, rows) for array in (data.x, data.y, data.weights))),
        optimizer=optimizer,
        moments={name: np.zeros_like(flat) for name in optimizer.arrays},
        batch_size=rows,
        rows=rows,
    )
    return program.buffers.nbytes


def _empty(array: Array | None, rows: int) -> Any:
    """Zeros with the shape and dtype of `rows` rows of an array."""
    return None if array is None else np.zeros((rows, *array.shape[1:]), array.dtype)


def too_large(
    network: Network, data: TrainingData, optimizer: Optimizer, *, rows: int, free_bytes: int
) -> DeviceMemoryError:
    """The error for a step of `rows` rows when only `free_bytes` were free for it."""
    needs, backend = measure(network, data, optimizer), network.backend
    largest = needs.largest(free_bytes)
    advice = f"batch_size={largest} would fit" if largest else "not even batch_size=1 fits"
    return DeviceMemoryError(
        f"batch_size={rows} does not fit on {backend.device} ({backend.name}): parameters "
        f"{_size(needs.parameters)}, moments and gradient {_size(needs.moments)}, activations "
        f"{_size(needs.activations(rows))}, data {_size(needs.data)}; {_size(free_bytes)} "
        f"were free for the gradient and activations; {advice}"
    )


def _size(count: int) -> str:
    """A number of bytes, in readable units."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >= 1 << power:
            return f"{count / (1 << power):.1f} {unit}"
    return f"{count} bytes"
