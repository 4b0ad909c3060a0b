"""``RawModule``: kernels by name, run by the simulator of the .cu files, or by their C twins."""

from __future__ import annotations

import ctypes
import importlib.util
from typing import Any

import numpy as np

from . import streams
from .array import ndarray
from .state import cuda_call

MOST_THREADS = 1024
OPERATION = np.dtype([("n", np.int64, 8), ("c", np.float64, 8), ("p", np.uint64, 12)])
SIMULATED = importlib.util.find_spec("cudasim") is not None


def touch(grid: tuple[int, ...], block: tuple[int, ...], x: Any) -> None:
    """Adds one to each number: bench/gpu_ceilings.py."""
    x._host[: grid[0] * block[0]] += 1


PLAIN = {"touch": touch, "barriers": lambda grid, block, count: None}
"""Kernels that are no operations of a step, by name."""


class RawModule:
    """Source text whose kernels can be asked for by name."""

    def __init__(self, code: str | None = None, *, options: tuple[str, ...] = (), **_: Any) -> None:
        if not isinstance(code, str) or not isinstance(options, tuple):
            raise TypeError("code is a string, options is a tuple")
        self.code = code

    def get_function(self, name: str) -> RawKernel:
        cuda_call("moduleLoad")
        return RawKernel(name)


class RawKernel:
    """A kernel: ``kernel(grid, block, arguments, shared_mem=0)`` puts it on the current stream."""

    def __init__(self, name: str) -> None:
        self.name = name

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
        run = simulated if SIMULATED else native
        blocks, threads, address = int(np.prod(grid)), int(np.prod(block)), state.data.ptr
        streams.current().put(lambda: run(self.name, blocks, threads, given, address, shared_mem))


def simulated(name: str, grid: int, block: int, operation: bytes, state: int, shared: int) -> None:
    """Run the .cu file's own kernel."""
    import cudasim

    cudasim.kernel(name)(grid, block, operation, state, shared)


def native(name: str, grid: int, block: int, operation: bytes, state: int, shared: int) -> None:
    """Run the kernel of that name in the native library, which takes the same n, c and p."""
    from mlpx.engines.native.library import Op, load

    given = np.frombuffer(operation, OPERATION)[0]
    base, _, dtype = name.rpartition("_")
    if base == "advance":
        array(int(given["p"][0]), (2,), np.int64)[...] += 1
        return
    if base == "to_bf16":
        narrow(given)
        return
    if base.startswith(("affine", "matrix")):
        product(base, given, np.dtype(dtype))
        return
    library = load()
    assert library is not None
    op = Op(kernel=library.mlpx_kernel(f"{base}.{dtype}".encode()), chain=1, tiles=1)
    assert op.kernel
    op.n[:], op.c[:], op.p[:] = given["n"].tolist(), given["c"].tolist(), given["p"].tolist()
    counts = (ctypes.c_int64 * 2)(*array(state, (2,), np.int64).tolist())
    library.mlpx_run((Op * 1)(op), 1, 1, ctypes.addressof(counts), None, 1)


def narrow(given: Any) -> None:
    """Rows of float32 as bfloat16, to the nearest, ties to even, so far apart as n[2] says."""
    rows, columns, stride = (int(size) for size in given["n"][:3])
    source, out = (int(address) for address in given["p"][:2])
    bits = array(source, (rows, columns), np.uint32)
    rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    array(out, (rows, stride), np.uint16)[:, :columns] = rounded


def product(name: str, given: Any, dtype: np.dtype) -> None:
    """The plain products."""
    n, d, k = (int(size) for size in given["n"][:3])
    a, b, c = (int(address) for address in given["p"][:3])
    if name == "affine":
        array(c, (n, k), dtype)[...] = array(a, (n, d), dtype) @ array(b, (d, k), dtype)
    elif name == "matrix_product":
        left, right = (bool(sign) for sign in given["n"][3:5])
        x = array(a, (k, n), dtype).T if left else array(a, (n, k), dtype)
        y = array(b, (d, k), dtype).T if right else array(b, (k, d), dtype)
        z, (alpha, beta) = array(c, (n, d), dtype), given["c"][:2].tolist()
        z[...] = alpha * (x @ y) + (beta * z if beta else 0)
    elif name == "affine_dx":
        array(c, (n, d), dtype)[...] = array(a, (n, k), dtype) @ array(b, (d, k), dtype).T
    else:
        array(c, (d, k), dtype)[...] = array(a, (n, d), dtype).T @ array(b, (n, k), dtype)


def array(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory at an address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)
