"""Calls of the native library's kernels, one thread's share after the other, on guarded arrays."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np

from mlpx.engines.lowering import Operation
from mlpx.engines.native.assembly import assemble
from mlpx.engines.native.barriers import Scheduled
from mlpx.engines.native.library import Op, load

GUARD, UNTOUCHED = 71, 12345.0
"""How many numbers are before and behind each array, and what those around an output are."""
POSITION = 1
"""The step in the epoch: gathers and rules find their rows in tables by it."""


class Where(ctypes.Structure):
    """Where a thread is, as engine.h has it."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("position", "step")),
        *((name, ctypes.c_int32) for name in ("thread", "threads", "tile", "tiles")),
    )


KERNEL = ctypes.CFUNCTYPE(None, ctypes.POINTER(Op), ctypes.POINTER(Where))


def operation(name: str, **fields: Any) -> Operation:
    return Operation.of(name, touches=(), **fields)


def run(name: str, real: str, *, threads: int = 1, tiles: int = 1, **fields: Any) -> None:
    """The operation called `name`, one thread's share after the other."""
    perform(operation(name, **fields), real, threads=threads, tiles=tiles)


def perform(
    made: Operation, real: str, *, threads: int = 1, tiles: int = 1, only: int | None = None
) -> None:
    """An operation, one thread's share after the other, or the share of `only` one: in falling
    order for an odd number of threads, so that one that writes beyond its own share is found on
    either side.
    """
    assembled = assemble([Scheduled(made, wait=False)], np.dtype(real))
    kernel = KERNEL(assembled.ops[0].kernel)
    order = range(threads)[:: -1 if threads % 2 else 1]
    for thread in order if only is None else [only]:
        for tile in range(tiles):
            kernel(assembled.ops, Where(POSITION, 0, thread, threads, tile, tiles))


def placed(values: Any, dtype: str, *, around: float = np.nan) -> np.ndarray:
    """The values in the middle of other numbers."""
    values = np.asarray(values)
    whole = np.full(values.size + 2 * GUARD, around, dtype)
    part = whole[GUARD:-GUARD].reshape(values.shape)
    part[...] = values
    return part


def output(values: Any, dtype: str) -> np.ndarray:
    """The same for what an operation writes; `close` looks at the numbers around it."""
    return placed(values, dtype, around=UNTOUCHED)


def alone(found: np.ndarray) -> bool:
    """Whether nothing around an output was written."""
    whole = found.base
    assert whole is not None
    return bool((whole[:GUARD] == UNTOUCHED).all() and (whole[-GUARD:] == UNTOUCHED).all())


def close(found: np.ndarray, wanted: Any, bound: Any) -> None:
    """Nothing is further off than its bound, and nothing around the output was written."""
    wrong = np.count_nonzero(~(np.abs(found - wanted) <= bound))
    assert wrong == 0, f"{wrong} of {found.size} numbers are further off than they may be"
    assert alone(found), "something was written beside the output"


def formula(name: str) -> int:
    library = load()
    assert library is not None
    return int(library.mlpx_activation(name.encode()))


class Exact:
    """Random factors of a layer's products, and these in float64 with the sums of their sizes."""

    def __init__(self, rows: int, d: int, k: int) -> None:
        rng = np.random.default_rng(rows + d + k)
        shapes = {"x": (rows, d), "W": (d, k), "dz": (rows, k), "bias": k, "more": (rows, d)}
        drawn = {name: rng.normal(size=shape) for name, shape in shapes.items()}
        # Numbers of both dtypes.
        self.factors = {name: a.astype("float32").astype(float) for name, a in drawn.items()}
        self.factors["kept"] = np.tanh(self.factors.pop("more")).astype("float32").astype(float)

    def __getattr__(self, name: str) -> np.ndarray:
        return self.factors[name]

    @cached_property
    def forward(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x @ self.W, abs(self.x) @ abs(self.W)

    @cached_property
    def back(self) -> tuple[np.ndarray, np.ndarray]:
        return self.dz @ self.W.T, abs(self.dz) @ abs(self.W.T)

    @cached_property
    def gradient(self) -> tuple[np.ndarray, np.ndarray]:
        return self.x.T @ self.dz, abs(self.x.T) @ abs(self.dz)


exact = cache(Exact)


@dataclass
class Layer:
    """The products of one layer, whose operation gets its factors from here."""

    dtype: str
    rows: int
    d: int
    k: int

    def __post_init__(self) -> None:
        self.exact = exact(self.rows, self.d, self.k)
        self.given = {name: placed(a, self.dtype) for name, a in self.exact.factors.items()}
        self.eps = float(np.finfo(self.dtype).eps)

    def run(
        self, name: str, *factors: str, threads: int = 1, tiles: int = 1, only: int | None = None,
        **fields: Any,
    ) -> None:  # fmt: skip
        sizes = {"rows": self.rows, "inputs": self.d, "outputs": self.k}
        made = operation(name, **sizes, **{f: self.given[f] for f in factors}, **fields)
        perform(made, self.dtype, threads=threads, tiles=tiles, only=only)

    def bound(self, depth: int, size: Any) -> Any:
        """The largest error of a sum of so many products: for each, eps of all their sizes."""
        return (depth + 8) * self.eps * size

    def blank(self, *shape: int) -> np.ndarray:
        return output(np.full(shape, np.nan), self.dtype)
