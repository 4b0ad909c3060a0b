"""A double of cublasLt as ctypes sees it: handles, descriptions, one heuristic, products."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

from mlpx.kernels.activations import Activation

from . import streams
from .state import CUDARuntimeError, cuda_call

SUCCESS, NOT_INITIALIZED, INVALID_VALUE, EXECUTION_FAILED, NOT_SUPPORTED = 0, 1, 7, 13, 15
TYPES = {
    0: np.dtype(np.float32), 1: np.dtype(np.float64), 2: np.dtype(np.float16),
    14: np.dtype(np.uint16),
}  # fmt: skip
NARROW, LEAST_NARROW = 2, 16
"""Bytes of a 16-bit number, and what its rows have to start at multiples of."""
COMPUTES = {68: 0, 77: 0, 70: 1}
"""The type of the scale that goes with each way to compute."""


class Function:
    """One function: takes what ctypes would pass on, returns a status."""

    def __init__(self, action: Callable[..., int | None]) -> None:
        self.action = action
        self.argtypes: tuple[Any, ...] = ()
        self.restype: Any = None

    def __call__(self, *given: Any) -> int:
        assert len(given) == len(self.argtypes), (self.action.__name__, len(given))
        try:
            cuda_call(self.action.__name__)
        except CUDARuntimeError:
            return EXECUTION_FAILED
        status = self.action(*(_plain(value) for value in given))
        return SUCCESS if status is None else status


def widened(a: np.ndarray) -> np.ndarray:
    """The numbers of bfloat16 bits, and halves, as float32; others as they are."""
    if a.dtype == np.float16:
        return a.astype(np.float32)
    return (a.astype(np.uint32) << 16).view(np.float32) if a.dtype == np.uint16 else a


def _plain(value: Any) -> Any:
    """References to what they refer to, pointers to numbers."""
    if isinstance(value, ctypes.c_void_p):
        return value.value
    return getattr(value, "_obj", value)


class Library:
    """The library; `unplanned` and `failing` say which products (m, n, k) it does not do, and
    `epilogues` which ends of them it does.
    """

    def __init__(self) -> None:
        self.made: dict[int, dict[Any, Any]] = {}
        self.count = 0
        self.unplanned: Callable[[tuple[int, int, int]], bool] = lambda shape: False
        self.failing: Callable[[tuple[int, int, int]], bool] = lambda shape: False
        self.epilogues: Collection[int] = tuple(EPILOGUES)
        """Whether it does anything with a product before it writes it."""
        self.computes: list[int] = []
        self.products: list[tuple[int, int, int]] = []
        for name in dir(type(self)):
            if name.startswith("_cublasLt"):
                setattr(self, name[1:], Function(getattr(self, name)))

    def _new(self, reference: Any, **fields: Any) -> None:
        self.count += 1  # numbers are never given twice
        reference.value = self.count
        self.made[reference.value] = fields

    def _cublasLtCreate(self, handle: Any) -> None:  # noqa: N802
        self._new(handle)

    def _cublasLtGetVersion(self) -> int:  # noqa: N802
        return 130_000

    def _cublasLtMatmulDescCreate(self, made: Any, compute: int, scale: int) -> int | None:  # noqa: N802
        if COMPUTES.get(compute) != scale:
            return INVALID_VALUE
        return self._new(made, compute=compute, turned={2: 0, 3: 0, 4: 0, 7: 1, 8: 0, 11: 0, 12: 0})

    def _cublasLtMatmulDescSetAttribute(  # noqa: N802
        self, made: int, attribute: int, value: Any, size: int
    ) -> int | None:
        sizes = {2: 4, 3: 4, 4: 4, 7: 4, 8: 8, 11: 8, 12: 8}
        if size != ctypes.sizeof(value) or sizes.get(attribute) != size:
            return INVALID_VALUE
        self.made[made]["turned"][attribute] = value.value
        return None

    def _cublasLtMatrixLayoutCreate(  # noqa: N802
        self, made: Any, kind: int, rows: int, columns: int, stride: int
    ) -> int | None:
        if kind not in TYPES or stride < rows:
            return INVALID_VALUE
        return self._new(made, dtype=TYPES[kind], rows=rows, columns=columns, stride=stride)

    def _cublasLtMatmulPreferenceCreate(self, made: Any) -> None:  # noqa: N802
        self._new(made, alignment={})

    def _cublasLtMatmulPreferenceSetAttribute(  # noqa: N802
        self, made: int, attribute: int, value: Any, size: int
    ) -> int | None:
        if size != {1: 8}.get(attribute, 4) or size != ctypes.sizeof(value):
            return INVALID_VALUE
        self.made[made]["alignment"][attribute] = value.value
        return None

    def _destroy(self, made: int) -> None:
        del self.made[made]

    _cublasLtMatmulDescDestroy = _cublasLtMatrixLayoutDestroy = _destroy  # noqa: N815
    _cublasLtMatmulPreferenceDestroy = _destroy  # noqa: N815

    def _shape(self, product: int, a: int, b: int, c: int) -> tuple[int, int, int] | None:
        """(m, n, k) by columns, or None if the matrices do not fit."""
        turned = self.made[product]["turned"]
        sizes = [(self.made[x]["rows"], self.made[x]["columns"]) for x in (a, b, c)]
        (m, k), (k2, n) = (
            size[::-1] if turned[sign] else size for size, sign in zip(sizes, (3, 4), strict=False)
        )
        return (m, n, k) if k == k2 and sizes[2] == (m, n) else None

    def _cublasLtMatmulAlgoGetHeuristic(  # noqa: N802
        self, handle: int, product: int, a: int, b: int, c: int, d: int, wanted: int, most: int,
        found: Any, count: Any,
    ) -> int:  # fmt: skip
        shape = self._shape(product, a, b, c)
        if shape is None or c != d:
            return INVALID_VALUE
        if self.unplanned(shape) or self.made[product]["turned"][7] not in self.epilogues:
            count.value = 0  # with either status
            return SUCCESS if shape[0] % 2 else NOT_SUPPORTED
        turned = self.made[product]["turned"]
        grain = AUXILIARY.get(turned[7])
        if grain and (turned[12] % grain or turned[12] < shape[0] or not turned[11]):
            return NOT_SUPPORTED
        hints = [self.made[wanted]["alignment"].get(attribute, 256) for attribute in (5, 6)]
        narrow = self.made[a]["dtype"].itemsize == NARROW and min(hints) < LEAST_NARROW
        if narrow:
            return NOT_SUPPORTED
        count.value, found.state, found.workspace_size = 1, SUCCESS, 1024
        for i, attribute in enumerate((5, 6, 8)):
            found.algo.data[i] = self.made[wanted]["alignment"].get(attribute, 256)
        return SUCCESS

    def _cublasLtMatmul(  # noqa: N802
        self, handle: int, product: int, alpha: Any, a: int, of_a: int, b: int, of_b: int,
        beta: Any, c: int, of_c: int, d: int, of_d: int, algo: Any, workspace: int, size: int,
        stream: int,
    ) -> int:  # fmt: skip
        shape = self._shape(product, of_a, of_b, of_c)
        assert shape is not None
        if self.failing(shape) or size < 1024 or (c, of_c) != (d, of_d):
            return NOT_SUPPORTED
        pairs = ((a, of_a), (b, of_b), (d, of_d))
        for (address, layout), alignment in zip(pairs, algo.data, strict=False):
            row = self.made[layout]["stride"] * self.made[layout]["dtype"].itemsize
            assert address % alignment == row % alignment == 0, "less aligned than planned"
        turned = self.made[product]["turned"]
        x, y, z = (self._matrix(*pair) for pair in ((a, of_a), (b, of_b), (d, of_d)))
        x, y = x.T if turned[3] else x, y.T if turned[4] else y
        on_device = turned[2] == 1
        if turned[7] not in EPILOGUES:
            return NOT_SUPPORTED
        bias, kept = array(turned[8], (len(z),), z.dtype), z
        if AUXILIARY.get(turned[7]) == 128:
            kept = array(turned[11], (z.shape[1], turned[12] // 8), np.uint8)
        elif turned[11]:
            kept = array(turned[11], (z.shape[1], turned[12]), z.dtype)[:, : len(z)].T

        def multiply() -> None:
            left, right = widened(x), widened(y)
            factor, keep = (
                array(number, (1,), z.dtype)[0] if on_device else number.value
                for number in (alpha, beta)
            )
            z[...] = factor * (left @ right) + (keep * z if keep else 0)
            EPILOGUES[turned[7]](left, bias, kept, z)

        self.products.append(shape)
        self.computes.append(self.made[product]["compute"])
        streams.alive[stream].put(multiply, workspace)
        return SUCCESS

    def _matrix(self, address: int, layout: int) -> np.ndarray:
        """A matrix in memory, by columns."""
        of = self.made[layout]
        stored = array(address, (of["columns"], of["stride"]), of["dtype"])
        return stored[:, : of["rows"]].T


def add_bias(left: np.ndarray, bias: np.ndarray, kept: np.ndarray, z: np.ndarray) -> None:
    z[...] += bias[:, None]


def relu_bias(left: np.ndarray, bias: np.ndarray, kept: np.ndarray, z: np.ndarray) -> None:
    z[...] = np.maximum(z + bias[:, None], 0)


def relu_aux_bias(left: np.ndarray, bias: np.ndarray, kept: np.ndarray, z: np.ndarray) -> None:
    relu_bias(left, bias, kept, z)
    kept[...] = 0xFF
    kept[:, : -(-len(z) // 8)] = np.packbits(z.T > 0, axis=1)


def drelu(left: np.ndarray, bias: np.ndarray, kept: np.ndarray, z: np.ndarray) -> None:
    z[...] = np.where(np.unpackbits(kept, axis=1, count=len(z)).T, z, 0)


def drelu_bgrad(left: np.ndarray, bias: np.ndarray, kept: np.ndarray, z: np.ndarray) -> None:
    drelu(left, bias, kept, z)
    bias[...] = z.sum(axis=1)


def gelu_aux_bias(left: np.ndarray, bias: np.ndarray, kept: np.ndarray, z: np.ndarray) -> None:
    kept[...] = z + bias[:, None]
    gelu("forward", kept.copy(), out=z)


def dgelu(left: np.ndarray, bias: np.ndarray, kept: np.ndarray, z: np.ndarray) -> None:
    gelu("backward", z.copy(), kept.copy(), out=z)


def bgrada(left: np.ndarray, bias: np.ndarray, kept: np.ndarray, z: np.ndarray) -> None:
    bias[...] = left.sum(axis=1)


EPILOGUES: dict[int, Any] = {
    1: lambda *_: None, 4: add_bias, 6: relu_bias, 134: relu_aux_bias, 136: drelu,
    152: drelu_bgrad, 164: gelu_aux_bias, 192: dgelu, 256: bgrada,
}  # fmt: skip
"""What is done with a product's result, by cublasLt's numbers."""
AUXILIARY = {134: 128, 136: 128, 152: 128, 164: 8, 192: 8}
"""The epilogues that keep or read something, and what the rows of that are a multiple of."""


def gelu(method: str, *given: np.ndarray, out: np.ndarray) -> None:
    """GELU by tanh, or its way back."""
    f: Any = Activation.resolve("gelu_tanh")
    work = tuple(np.empty_like(given[0]) for _ in range(f.scratch))
    getattr(f, method)(np, *given, out=out, work=work)


def array(address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Memory at an address."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(address), dtype).reshape(shape)
