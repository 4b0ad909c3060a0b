"""What a GPU can do at most, measured: copies, products, a node of a graph, a barrier of a grid."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from mlpx.benchmark.workloads import Workload
from mlpx.engines.cuda import cublaslt
from mlpx.engines.cuda.products import HALVES, Matrix, Narrow, Product, workspace
from mlpx.engines.lowering import Operation
from mlpx.training import PRECISIONS

SOURCE = r"""
extern "C" __global__ void touch(float *x) { x[blockIdx.x * blockDim.x + threadIdx.x] += 1; }
"""
BARRIERS = r"""
#include <cooperative_groups.h>
extern "C" __global__ void barriers(int count) {
    cooperative_groups::grid_group grid = cooperative_groups::this_grid();
    for (int i = 0; i < count; i++) grid.sync();
}
"""
NODES = 512
ROUNDS = 7


def seconds(cuda: Any, call: Callable[[], Any]) -> float:
    """The median time of a call on its stream, by events; it runs once before."""
    call()
    found = []
    for _ in range(ROUNDS):
        start, stop = cuda.Event(), cuda.Event()
        start.record()
        call()
        stop.record()
        stop.synchronize()
        found.append(cuda.get_elapsed_time(start, stop) / 1e3)
    return max(median(found), 1e-9)


def copied_bytes_s(backend: Any, size: int) -> float:
    """Bytes read and written in a second by a copy of `size` bytes."""
    x, y = (backend.zeros(size // 4) for _ in range(2))

    def copy() -> None:
        y[...] = x

    return 2 * size / seconds(backend.xp.cuda, copy)


def product_flops_s(backend: Any, n: int, precision: str) -> float:
    """Floating-point operations in a second of a product (n, n) (n, n) by cublasLt; n is a multiple
    of 8.
    """
    x, W, y = (backend.zeros((n, n)) for _ in range(3))
    factors = (Matrix(array.data.ptr, n, n) for array in (x, W))
    narrow = Narrow(*factors, HALVES[precision]) if precision in HALVES else None
    operation = Operation("affine", (n, n, n), (), (x, W, y), ())
    library, room = cublaslt.opened(backend), workspace(backend)
    product = Product(
        library, room, operation, np.dtype(np.float32), tf32=precision == "tf32", narrow=narrow
    )
    current = backend.xp.cuda.get_current_stream
    return 2 * n**3 / seconds(backend.xp.cuda, lambda: product.launch(current().ptr))


def node_s(backend: Any) -> float:
    """The time of a small kernel that waits for the one before it, in a graph of many."""
    cuda, x = backend.xp.cuda, backend.zeros(128)
    touch = backend.xp.RawModule(code=SOURCE).get_function("touch")
    with backend.stream() as stream:
        touch((1,), (128,), (x,))
        stream.begin_capture()
        for _ in range(NODES):
            touch((1,), (128,), (x,))
        graph = stream.end_capture()
        return seconds(cuda, lambda: graph.launch(stream)) / NODES


def barrier_s(backend: Any) -> float:
    """The time of a barrier of a grid with a block of 256 threads on each multiprocessor."""
    runtime = backend.xp.cuda.runtime
    blocks = runtime.getDeviceProperties(backend.index)["multiProcessorCount"]
    module = backend.xp.RawModule(code=BARRIERS, enable_cooperative_groups=True)
    kernel, count = module.get_function("barriers"), 1000
    return seconds(
        backend.xp.cuda, lambda: kernel((blocks,), (256,), (np.int32(count),))
    ) / count  # fmt: skip


def measure(backend: Any, *, quick: bool) -> dict[str, Any]:
    """Every ceiling; what cannot be measured is the reason why."""
    n, size = (64, 1 << 16) if quick else (8192, 1 << 30)
    wanted: dict[str, Callable[[], float]] = {
        "copied_bytes_s": lambda: copied_bytes_s(backend, size),
        **{f"{name}_flops_s": partial(product_flops_s, backend, n, name) for name in PRECISIONS},
        "node_s": lambda: node_s(backend),
        "barrier_s": lambda: barrier_s(backend),
    }
    found: dict[str, Any] = {}
    with backend.xp.cuda.Device(backend.index):
        for name, call in wanted.items():
            try:
                found[name] = call()
            except Exception as error:
                found[name] = f"{type(error).__name__}: {error}"
    return found


def floors_us(workload: Workload, batch: int, ceilings: dict[str, Any]) -> dict[str, float]:
    """Microseconds below which a training step cannot be: as a graph of kernels, and as one kernel.

    Arithmetic and memory overlap at best; then each of 3 L + 2 dependent kernels costs a node, or a
    barrier.
    """
    flops, layers = workload.flops(batch, "train"), len(workload.shapes)
    moved = 4 * workload.parameter_count * (7 if workload.optimizer == "adam" else 4)
    moved += 4 * batch * sum(5 * k for _, k in workload.shapes) + 4 * batch * workload.layers[0]
    found = {}
    for precision in PRECISIONS:
        rate, bandwidth = ceilings[f"{precision}_flops_s"], ceilings["copied_bytes_s"]
        for name, step in (("graph", "node_s"), ("kernel", "barrier_s")):
            parts = (rate, bandwidth, ceilings[step])
            if all(isinstance(part, float) for part in parts):
                work = max(flops / rate, moved / bandwidth)
                found[f"{precision} {name}"] = 1e6 * (work + (3 * layers + 2) * parts[2])
    return found
