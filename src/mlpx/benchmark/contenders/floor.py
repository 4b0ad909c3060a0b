"""The floor: the matrix products of a step and nothing else, in their best layout, without the cost
of the calls.

What a step takes beyond that is everything else: bias, activation, loss, optimizer, gathering,
overhead.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import numpy as np

from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.contenders.clocks import CupyClock, DeviceClock
from mlpx.benchmark.workloads import Problem, Task

Product = Callable[[], Any]
PAD = 16  # columns that keep a row's stride from being a power of two
TRY_S = 0.02
OVERHEAD_STEPS = 100
NORMAL = np.random.Generator(np.random.Philox(0)).standard_normal((1 << 16) + 1, np.float32)
"""One more than a power of two, so that no two rows of a common width are equal."""


class Floor(Contender):
    """The matrix products of the task's phase, one after the other."""

    library = "gemm"
    note = "the matrix products alone, best of three layouts, call overhead subtracted"

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.open()
        shapes = task.workload.gemms(task.batch_size, task.phase)
        self.products = self._fastest(shapes)
        self.empty = [self._variants((1, 1, 1))[0] for _ in shapes]

    def open(self) -> None:
        """Get the library and device."""
        raise NotImplementedError

    def matrix(self, rows: int, columns: int, *, by_column: bool, pad: int) -> Any:
        """A matrix of random numbers in the given layout."""
        raise NotImplementedError

    def numbers(self, rows: int, columns: int) -> np.ndarray:
        """Random numbers, repeated; equal ones would switch fewer bits, and a GPU be faster."""
        return np.resize(NORMAL, (rows, columns)).astype(self.task.dtype, copy=False)

    def products_of(self, a: Any, b: Any, out: Any) -> list[Product]:
        """The calls that compute out = a b."""
        raise NotImplementedError

    def _variants(self, shape: tuple[int, int, int]) -> list[Product]:
        """(m x k)(k x n) by rows, by columns, and by columns with padded strides."""
        products = []
        for by_column, pad in ((False, 0), (True, 0), (True, PAD)):
            m, k, n = shape
            a, b, out = (
                self.matrix(rows, columns, by_column=by_column, pad=pad)
                for rows, columns in ((m, k), (k, n), (m, n))
            )
            products += self.products_of(a, b, out)
        return products

    def _fastest(self, shapes: list[tuple[int, int, int]]) -> list[Product]:
        """The fastest variant for each shape; each product has its own matrices, each shape one
        trial.
        """
        products: list[Product] = []
        places: dict[tuple[int, int, int], int] = {}
        for shape in shapes:
            variants = self._variants(shape)
            if shape not in places:
                taken_s = [self._seconds(call) for call in variants]
                places[shape] = taken_s.index(min(taken_s))
            products.append(variants[places[shape]])
        return products

    def _seconds(self, call: Product) -> float:
        """The least time of a call in TRY_S seconds of calls."""
        call()
        self.synchronize()
        least, deadline_s = np.inf, time.perf_counter() + TRY_S
        while time.perf_counter() < deadline_s:
            started_s = time.perf_counter()
            call()
            self.synchronize()
            least = min(least, time.perf_counter() - started_s)
        return float(least)

    def call_overhead_s(self) -> float:
        """What the calls of one step cost on 1 x 1 matrices."""
        least = np.inf
        for _ in range(10):
            started_s = time.perf_counter()
            self._repeat(self.empty, OVERHEAD_STEPS)
            self.synchronize()
            least = min(least, time.perf_counter() - started_s)
        return float(least) / OVERHEAD_STEPS

    def facts(self) -> dict[str, float]:
        return {"call_overhead_s": self.call_overhead_s()}

    def reset(self) -> None:
        return

    def _repeat(self, products: list[Product], steps: int) -> None:
        for _ in range(steps):
            for product in products:
                product()

    def train(self, steps: int) -> None:
        """The products of `steps` steps."""
        self._repeat(self.products, steps)

    forward = backward = predict = call = start = train


class NumpyFloor(Floor):
    """NumPy's BLAS, or CuPy's on CUDA."""

    mode = "numpy"
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def open(self) -> None:
        from mlpx.backend import get_backend

        self.backend = get_backend(self.task.device)
        self.xp = self.backend.xp

    def matrix(self, rows: int, columns: int, *, by_column: bool, pad: int) -> Any:
        if by_column:
            return self.matrix(columns, rows, by_column=False, pad=pad).T
        return self.backend.asarray(self.numbers(rows, columns + pad))[:, :columns]

    def products_of(self, a: Any, b: Any, out: Any) -> list[Product]:
        """`matmul`, and `dot` if it takes this `out`: only `dot` calls the BLAS for one row or
        column.
        """
        products: list[Product] = [partial(self.xp.matmul, a, b, out=out)]
        if out.flags.c_contiguous:
            products.append(partial(self.xp.dot, a, b, out=out))
        if a.shape[1] == 1:
            products.append(partial(self.xp.multiply, a, b, out=out))
        return products

    def synchronize(self) -> None:
        self.backend.synchronize()

    def device_clock(self) -> DeviceClock | None:
        return CupyClock(self.xp) if self.backend.kind == "cuda" else None


class TorchFloor(Floor):
    """The BLAS that PyTorch brings."""

    mode = "torch"
    requires = ("torch",)
    devices: ClassVar[tuple[str, ...]] = ("cpu", "cuda")

    def open(self) -> None:
        import torch

        torch.set_num_threads(self.task.host_threads)
        self.torch: Any = torch

    def matrix(self, rows: int, columns: int, *, by_column: bool, pad: int) -> Any:
        if by_column:
            return self.matrix(columns, rows, by_column=False, pad=pad).T
        wide = self.torch.from_numpy(self.numbers(rows, columns + pad))
        return wide.to(self.task.device)[:, :columns]

    def products_of(self, a: Any, b: Any, out: Any) -> list[Product]:
        return [partial(self.torch.mm, a, b, out=out)]

    def synchronize(self) -> None:
        if self.task.device != "cpu":
            self.torch.cuda.synchronize()


def contenders() -> list[type[Contender]]:
    """Every floor."""
    return [NumpyFloor, TorchFloor]
