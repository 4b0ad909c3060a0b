"""Matrix products of row-major arrays, planned once for each shape and run on any stream."""

from __future__ import annotations

import ctypes
from ctypes import byref, c_int32, c_int64, c_uint32, c_uint64
from typing import Any, NamedTuple

import numpy as np

from mlpx.engines.cuda.cublaslt import (
    COMPUTE_32F,
    COMPUTE_32F_FAST_TF32,
    COMPUTE_64F,
    DESC_BIAS_POINTER,
    DESC_EPILOGUE,
    DESC_EPILOGUE_AUX_LD,
    DESC_EPILOGUE_AUX_POINTER,
    DESC_POINTER_MODE,
    DESC_TRANSA,
    DESC_TRANSB,
    OP_N,
    OP_T,
    POINTER_MODE_DEVICE,
    PREF_MAX_WORKSPACE_BYTES,
    PREF_MIN_ALIGNMENT,
    R_16BF,
    R_16F,
    R_32F,
    R_64F,
    CublasLt,
)
from mlpx.engines.cuda.epilogues import Epilogue, Fused
from mlpx.engines.lowering import Operation, address

MOST_ALIGNMENT = 256
"""Bytes: the alignment that cublasLt assumes if it is not told."""
WORKSPACE_BYTES = 32 << 20
"""The workspace of cublasLt's fastest algorithms on the largest devices."""
LEAST_WORKSPACE_BYTES = 1 << 16


AFFINE = ("affine", "affine_dx", "affine_dW")
"""The products of a layer."""
FACTORS = {
    "affine": ("x", "W", "out"),
    "affine_dx": ("dz", "W", "dx"),
    "affine_dW": ("x", "dz", "dW"),
    "matrix_product": ("A", "B", "out"),
}
"""The operations that are products, and which of their fields are the factors and the result."""


def workspace(backend: Any) -> Any:
    """A workspace for cublasLt on one stream: at most an eighth of the free memory.

    Raises DeviceMemoryError.
    """
    room = max(LEAST_WORKSPACE_BYTES, backend.memory().free_bytes // 8)
    return backend.empty(min(WORKSPACE_BYTES, room), np.uint8)


HALVES = {"bf16": R_16BF, "fp16": R_16F}
"""cublasLt's type of the 16-bit numbers to which a precision rounds factors."""


class Matrix(NamedTuple):
    """A row-major matrix (rows, columns) at an address; turned: its transpose is the factor."""

    address: int
    rows: int
    columns: int
    turned: bool = False
    padded: int = 0
    """How many elements apart its rows are, if that is more than `columns`."""

    @property
    def stride(self) -> int:
        """How many elements apart its rows are."""
        return self.padded or self.columns

    def alignment(self, itemsize: int) -> int:
        """The largest power of two, at most 256, that divides the address of every row."""
        return lowest_bit(self.address | self.stride * itemsize | MOST_ALIGNMENT)

    def narrowed(self, start: int) -> Matrix:
        """The same matrix in 16 bits, at another address."""
        return self._replace(address=start, padded=padded(self.columns))


def padded(columns: int) -> int:
    """The columns with which all rows of 16-bit numbers start at multiples of 16 bytes."""
    return -(-columns // 8) * 8


class Narrow(NamedTuple):
    """The factors of a product in 16 bits, of cublasLt's type `kind`."""

    a: Matrix
    b: Matrix
    kind: int
    back: int = 0
    """The address of alpha and beta on the device, 0 where they are 1 and 0."""


def lowest_bit(number: int) -> int:
    """The largest power of two that divides `number`."""
    return number & -number


def operands(operation: Operation) -> tuple[Matrix, Matrix, Matrix]:
    """The matrices A, B and C of an operation C = A B."""
    a, b, c = (address(operation[field]) for field in FACTORS[operation.name])
    if operation.name == "matrix_product":  # C = A B, m x n = m x k times k x n
        m, n, k = (operation[size] for size in ("rows", "columns", "inner"))
        A = Matrix(a, k, m, turned=True) if operation["turned_A"] else Matrix(a, m, k)
        B = Matrix(b, n, k, turned=True) if operation["turned_B"] else Matrix(b, k, n)
        return A, B, Matrix(c, m, n)
    n, d, k = (operation[size] for size in ("rows", "inputs", "outputs"))
    if operation.name == "affine":  # z = x W
        return Matrix(a, n, d), Matrix(b, d, k), Matrix(c, n, k)
    if operation.name == "affine_dx":  # dx = dz W'
        return Matrix(a, n, k), Matrix(b, d, k, turned=True), Matrix(c, n, d)
    return Matrix(a, n, d, turned=True), Matrix(b, n, k), Matrix(c, d, k)  # dW = x' dz


def end(epilogue: Epilogue) -> dict[int, Any]:
    """An epilogue as attributes of cublasLt's description of a product."""
    asked: dict[int, Any] = {DESC_EPILOGUE: c_int32(epilogue.kind)}
    if epilogue.vector:
        asked[DESC_BIAS_POINTER] = c_uint64(epilogue.vector)
    if epilogue.input:
        asked[DESC_EPILOGUE_AUX_POINTER] = c_uint64(epilogue.input)
        asked[DESC_EPILOGUE_AUX_LD] = c_int64(epilogue.input_columns)
    return asked


class PlannedProduct:
    """C = alpha A B + beta C by cublasLt; planned when made, and run with `launch`.

    `algorithm` is None where cublasLt has none. narrow: A and B in 16 bits; sums and C are of
    `dtype` all the same.

    cublasLt's matrices are stored by column: to it the arrays are the transposes, and C' = B' A'.
    """

    def __init__(
        self, library: CublasLt, workspace: Any, operation: Operation, dtype: np.dtype, *,
        tf32: bool = False, narrow: Narrow | None = None,
    ) -> None:  # fmt: skip
        self.library, self.workspace = library, workspace
        a, b, c = operands(operation)
        a, b = narrow[:2] if narrow else (a, b)
        double = dtype == np.float64
        kind = R_64F if double else R_32F
        compute = COMPUTE_64F if double else COMPUTE_32F_FAST_TF32 if tf32 else COMPUTE_32F
        number = ctypes.c_double if double else ctypes.c_float
        alpha, beta = 1.0, 0.0
        if operation.name == "matrix_product":
            alpha, beta = operation["alpha"], operation["beta"]
        self.factors: tuple[Any, Any] = byref(number(alpha)), byref(number(beta))
        turned = {DESC_TRANSA: b.turned, DESC_TRANSB: a.turned}
        asked: dict[int, Any] = {
            key: c_int32(OP_T if value else OP_N) for key, value in turned.items()
        }
        if isinstance(operation, Fused):
            c = c._replace(address=operation.epilogue.out or c.address)
            asked |= end(operation.epilogue)
        if narrow and narrow.back:
            asked[DESC_POINTER_MODE] = c_int32(POINTER_MODE_DEVICE)
            self.factors = narrow.back, narrow.back + dtype.itemsize
        self.descriptor = library.descriptor(compute, kind, asked)
        kinds = (narrow.kind, narrow.kind, kind) if narrow else (kind, kind, kind)
        self.layouts = tuple(
            library.layout(kind, m.columns, m.rows, m.stride)
            for kind, m in zip(kinds, (b, a, c), strict=True)
        )
        self.addresses = (b.address, a.address, c.address)
        size, narrow_size = dtype.itemsize, 2 if narrow else dtype.itemsize
        sizes = (narrow_size, narrow_size, size, size)
        hints = zip("ABCD", (b, a, c, c), sizes, strict=True)
        wishes: dict[int, Any] = {
            PREF_MIN_ALIGNMENT[name]: c_uint32(m.alignment(size)) for name, m, size in hints
        }
        wishes[PREF_MAX_WORKSPACE_BYTES] = c_uint64(workspace.nbytes)
        of_b, of_a, of_c = self.layouts
        self.algorithm = library.best(self.descriptor, (of_b, of_a, of_c, of_c), wishes)

    def launch(self, stream: int) -> None:
        """Put the product on a stream.

        Raises CublasLtError.
        """
        assert self.algorithm is not None
        (b, a, c), (of_b, of_a, of_c) = self.addresses, self.layouts
        alpha, beta = self.factors
        self.library.call(
            "cublasLtMatmul", self.library.handle, self.descriptor, alpha, b, of_b,
            a, of_a, beta, c, of_c, c, of_c, byref(self.algorithm.algo),
            address(self.workspace), self.workspace.nbytes, stream,
        )  # fmt: skip

    def __del__(self) -> None:
        for layout in getattr(self, "layouts", ()):
            self.library.functions["cublasLtMatrixLayoutDestroy"](layout)
        if hasattr(self, "descriptor"):
            self.library.functions["cublasLtMatmulDescDestroy"](self.descriptor)
