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
from mlpx.engines.lowering.operations import access
from mlpx.engines.lowering.translator import DTYPES
from mlpx.engines.native.assembly import NativeTarget, assemble
from mlpx.engines.native.barriers import schedule
from mlpx.engines.native.library import Forward, Op, blas, load, pool
from mlpx.engines.threads import blas_threads
from mlpx.kernels import batches
from mlpx.network.network import Network
from mlpx.network.passes import plan_forward
from mlpx.plan.plan import Buffers, Plan
from mlpx.types import Array

CACHED_BYTES = 1 << 19
"""How many bytes of a chunk's activations are to stay in the cache of one core."""
MOST_ROWS = 1024
WORK_FOR_THREADS = 5e5
"""The number of multiplications from which on a prediction is worth waking threads for."""


class NativePredictor:
    """The forward pass of a network on the CPU; calls may come from several threads at a time.

    Raises UntranslatableError if the library has no operation for a part of it.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.copied_rows = self.rows = self._rows(sum(network.widths))
        """The most rows of a chunk: where x is copied into the cache first, and where it is not."""
        self.size = sum(p.parameter.size for p in network.layout.places.values())
        self.blas_threads = blas().threads
        """How many threads of its own the BLAS may use, which compete with those calling it."""
        self._lanes = [self._lane()]
        one = self._lanes[0].resident(1, classes=False)  # raises now if it ever does
        _, *operations = one.kept  # the first checks that x is finite
        if first_alone_reads(operations, one.x):
            self.rows = self._rows(sum(network.widths[1:]))
            self._lanes = [self._lane()]

    def _rows(self, width: int) -> int:
        """How many rows of `width` numbers are to stay in the cache."""
        network = self.network
        # The larger the weights, the more rows make it worth reading them all.
        room = max(CACHED_BYTES, network.flat.nbytes) // (network.dtype.itemsize * width)
        return int(max(1, min(MOST_ROWS, room)))

    def run(self, x: np.ndarray, *, classes: bool, rows: int) -> tuple[Array, bool]:
        """The outputs (n, d_out), or classes (n,), of x (n, d_in), and whether all of x is finite.

        At most `rows` rows are copied at a time.
        """
        n, threads = len(x), 1
        if n > 1 and n * self.size > WORK_FOR_THREADS:
            threads = usable_cores()
        size = min(self.rows if x.dtype == self.network.dtype else self.copied_rows, rows)
        if threads == 1 and n <= min(size, self.copied_rows):
            return self._at_once(x, classes)
        if not (x.flags.c_contiguous and x.flags.aligned):
            return self._by_part(x, classes, rows)
        rounds = -(-n // (threads * size))
        size = -(-n // (threads * rounds))  # so that all threads have equally many rows
        return self._chunked(x, classes, size, min(threads, -(-n // size)))

    def _at_once(self, x: np.ndarray, classes: bool) -> tuple[Array, bool]:
        """Predict for a single chunk, on this thread."""
        lane = self._take()
        try:
            chunk = lane.resident(len(x), classes=classes)
            if x.dtype == chunk.x.dtype:
                np.copyto(chunk.x, x)
            else:
                with np.errstate(over="ignore"):  # `finite` reports it
                    np.copyto(chunk.x, x, casting="unsafe")
            if len(x) == 1:  # a single row calls no BLAS
                chunk.run()
            else:
                with blas_threads(self.blas_threads):
                    chunk.run()
            return chunk.results.copy(), lane.finite()
        finally:
            self._lanes.append(lane)

    def _by_part(self, x: np.ndarray, classes: bool, rows: int) -> tuple[Array, bool]:
        pieces = [
            self.run(
                np.require(x[i : i + rows], requirements=["C", "A"]), classes=classes, rows=rows
            )
            for i in range(0, len(x), rows)
        ]
        return np.concatenate([part for part, _ in pieces]), all(fine for _, fine in pieces)

    def _chunked(self, x: np.ndarray, classes: bool, size: int, threads: int) -> tuple[Array, bool]:
        network, n, rest, library = self.network, len(x), len(x) % size, load()
        assert library is not None
        out = np.empty(n, np.int64) if classes else np.empty((n, network.d_out), network.dtype)
        lanes = [self._take() for _ in range(threads)]
        try:
            whole = [lane.streaming(size, x.dtype, classes=classes) for lane in lanes]
            last = [lane.streaming(rest, x.dtype, classes=classes) for lane in lanes if rest]
            source, to = address(x), address(out)
            out_bytes = size * out.strides[0]
            for chunk in (*whole, *last):
                chunk.point(source, to, rows=size, out_bytes=out_bytes)
            run = forward(whole, last, chunks=-(-n // size))
            with blas_threads(self.blas_threads), pool(threads) as workers:
                library.mlpx_forward(run, workers)
            fine = [lane.finite() for lane in lanes]
            return out, all(fine)
        finally:
            self._lanes += lanes

    def _take(self) -> Lane:
        try:
            return self._lanes.pop()
        except IndexError:  # all are in use by other threads
            return self._lane()

    def _lane(self) -> Lane:
        return Lane(self.network, self.rows, copied_rows=self.copied_rows)


class Lane:
    """One thread's memory, and the operations on it for chunks of up to `rows` rows; chunks of more
    than `copied_rows` are read where they are.
    """

    def __init__(self, network: Network, rows: int, *, copied_rows: int) -> None:
        self.network = network
        self.buffers = Buffers(network.backend, rows, network.dtype)
        self.copies = Buffers(network.backend, copied_rows, network.dtype)
        self.flag = np.zeros(1, np.int64)
        self._resident: dict[tuple[int, bool], Resident] = {}
        self._streaming: dict[tuple[int, bool, str], Streaming] = {}

    def finite(self) -> bool:
        """Whether no number since the last call was infinite, NaN or too large for the model's
        dtype.
        """
        if self.flag[0]:
            self.flag[0] = 0
            return False
        return True

    def resident(self, rows: int, *, classes: bool) -> Resident:
        """The operations on `rows` rows that the caller copies into the lane's own memory."""
        key = (rows, classes)
        return self._resident.get(key) or self._resident.setdefault(key, Resident(self, *key))

    def streaming(self, rows: int, dtype: np.dtype, *, classes: bool) -> Streaming:
        """The operations on `rows` rows of an array of `dtype`, wherever it is."""
        key = (rows, classes, dtype.str)
        return self._streaming.get(key) or self._streaming.setdefault(key, Streaming(self, *key))

    def plan(self, rows: int, classes: bool) -> tuple[Translator, Array, Array]:
        """The translator of a forward pass, x and the results, all in the lane's memory."""
        network = self.network
        plan = Plan(self.buffers, rows, parameters=network.layout.views(network.flat))
        if rows <= self.copies.rows:
            x = self.copies.get("x", rows, network.d_in)
        else:  # it has the shape of rows that are read where they are
            x = np.broadcast_to(self.copies.vector("elsewhere", 1), (rows, network.d_in))
        z, _ = plan_forward(plan, network, x)
        results = z
        if classes:
            results = plan.buffer("classes", 1, dtype=np.int64)[:, 0]
            plan.call(batches.likeliest, z, out=results)
        return Translator(plan, NativeTarget(), network.dtype), x, results

    def check(self, to: Translator, x: Array, limit: float) -> None:
        """Append the check that all numbers of x are finite and within the limit."""
        touches = to.rows_divided(x)
        to.emit("out_of_range", elements=x.size, limit=limit, x=x, flag=self.flag, touches=touches)


class Resident:
    """Operations on rows in the lane's own memory, x, which leave their results in `results`."""

    def __init__(self, lane: Lane, rows: int, classes: bool) -> None:
        to, self.x, self.results = lane.plan(rows, classes)
        lane.check(to, self.x, float(np.finfo(lane.network.dtype).max))
        scheduled = schedule(to.translate())
        self.ops = assemble(scheduled, lane.network.dtype)
        self.kept = [operation for operation, _ in scheduled]
        library = load()
        assert library is not None
        self._call, self._run = library.mlpx_forward, forward([self], [], chunks=1)

    def run(self) -> None:
        """Run them once, on this thread."""
        self._call(self._run, None)


class Streaming:
    """Operations that read their rows from one array and write the results to another, chunk by
    chunk.
    """

    def __init__(self, lane: Lane, rows: int, classes: bool, dtype_name: str) -> None:
        (to, x, results), dtype = lane.plan(rows, classes), np.dtype(dtype_name)
        operations = to.translate()
        to.operations = []
        if dtype == lane.network.dtype and first_alone_reads(operations, x):
            first, *operations = operations
            there = first.turned_into("affine_from", x=None, stride=0, touches=first.touches)
            to.operations.append(there)
            # If a number of x is not finite, none of its row of the product is.
            lane.check(to, first["out"], float(np.finfo(dtype).max))
        else:
            columns, code = x.shape[1], DTYPES[dtype.newbyteorder("=").name]
            sizes = {"columns": columns, "dtype": code, "stride": 0, "swapped": not dtype.isnative}
            touches = to.rows_divided(x, writes=True)
            to.emit("gather", rows=rows, **sizes, x=None, indices=None, out=x, touches=touches)
            if dtype.kind == "f":
                lane.check(to, x, float(min(np.finfo(dtype).max, np.finfo(lane.network.dtype).max)))
        to.operations += operations
        to.emit("store", nbytes=results.nbytes, x=results, touches=to.rows_divided(results))
        scheduled = schedule(to.operations)
        self.ops = assemble(scheduled, lane.network.dtype)
        self.kept = [operation for operation, _ in scheduled]
        self.words = np.frombuffer(self.ops, np.int64)  # faster to write to than ctypes' fields
        self.x, self.rows = (word(self.kept, 0, field) for field in ("x", "stride"))
        last = len(self.kept) - 1
        self.out, self.out_bytes = (word(self.kept, last, field) for field in ("out", "stride"))

    def point(self, x: int, out: int, *, rows: int, out_bytes: int) -> None:
        """Have them read chunks of `rows` rows from address x on, and write chunks of `out_bytes`
        bytes from address `out` on.
        """
        self.words[self.x], self.words[self.rows] = x, rows
        self.words[self.out], self.words[self.out_bytes] = out, out_bytes


def word(operations: Sequence[Operation], i: int, field: str) -> int:
    """Where a field of the i-th operation is, in words of 8 bytes from the first operation."""
    kind, at = FIELDS[operations[i].name].places[field]
    array: Any = (Op.n, Op.c, Op.p)[kind]
    return (i * ctypes.sizeof(Op) + int(array.offset)) // 8 + int(at)


def first_alone_reads(operations: Sequence[Operation], x: Array) -> bool:
    """Whether the first operation maps x to fewer columns than it has, and no other touches x."""
    first, *rest = operations
    memory = access(x, writes=True)
    touched = any(a.overlaps(memory) for op in rest for a in op.touches)
    reads = first.name == "affine" and address(first["x"]) == address(x)
    return reads and first["outputs"] < first["inputs"] and not touched


def forward(
    whole: Sequence[Resident | Streaming], rest: Sequence[Streaming], *, chunks: int
) -> Forward:
    """A forward pass of `chunks` chunks, on as many threads as `whole` has entries."""
    run = Forward(chunks=chunks, threads=len(whole), count=len(whole[0].ops))
    run.whole = pointers(whole)
    if rest:
        run.rest, run.rest_count = pointers(rest), len(rest[0].ops)
    return run


def pointers(chunks: Sequence[Resident | Streaming]) -> Any:
    """The addresses of the chunks' operations, as the library takes them."""
    starts = [ctypes.addressof(chunk.ops) for chunk in chunks]
    return (ctypes.c_void_p * len(starts))(*starts)
