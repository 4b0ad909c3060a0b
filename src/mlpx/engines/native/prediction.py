"""Prediction by the native library, in chunks of rows that are small enough to stay in the cache.

Every thread carries chunks of its own through the whole network, on memory of its own, so threads
never wait for each other. The memory and the operations are kept from call to call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpx.backend.cpu import usable_cores
from mlpx.engines.lowering import Operation, Translator, address
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.lowering.translator import DTYPES
from mlpx.engines.native.assembly import NativeTarget, assemble
from mlpx.engines.native.barriers import schedule
from mlpx.engines.native.fusing import fuse
from mlpx.engines.native.library import Forward, Op, load, pool
from mlpx.engines.native.tiles import CACHED_BYTES, FORWARD
from mlpx.kernels import batches
from mlpx.network.network import Network
from mlpx.network.passes import plan_forward
from mlpx.plan.plan import Buffers, Plan
from mlpx.types import Array

MOST_ROWS = 1024
SHORT_BYTES = 1 << 14
"""Rows of up to so many bytes are copied, since asking NumPy for their address takes longer."""
WORK_FOR_THREADS = 5e5
"""The number of multiplications from which on a prediction is worth waking threads for."""


class NativePredictor:
    """The forward pass of a network on the CPU; calls may come from several threads at a time.

    Raises UntranslatableError if the library has no operation for a part of it.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        # The larger the weights, the more rows make it worth reading them all.
        room = max(CACHED_BYTES, network.flat.nbytes)
        rows = room // (network.dtype.itemsize * sum(network.widths))
        self.rows = int(max(1, min(MOST_ROWS, rows)))
        """The most rows of a chunk."""
        self.size = sum(p.parameter.size for p in network.layout.places.values())
        self._lanes = [Lane(network, self.rows)]
        self._lanes[0].chunk(1, network.dtype, classes=False)  # raises now if it ever does

    def run(self, x: np.ndarray, *, classes: bool, rows: int) -> tuple[Array, bool]:
        """The outputs (n, d_out), or classes (n,), of x (n, d_in), and whether all of x is finite.

        At most `rows` rows are copied at a time.
        """
        if not (x.flags.c_contiguous and x.flags.aligned):
            return self._by_part(x, classes, rows)
        n, threads, size = len(x), 1, min(self.rows, rows)
        if n > 1 and n * self.size > WORK_FOR_THREADS:
            threads = usable_cores()
        elif n <= size:
            return self._at_once(x, classes)
        rounds = -(-n // (threads * size))
        size = -(-n // (threads * rounds))  # so that all threads have equally many rows
        return self._chunked(x, classes, size, min(threads, -(-n // size)))

    def _by_part(self, x: np.ndarray, classes: bool, rows: int) -> tuple[Array, bool]:
        pieces = [
            self.run(
                np.require(x[i : i + rows], requirements=["C", "A"]), classes=classes, rows=rows
            )
            for i in range(0, len(x), rows)
        ]
        return np.concatenate([part for part, _ in pieces]), all(fine for _, fine in pieces)

    def _at_once(self, x: np.ndarray, classes: bool) -> tuple[Array, bool]:
        """Predict for a single chunk, on this thread."""
        lane = self._take()
        try:
            chunk = lane.chunk(len(x), x.dtype, classes=classes)
            out = chunk.run(x)
            return out, lane.finite()
        finally:
            self._lanes.append(lane)

    def _chunked(self, x: np.ndarray, classes: bool, size: int, threads: int) -> tuple[Array, bool]:
        n, rest, library = len(x), len(x) % size, load()
        assert library is not None
        d_out, dtype = self.network.d_out, self.network.dtype
        out = np.empty(n, np.int64) if classes else np.empty((n, d_out), dtype)
        lanes = [self._take() for _ in range(threads)]
        try:
            whole = [lane.chunk(size, x.dtype, classes=classes) for lane in lanes]
            last = [lane.chunk(rest, x.dtype, classes=classes) for lane in lanes if rest]
            source, to = address(x), address(out)
            out_bytes = size * out.strides[0]
            for chunk in (*whole, *last):
                chunk.point(source, to, rows=size, out_bytes=out_bytes)
            run = forward(whole, last, chunks=-(-n // size))
            with pool(threads) as workers:
                library.mlpx_forward(run, workers)
            fine = [lane.finite() for lane in lanes]
            return out, all(fine)
        finally:
            self._lanes += lanes

    def _take(self) -> Lane:
        try:
            return self._lanes.pop()
        except IndexError:  # all are in use by other threads
            return Lane(self.network, self.rows)


class Lane:
    """One thread's memory, and the operations on it for chunks of up to `rows` rows."""

    def __init__(self, network: Network, rows: int) -> None:
        self.network = network
        self.buffers = Buffers(network.backend, rows, network.dtype)
        self.flag = np.zeros(1, np.int64)
        self._chunks: dict[tuple[int, bool, np.dtype], Chunk] = {}

    def finite(self) -> bool:
        """Whether no number since the last call was infinite, NaN or too large for the model's
        dtype.
        """
        if self.flag[0]:
            self.flag[0] = 0
            return False
        return True

    def chunk(self, rows: int, dtype: np.dtype, *, classes: bool) -> Chunk:
        """The operations on `rows` rows of an array of `dtype`, wherever it is."""
        key = (rows, classes, dtype)
        return self._chunks.get(key) or self._chunks.setdefault(key, Chunk(self, *key))

    def plan(self, rows: int, classes: bool) -> tuple[Translator, Array, Array]:
        """The translator of a forward pass, x and the results, all in the lane's memory."""
        network = self.network
        plan = Plan(self.buffers, rows, parameters=network.layout.views(network.flat))
        x = self.buffers.get("x", rows, network.d_in)
        z, _ = plan_forward(plan, network, x)
        results = z
        if classes:
            results = plan.buffer("classes", 1, dtype=np.int64)[:, 0]
            plan.call(batches.likeliest, z, out=results)
        return Translator(plan, NativeTarget(), network.dtype), x, results


class Chunk:
    """Operations that read their rows from one array and write the results to another, chunk by
    chunk.
    """

    def __init__(self, lane: Lane, rows: int, classes: bool, dtype: np.dtype) -> None:
        to, x, results = lane.plan(rows, classes)
        operations = reading(to, x, dtype, lane.flag)
        to.emit("store", nbytes=results.nbytes, x=results, touches=to.rows_divided(results))
        self.kept = schedule([*operations, to.operations.pop()])
        assembled = assemble(self.kept, lane.network.dtype)
        self.ops, self.count = assembled.ops, assembled.number
        self.words = np.frombuffer(self.ops, np.int64)  # faster to write to than ctypes' fields
        ((_, source),) = assembled.gathers
        self.x, self.rows = (word("gather", source, field) for field in ("x", "stride"))
        last = self.count - 1
        self.out, self.out_bytes = (word("store", last, field) for field in ("out", "stride"))
        library = load()
        assert library is not None
        self._call, alone = library.mlpx_forward, forward([self], [], chunks=1)
        alone.count -= 1  # all but the store: the caller copies the results
        self._alone, self._results = ctypes.byref(alone), results
        short = x.nbytes <= SHORT_BYTES and x.dtype == dtype
        self._copy: Array | None = x if short else None
        self._copy_at = address(x)

    def run(self, x: Array) -> Array:
        """The results for one chunk, x, computed on this thread."""
        if self._copy is None:
            self.words[self.x] = address(x)
        else:  # a copy takes less time than asking NumPy for the address
            np.copyto(self._copy, x)
            self.words[self.x] = self._copy_at
        self._call(self._alone, None)
        return self._results.copy()

    def point(self, x: int, out: int, *, rows: int, out_bytes: int) -> None:
        """Have them read chunks of `rows` rows from address x on, and write chunks of `out_bytes`
        bytes from address `out` on.
        """
        self.words[self.x], self.words[self.rows] = x, rows
        self.words[self.out], self.words[self.out_bytes] = out, out_bytes


def reading(to: Translator, x: Array, dtype: np.dtype, flag: Array) -> list[Operation]:
    """A forward pass from x, whose rows are read where they are, in an array of `dtype`; the flag
    is set if one of their numbers is not finite in the network's dtype.
    """
    operations = to.translate()
    to.operations = []
    rows, columns = x.shape
    code = DTYPES[dtype.newbyteorder("=").name]
    sizes = {"columns": columns, "dtype": code, "stride": 0, "swapped": not dtype.isnative}
    touches = to.rows_divided(x, writes=True)
    to.emit("gather", rows=rows, **sizes, x=None, indices=None, out=x, touches=touches)
    gather = to.operations.pop()
    fused = fuse([gather, *operations])
    gathers = fused[0] is gather
    if dtype.kind == "f" and fused[0].name == "layer":  # it looks at its sums instead
        fused[0] = fused[0].replaced(flag=flag)
    elif dtype.kind == "f":
        to.emit(
            "out_of_range",
            rows=rows,
            columns=columns,
            gathered=not gathers,
            limit=float(np.finfo(to.dtype).max),
            x=x if gathers else next(op["x"] for op in fused if op.name in FORWARD),
            flag=flag,
            touches=to.rows_divided(x),
        )
        fused.insert(int(gathers), to.operations.pop())
    return fused


def word(name: str, i: int, field: str) -> int:
    """Where a field of the i-th operation is, in words of 8 bytes from the first operation."""
    kind, at = FIELDS[name].places[field]
    array: Any = (Op.n, Op.c, Op.p)[kind]
    return (i * ctypes.sizeof(Op) + int(array.offset)) // 8 + int(at)


def forward(whole: Sequence[Chunk], rest: Sequence[Chunk], *, chunks: int) -> Forward:
    """A forward pass of `chunks` chunks, on as many threads as `whole` has entries."""
    run = Forward(chunks=chunks, threads=len(whole), count=whole[0].count)
    run.whole = pointers(whole)
    if rest:
        run.rest, run.rest_count = pointers(rest), rest[0].count
    return run


def pointers(chunks: Sequence[Chunk]) -> Any:
    """The addresses of the chunks' operations, as the library takes them."""
    starts = [ctypes.addressof(chunk.ops) for chunk in chunks]
    return (ctypes.c_void_p * len(starts))(*starts)
