"""The floor of the native engine: the BLAS that it calls by pointer, or its own products."""

from __future__ import annotations

import ctypes
from functools import partial
from typing import Any, ClassVar

from mlpx.benchmark.contenders.floor import NumpyFloor, Product
from mlpx.benchmark.processes import thread_environment
from mlpx.benchmark.workloads import Problem, Task
from mlpx.engines.native.library import Blas, available, load

ROW_MAJOR, PLAIN = 101, 111
REALS: dict[str, Any] = {"float32": ctypes.c_float, "float64": ctypes.c_double}


class NativeFloor(NumpyFloor):
    """One thread's share of the batch; each product by the BLAS that is fastest for it."""

    mode = "native"
    note = "one thread's share of the batch, its products by any BLAS of the native engine"
    devices: ClassVar[tuple[str, ...]] = ("cpu",)
    environment = thread_environment(1)

    def __init__(self, task: Task, problem: Problem) -> None:
        self.kept: list[Any] = []
        super().__init__(task, problem)

    @classmethod
    def refuses(cls, task: Task) -> str | None:
        if load() is None:
            return "the native library was not built"
        return super().refuses(task)

    def batch_rows(self) -> int:
        n, threads = self.task.batch_size, self.task.threads
        return n if n < threads else -(-n // threads)

    def products_of(self, a: Any, b: Any, out: Any) -> list[Product]:
        if not all(is_by_row(array) for array in (a, b, out)):
            a, b, out = b.T, a.T, out.T  # the same memory, by rows
        self.kept += [a, b, out]
        return [self._call(blas, a, b, out) for blas in available().values()]

    def _call(self, blas: Blas, a: Any, b: Any, out: Any) -> Product:
        whole = ctypes.c_int64 if blas.wide else ctypes.c_int
        real, pointer = REALS[self.task.dtype], ctypes.c_void_p
        kinds = [*[ctypes.c_int] * 3, *[whole] * 3, real, pointer, whole, pointer, whole, real]
        gemm = ctypes.CFUNCTYPE(None, *kinds, pointer, whole)(blas.gemm[self.task.dtype])
        lda, ldb, ldc = (max(x.strides[0] // x.itemsize, x.shape[1]) for x in (a, b, out))
        (m, n), k = out.shape, a.shape[1]
        return partial(
            gemm, ROW_MAJOR, PLAIN, PLAIN, m, n, k, 1.0, a.ctypes.data, lda, b.ctypes.data, ldb,
            0.0, out.ctypes.data, ldc,
        )  # fmt: skip


def is_by_row(array: Any) -> bool:
    """Whether a row's elements lie side by side."""
    return bool(array.strides[1] == array.itemsize or array.shape[1] == 1)
