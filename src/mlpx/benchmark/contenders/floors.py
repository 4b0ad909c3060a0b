"""The floors: one for each BLAS, and one for a split batch."""

from __future__ import annotations

from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.contenders.floor import NumpyFloor, SplitFloor, TorchFloor
from mlpx.benchmark.contenders.floor_native import NativeFloor


def contenders() -> list[type[Contender]]:
    """Every floor."""
    return [NumpyFloor, SplitFloor, NativeFloor, TorchFloor]
