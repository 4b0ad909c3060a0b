"""``RawModule``: kernels by name, run by the simulator of the .cu files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cudasim
import numpy as np

from . import streams
from .array import ndarray
from .state import cuda_call

MOST_THREADS = 1024
OPERATION = np.dtype([("n", np.int64, 8), ("c", np.float64, 8), ("p", np.uint64, 12)])


def touch(grid: tuple[int, ...], block: tuple[int, ...], x: Any) -> None:
    """Adds one to each number: bench/gpu/ceilings.py."""
    x._host[: grid[0] * block[0]] += 1


PLAIN = {"touch": touch, "barriers": lambda grid, block, count: None}
"""Kernels that are no operations of a step, by name."""


class RawModule:
    """Source text whose kernels can be asked for by name."""

    def __init__(self, code: str | None = None, *, options: tuple[str, ...] = (), **_: Any) -> None:
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("code is a string, options is a tuple")
        if cudasim.compiler() is None:
            raise RuntimeError("no C++ compiler to run kernels with")
        self.code, self.options = code, options

    def compile(self, log_stream: Any = None) -> None:
        cuda_call("moduleLoad")

    def get_function(self, name: str) -> RawKernel:
        cuda_call("moduleGetFunction")
        if name in PLAIN or cudasim.holds(name):
            return RawKernel(name)
        return RawKernel(name, cudasim.built_of(self.code, self.options))


class RawKernel:
    """A kernel: ``kernel(grid, block, arguments, shared_mem=0)`` puts it on the current stream."""

    def __init__(self, name: str, library: Path | None = None) -> None:
        self.name, self.library = name, library

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[Any, ...],
                 *, shared_mem: int = 0) -> None:  # fmt: skip
        cuda_call(f"launchKernel {self.name}")
        assert isinstance(grid, tuple)
        assert isinstance(block, tuple)
        assert 0 < int(np.prod(block)) <= MOST_THREADS
        assert int(np.prod(grid)) > 0
        if self.name in PLAIN:
            streams.current().put(lambda: PLAIN[self.name](grid, block, *args))
            return
        operation, state = args
        if not isinstance(operation, np.ndarray) or operation.size != 1:
            raise TypeError("a structure is an array of one element")
        assert operation.dtype.itemsize == OPERATION.itemsize
        assert isinstance(state, ndarray)
        given = operation.tobytes()  # by value: what becomes of the array later does not matter
        run = cudasim.kernel(self.name, self.library)
        blocks, threads = int(np.prod(grid)), int(np.prod(block))
        room = int(operation["p"][0, -1])  # only one at a time may add up there
        streams.current().put(lambda: run(blocks, threads, given, state.data.ptr, shared_mem), room)
