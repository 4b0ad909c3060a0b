"""The floors: one for each BLAS that can be called."""

from __future__ import annotations

from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.contenders.floor import NumpyFloor, SplitFloor, TorchFloor
from mlpx.benchmark.contenders.floor_native import NativeFloor


def contenders() -> list[type[Contender]]:
    """A floor for each BLAS."""
    return [NumpyFloor, SplitFloor, NativeFloor, TorchFloor]
