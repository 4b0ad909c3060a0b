"""What a GPU can do at most, measured: copies, products, a node of a graph, a barrier of a grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from gpu.section import Row, Setup
from mlpx import get_backend
from mlpx.benchmark.workloads import Workload
from mlpx.engines.cuda import cublaslt
from mlpx.engines.cuda.products import HALVES, Matrix, Narrow, PlannedProduct, workspace
from mlpx.engines.lowering import Operation
from mlpx.training.fit import PRECISIONS

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
ENOUGH_S = 0.02
"""How long a round is at least, so that what starts it does not count."""
MOST_CALLS = 32
Ceilings = dict[str, Any]
"""Name to figure, or to the reason why there is none."""


def run(setup: Setup) -> Iterator[Row]:
    """A row for each ceiling."""
    for name, found in measure(get_backend(setup.device), quick=setup.quick):
        yield {"ceiling": name} | ({"why": found} if isinstance(found, str) else {"value": found})


def measure(backend: Any, *, quick: bool) -> Iterator[tuple[str, float | str]]:
    """Every ceiling as soon as it is known; what cannot be measured is the reason why."""
    n, size, nodes = (64, 1 << 16, 8) if quick else (8192, 1 << 30, NODES)
    wanted: dict[str, Callable[[], float]] = {
        "node_s": partial(node_s, backend, nodes),
        "barrier_s": partial(barrier_s, backend),
        "copied_bytes_s": partial(copied_bytes_s, backend, size),
        **{f"{name}_flops_s": partial(product_flops_s, backend, n, name) for name in PRECISIONS},
    }
    with backend.xp.cuda.Device(backend.index):
        for name, call in wanted.items():
            try:
                yield name, call()
            except Exception as error:
                yield name, f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def seconds(cuda: Any, call: Callable[[], Any]) -> float:
    """The median time of a call on its stream, by events around several; it runs before."""
    once = elapsed_s(cuda, call, 1)  # what is done at its first call is not timed
    once = min(once, elapsed_s(cuda, call, 1))
    calls = int(min(MOST_CALLS, max(1, ENOUGH_S / max(once, 1e-6))))
    found = [elapsed_s(cuda, call, calls) / calls for _ in range(ROUNDS)]
    return max(median(found), 1e-9)


def elapsed_s(cuda: Any, call: Callable[[], Any], calls: int) -> float:
    """The time between events before and after some calls."""
    start, stop = cuda.Event(), cuda.Event()
    start.record()
    for _ in range(calls):
        call()
    stop.record()
    stop.synchronize()
    return float(cuda.get_elapsed_time(start, stop)) / 1e3


def numbers(shape: tuple[int, ...]) -> np.ndarray:
    """Random float32, a block of them repeated: zeros and equal numbers are multiplied faster, for
    want of switching.
    """
    block = np.random.Generator(np.random.Philox(0)).standard_normal((1 << 20) + 1, np.float32)
    return np.resize(block, shape)


def halves(x: np.ndarray, precision: str) -> np.ndarray:
    """The bits of float32 numbers in 16."""
    if precision == "bf16":
        return (x.view(np.uint32) >> 16).astype(np.uint16)
    return x.astype(np.float16).view(np.uint16)


def copied_bytes_s(backend: Any, size: int) -> float:
    """Bytes read and written in a second by a copy of `size` bytes."""
    x, y = backend.asarray(numbers((size // 4,))), backend.empty(size // 4)

    def copy() -> None:
        y[...] = x

    return 2 * size / seconds(backend.xp.cuda, copy)


def product_flops_s(backend: Any, n: int, precision: str) -> float:
    """Floating-point operations in a second of a product (n, n) (n, n) of random numbers by
    cublasLt; n is a multiple of 8.
    """
    given = [numbers((n, n)), numbers((n, n))[::-1].copy()]
    if precision in HALVES:
        given = [halves(x, precision) for x in given]
    x, W = (backend.asarray(a) for a in given)
    y = backend.zeros((n, n))
    a, b = (Matrix(array.data.ptr, n, n) for array in (x, W))
    narrow = Narrow(a, b, HALVES[precision]) if precision in HALVES else None
    operation = Operation("affine", (n, n, n), (), (x, W, y), ())
    library, room = cublaslt.opened(backend), workspace(backend)
    product = PlannedProduct(
        library, room, operation, np.dtype(np.float32), tf32=precision == "tf32", narrow=narrow
    )
    if product.algorithm is None:
        raise ValueError(f"cublasLt has no algorithm for {n} x {n} in {precision}")
    current = backend.xp.cuda.get_current_stream
    return 2 * n**3 / seconds(backend.xp.cuda, lambda: product.launch(current().ptr))


def node_s(backend: Any, nodes: int) -> float:
    """The time of a small kernel that waits for the one before it, in a graph of many."""
    cuda, x = backend.xp.cuda, backend.asarray(numbers((128,)))
    touch = backend.xp.RawModule(code=SOURCE).get_function("touch")
    with backend.stream() as stream:
        touch((1,), (128,), (x,))
        stream.begin_capture()
        for _ in range(nodes):
            touch((1,), (128,), (x,))
        graph = stream.end_capture()
        return seconds(cuda, lambda: graph.launch(stream)) / nodes


def barrier_s(backend: Any) -> float:
    """The time of a barrier of a grid with a block of 256 threads on each multiprocessor."""
    runtime = backend.xp.cuda.runtime
    blocks = runtime.getDeviceProperties(backend.index)["multiProcessorCount"]
    module = backend.xp.RawModule(code=BARRIERS, enable_cooperative_groups=True)
    kernel, count = module.get_function("barriers"), 1000
    return seconds(
        backend.xp.cuda, lambda: kernel((blocks,), (256,), (np.int32(count),))
    ) / count  # fmt: skip


def floors_us(workload: Workload, batch: int, ceilings: Ceilings) -> dict[str, float]:
    """Microseconds below which a training step cannot be: its products alone, as a graph of
    kernels, and as one kernel.

    Arithmetic and memory overlap at best; then each of 3 L + 2 dependent kernels costs a node, or a
    barrier.
    """
    flops, layers = workload.flops(batch, "train"), len(workload.shapes)
    moved = 4 * workload.parameter_count * (7 if workload.optimizer == "adam" else 4)
    moved += 4 * batch * sum(5 * k for _, k in workload.shapes) + 4 * batch * workload.layers[0]
    known = {name: found for name, found in ceilings.items() if isinstance(found, float)}
    found = {}
    for precision in PRECISIONS:
        rate, bandwidth = known.get(f"{precision}_flops_s"), known.get("copied_bytes_s")
        if rate:
            found[f"{precision} gemm"] = 1e6 * flops / rate
        for name, step in (("graph", "node_s"), ("kernel", "barrier_s")):
            if rate and bandwidth and step in known:
                work = max(flops / rate, moved / bandwidth)
                found[f"{precision} {name}"] = 1e6 * (work + (3 * layers + 2) * known[step])
    return found
