"""Prediction by the native library, in chunks of rows that are small enough to stay in the cache.

Every thread carries chunks through the whole network, on memory of its own, so threads never wait
for each other. Of few rows, threads divide the columns of large products instead. The memory and
the operations are kept from call to call.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mlpx.backend.cpu import usable_cores
from mlpx.engines.lowering import Operation, Translator, address
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.lowering.translator import DTYPES
from mlpx.engines.native.assembly import NativeTarget, assemble
from mlpx.engines.native.barriers import schedule
from mlpx.engines.native.fusing import LEAST_ROWS, LEAST_WEIGHTS, fuse, split_columns
from mlpx.engines.native.library import MOST_THREADS, Forward, Op, load, pool, require_memory
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
"""The number of multiplications from which on a prediction is worth dividing among threads,"""
WORK_FOR_SLEEPERS = 5e6
"""and from which on it is worth waking them for, which takes ten microseconds."""


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
        sizes = [p.parameter.size for p in network.layout.places.values()]
        self.size, self.largest = sum(sizes), max(sizes, default=0)
        self._teams = [Team(network, self.rows)]
        self._teams[0].lanes[0].chunk(1, network.dtype, classes=False)  # raises now if it ever does

    def run(self, x: np.ndarray, *, classes: bool, rows: int) -> tuple[Array, bool]:
        """The outputs (n, d_out), or classes (n,), of x (n, d_in), and whether all of x is finite.

        At most `rows` rows are copied at a time.
        """
        if not (x.flags.c_contiguous and x.flags.aligned):
            return self._by_part(x, classes, rows)
        try:
            team = self._teams.pop()
        except IndexError:  # all are in use by other threads
            team = Team(self.network, self.rows)
        try:
            call = len(x), x.dtype, classes, rows
            if call != team.call:
                team.call, team.predict = call, self._way(team, *call)
            return team.predict(x), team.finite()
        finally:
            self._teams.append(team)

    def _way(
        self, team: Team, n: int, dtype: np.dtype, classes: bool, rows: int
    ) -> Callable[[Array], Array]:
        """What gives the results for n rows."""
        work, size = n * self.size, min(self.rows, rows)
        alone = work <= WORK_FOR_THREADS or (n == 1 and self.largest < LEAST_WEIGHTS)
        threads = 1 if alone else min(usable_cores(), MOST_THREADS)
        if n <= size and (threads == 1 or n < LEAST_ROWS * threads):
            chunk = team.lanes[0].chunk(n, dtype, classes=classes, threads=threads)
            if chunk.threads == threads or n == 1:
                return chunk.run
        rounds = -(-n // (threads * size))
        size = -(-n // (threads * rounds))  # so that all threads have equally many rows
        threads = min(threads, -(-n // size))
        while len(team.lanes) < threads:
            team.lanes.append(Lane(self.network, self.rows))
        brief = work <= WORK_FOR_SLEEPERS
        return Chunks(team.lanes[:threads], n, size, dtype, classes=classes, brief=brief).run

    def _by_part(self, x: np.ndarray, classes: bool, rows: int) -> tuple[Array, bool]:
        pieces = [
            self.run(
                np.require(x[i : i + rows], requirements=["C", "A"]), classes=classes, rows=rows
            )
            for i in range(0, len(x), rows)
        ]
        return np.concatenate([part for part, _ in pieces]), all(fine for _, fine in pieces)


class Team:
    """A lane for each of the threads that work on a call, and how the last call was done."""

    def __init__(self, network: Network, rows: int) -> None:
        self.lanes = [Lane(network, rows)]
        self.call: tuple[int, np.dtype, bool, int] | None = None
        self.predict: Callable[[Array], Array]

    def finite(self) -> bool:
        """Whether no number since the last call was infinite, NaN or too large for the model's
        dtype.
        """
        fine = True
        for lane in self.lanes:
            if lane.flag[0]:
                lane.flag[0], fine = 0, False
        return fine


class Chunks:
    """n rows in chunks of `size`, divided among as many threads as there are lanes.

    brief: threads that sleep are not waited for. It is the lanes' only one: they have one array to
    read and one to write to.
    """

    def __init__(
        self, lanes: list[Lane], n: int, size: int, dtype: np.dtype, *, classes: bool, brief: bool
    ) -> None:
        whole = [lane.chunk(size, dtype, classes=classes) for lane in lanes]
        rest = [lane.chunk(n % size, dtype, classes=classes) for lane in lanes if n % size]
        self.chunks, self.threads = [*whole, *rest], len(lanes)
        for chunk in self.chunks:
            chunk.rows_apart(size)
        network, library = lanes[0].network, load()
        assert library is not None
        self.shape = (n,) if classes else (n, network.d_out)
        self.dtype = np.dtype(np.int64) if classes else network.dtype
        run = forward(whole, rest, chunks=-(-n // size))
        run.brief = brief
        self._call, self._run = library.mlpx_forward, ctypes.byref(run)

    def run(self, x: Array) -> Array:
        """The results for x."""
        out = np.empty(self.shape, self.dtype)
        source, to = address(x), address(out)
        for chunk in self.chunks:
            chunk.point(source, to)
        with pool(self.threads) as workers:
            require_memory(self._call(self._run, workers))
        return out


class Lane:
    """One thread's memory, and the operations on it for chunks of up to `rows` rows."""

    def __init__(self, network: Network, rows: int) -> None:
        self.network = network
        self.buffers = Buffers(network.backend, rows, network.dtype)
        self.flag = np.zeros(1, np.int64)
        self._chunks: dict[tuple[int, bool, np.dtype, int], Chunk] = {}

    def chunk(self, rows: int, dtype: np.dtype, *, classes: bool, threads: int = 1) -> Chunk:
        """The operations on `rows` rows of an array of `dtype`, wherever it is, that so many
        threads may divide.
        """
        key = (rows, classes, dtype, threads)
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

    threads: how many divide the columns of their large products; 1 where there are none.
    """

    def __init__(self, lane: Lane, rows: int, classes: bool, dtype: np.dtype, threads: int) -> None:
        to, x, results = lane.plan(rows, classes)
        operations = reading(to, x, dtype, lane.flag)
        to.emit("store", nbytes=results.nbytes, x=results, touches=to.rows_divided(results))
        divided = split_columns(operations, threads=threads)
        self.threads = threads if any(op not in operations for op in divided) else 1
        self.kept = schedule([*divided, to.operations.pop()])
        assembled = assemble(self.kept, lane.network.dtype)
        self.ops, self.count = assembled.ops, assembled.number
        self.ops[0].wait = False  # nothing came before
        self.words = np.frombuffer(self.ops, np.int64)  # faster to write to than ctypes' fields
        ((_, source),) = assembled.gathers
        self.x, self.stride = (word("gather", source, field) for field in ("x", "stride"))
        last = self.count - 1
        self.out, self.out_bytes = (word("store", last, field) for field in ("out", "stride"))
        library = load()
        assert library is not None
        alone = forward([self], [], chunks=1)
        alone.threads, alone.divided, alone.brief = self.threads, True, True
        alone.count -= 1  # all but the store: the caller copies the results
        self._call, self._alone, self._results = library.mlpx_forward, ctypes.byref(alone), results
        short = x.nbytes <= SHORT_BYTES and x.dtype == dtype
        self._copy: Array | None = x if short else None
        self._copy_at = address(x)

    def run(self, x: Array) -> Array:
        """The results for one chunk, x."""
        if self._copy is None:
            self.words[self.x] = address(x)
        else:  # a copy takes less time than asking NumPy for the address
            np.copyto(self._copy, x)
            self.words[self.x] = self._copy_at
        if self.threads == 1:
            require_memory(self._call(self._alone, None))
        else:
            with pool(self.threads) as workers:
                require_memory(self._call(self._alone, workers))
        return self._results.copy()

    def rows_apart(self, rows: int) -> None:
        """Have them take `rows` rows for each chunk before theirs."""
        self.words[self.stride] = rows
        self.words[self.out_bytes] = rows * self._results.strides[0]

    def point(self, x: int, out: int) -> None:
        """Have them read from address x on, and write to address `out` on."""
        self.words[self.x], self.words[self.out] = x, out


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
