"""The compiled library as a target of the lowering, and operations in the form it takes them."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from functools import cache

import numpy as np

from mlpx.engines.lowering import Operation, address
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.native.barriers import Scheduled
from mlpx.engines.native.library import Op, blas, load
from mlpx.engines.native.tiles import Link

PRODUCTS = {
    *("affine", "affine_from", "affine_dx", "affine_dW", "affine_dW_part", "affine_dW_descend"),
    *("affine_dW_update", "matrix_product"),
}
"""The operations that call the BLAS, and so are given its gemm."""


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


def assemble(
    scheduled: Sequence[Scheduled], dtype: np.dtype, links: Sequence[Link] | None = None
) -> ctypes.Array[Op]:
    """Operations in the library's form; without links, none is run tile by tile."""
    links = links or [Link(operations=1, tiles=1)] * len(scheduled)
    pairs = zip(scheduled, links, strict=True)
    return (Op * len(scheduled))(*(_op(*step, *link, dtype) for step, link in pairs))


def _op(operation: Operation, wait: bool, chain: int, tiles: int, dtype: np.dtype) -> Op:
    """An operation in the library's form."""
    n = operation.n
    p = [_kernel(v, dtype) if isinstance(v, str) else address(v) for v in operation.p]
    op = Op(
        kernel=_kernel(operation.name, dtype), alone=operation.alone, wait=wait,
        chain=chain, tiles=tiles,
    )  # fmt: skip
    op.n[: len(n)], op.c[: len(operation.c)], op.p[: len(p)] = n, operation.c, p
    if operation.name in PRODUCTS:
        places = FIELDS[operation.name].places
        op.n[places["wide"][1]] = blas().wide
        op.p[places["gemm"][1]] = blas().gemm[dtype.name]
    return op


def _kernel(name: str, dtype: np.dtype) -> int | None:
    library = load()
    return None if library is None else _address(library, name, dtype)


@cache
def _address(library: ctypes.CDLL, name: str, dtype: np.dtype) -> int | None:
    kernel: int | None = library.mlpx_kernel(f"{name}.{dtype.name}".encode())
    return kernel
