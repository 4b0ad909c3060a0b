"""The compiled library as a target of the lowering, and operations in the form it takes them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from mlpx.engines.lowering import Operation, address
from mlpx.engines.native.barriers import Scheduled
from mlpx.engines.native.folding import places_of_numbers
from mlpx.engines.native.library import Op, instruction_set, load
from mlpx.engines.native.tiles import Link


class NativeTarget:
    """The compiled library as a target of the lowering."""

    name, counts = "native", True

    def has(self, operation: str, dtype: np.dtype) -> bool:
        """Whether the library has an operation of that name for that dtype."""
        return _kernel(operation, dtype) is not None

    def formula(self, family: str, name: str) -> int:
        """The code of an activation's or a loss's formula, -1 if there is none."""
        library = load()
        code: int = getattr(library, f"mlpx_{family}")(name.encode()) if library else -1
        return code


class Assembled(NamedTuple):
    """Operations in the library's form: `number` that are run, and behind them those which they are
    given: gathers by which they find their rows, and updates.
    """

    ops: ctypes.Array[Op]
    number: int
    gathers: list[tuple[Operation, int]]
    """Each gather, run or not, and its place in `ops`."""


def assemble(
    scheduled: Sequence[Scheduled],
    dtype: np.dtype,
    links: Sequence[Link] | None = None,
    *,
    half: bool = False,
) -> Assembled:
    """Operations in the library's form; without links, none is run tile by tile. half: products
    round their factors to bfloat16.
    """
    links = links or [Link(operations=1, tiles=1)] * len(scheduled)
    count = len(scheduled)
    run = [operation for operation, _ in scheduled]
    given = list(dict.fromkeys(inner for op in run for p in op.p for inner in _operations(p)))
    ops = (Op * (count + len(given)))()
    start, size = ctypes.addressof(ops), ctypes.sizeof(Op)
    places = {operation: count + i for i, operation in enumerate(given)}
    addresses = {operation: start + place * size for operation, place in places.items()}
    for i, ((operation, wait), link) in enumerate(zip(scheduled, links, strict=True)):
        ops[i].wait, ops[i].chain, ops[i].tiles = wait, link.operations, link.tiles
        ops[i].half = half
        _fill(ops[i], operation, dtype, addresses)
    for i, link in enumerate(links):
        for op in ops[i : i + link.operations] if link.local else ():
            op.local[:] = [link.local.get(at or 0, 0) for at in op.p]
    for operation, place in places.items():
        _fill(ops[place], operation, dtype, addresses)
        if operation.name != "gather":
            for at in places_of_numbers(operation):
                ops[place].local[at] = dtype.itemsize
    every = [*((op, i) for i, op in enumerate(run)), *places.items()]
    return Assembled(ops, count, [(op, i) for op, i in every if op.name == "gather"])


def _operations(value: Any) -> tuple[Operation, ...]:
    """The operations that an operation is given as an array."""
    if isinstance(value, Operation):
        return (value,)
    return value if isinstance(value, tuple) else ()


def _fill(op: Op, operation: Operation, dtype: np.dtype, addresses: dict[Operation, int]) -> None:
    """Give an op of the library what an operation has."""
    op.kernel, op.alone = _kernel(operation.name, dtype), operation.alone
    op.n[: len(operation.n)], op.c[: len(operation.c)] = operation.n, operation.c
    for i, value in enumerate(operation.p):
        inner = _operations(value)
        op.p[i] = addresses[inner[0]] if inner else address(value)


def _kernel(name: str, dtype: np.dtype) -> int | None:
    library = load()
    return None if library is None else _address(library, instruction_set(), name, dtype)


@cache
def _address(library: ctypes.CDLL, isa: str, name: str, dtype: np.dtype) -> int | None:
    kernel: int | None = library.mlpx_kernel(isa.encode(), f"{name}.{dtype.name}".encode())
    return kernel
