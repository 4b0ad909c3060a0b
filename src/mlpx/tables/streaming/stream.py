"""`ParquetStream`: the rows of Parquet files in random order, a buffer of them at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set
from contextlib import ExitStack
from copy import copy
from typing import Any, NamedTuple, Self

import numpy as np
import pyarrow as pa

from mlpx.errors import InputError, InputTypeError
from mlpx.random import check_seed
from mlpx.records import is_whole, require_count
from mlpx.tables.streaming import order
from mlpx.tables.streaming.files import ParquetFiles
from mlpx.tables.streaming.lane import Lane
from mlpx.tables.streaming.left_out import LeftOut
from mlpx.tables.streaming.order import Span

BUFFER_ROWS = 1 << 17
LANES = 8
BLOCK_ROWS = 1 << 14
"""At most so many rows are taken from a lane in a turn."""


class Part(NamedTuple):
    """Some rows of an epoch, in the order in which they were read."""

    buffer: int
    """The number of the buffer that they belong to."""
    place: int
    """How many rows of the buffer were read before."""
    span: Span
    """Which they are, among the rows of their row group that are not left out."""
    rows: Any
    """The rows themselves, a pyarrow.Table; None for those that are known."""


class ParquetStream:
    """The rows of one or many Parquet files, or of a folder of them, in an order that depends on
    `seed` and the epoch alone.

    Row groups come in random order; `lanes` of them are open at a time, and at most 16,384 rows are
    taken from each in turn, until a buffer has `buffer_rows`, which are then permuted. So a row can
    be mixed with those of its buffer: for files in which like rows lie together, small row groups,
    many lanes and large buffers mix better.

    Iterating gives the buffers of the present epoch as `pyarrow.Table`, from the present position
    on, all of `buffer_rows` rows but for the last; after that the next epoch begins. `len` is the
    number of rows of an epoch. Only footers are read before the first row is asked for.

    Raises InputError, InputTypeError for bad arguments; DataNotFoundError, DataFormatError for
    files that are not there, are no Parquet, have other columns than the first, or no rows;
    DataError while rows are read, if a file has changed since.
    """

    def __init__(
        self,
        paths: Any,
        *,
        columns: Iterable[str] | None = None,
        seed: int | None = 0,
        buffer_rows: int = BUFFER_ROWS,
        lanes: int = LANES,
    ) -> None:
        if isinstance(columns, str):
            raise InputTypeError(f"columns = {columns!r} is a text; wanted a list of names")
        self.seed = check_seed(seed)
        self.files = ParquetFiles(paths, columns=columns)
        self.rank, self.world = 0, 1
        self.epoch = self.position = 0
        """The epoch that is given at present, and how many of its rows were given."""
        self.left_out = LeftOut(self.files.rows)
        self._set_sizes(buffer_rows, lanes)
        self._share()

    def _set_sizes(self, buffer_rows: int, lanes: int) -> None:
        require_count("buffer_rows", buffer_rows, least=2)
        require_count("lanes", lanes)
        self.buffer_rows, self.lanes = int(buffer_rows), int(lanes)
        self.block = block_of(self.buffer_rows, self.lanes)

    def _share(self) -> None:
        """Find which rows are this rank's, and how many each buffer has."""
        counts = [self._count(group) for group in range(len(self.files.groups))]
        total = sum(counts)
        if total < self.world:
            raise InputError(f"{total} rows cannot be shared among world = {self.world}")
        self.shares = order.shares(counts, seed=self.seed, rank=self.rank, world=self.world)
        """Which rows of which row groups are this rank's."""
        self._stops = {part.group: part.stop for part in self.shares}
        self._rows = sum(part.stop - part.start for part in self.shares)
        self.sizes = order.sizes(self._rows, self.buffer_rows, total=total, world=self.world)
        """How many rows each buffer of an epoch has."""

    def _count(self, group: int) -> int:
        kept = self._kept(group)
        return self.files.groups[group].rows if kept is None else int(kept.sum())

    def _kept(self, group: int) -> np.ndarray | None:
        """Which rows of a row group are not left out; None for all of them."""
        found = self.files.groups[group]
        return self.left_out.kept(found.first, found.rows)

    # How it is cut.

    def cut(self, *, buffer_rows: int | None = None, lanes: int | None = None) -> Self:
        """The same rows with other buffers or lanes, at the beginning of epoch 0."""
        made = self._anew()
        made._set_sizes(buffer_rows or self.buffer_rows, lanes or self.lanes)
        made._share()
        return made

    def select(self, columns: Iterable[str]) -> Self:
        """The same rows with only some of the columns, at the beginning of epoch 0."""
        made = self._anew()
        made.files = self.files.select(columns)
        return made

    def pack(self) -> Self:
        """The same rows with texts as dictionaries, at the beginning of epoch 0."""
        made = self._anew()
        made.files = self.files.pack()
        return made

    def shard(self, rank: int, world: int) -> Self:
        """The share of process `rank` among `world`, each of which calls this alike.

        Every row is in exactly one share, and their numbers of rows differ by one at most; a share
        consists of row groups of its own, but for its first and its last, which it may share. All
        have the same number of buffers: where that lacks a row, the last but one has one less.
        """
        require_count("world", world)
        require_count("rank", rank, least=0)
        if rank >= world:
            raise InputError(f"rank = {rank} of world = {world}; it must be below")
        if self.world > 1:
            raise InputError(f"this is already the share of rank {self.rank} of {self.world}")
        made = self._anew()
        made.rank, made.world = int(rank), int(world)
        made._share()
        return made

    def without(self, rows: Any) -> Self:
        """The stream without the rows of these numbers; row 0 is the first of the first file."""
        made = self._anew()
        made.left_out = self.left_out.and_also(rows)
        made._share()
        return made

    def _anew(self) -> Self:
        made = copy(self)
        made.epoch = made.position = 0
        return made

    # What it says of itself.

    def __len__(self) -> int:
        return self._rows

    @property
    def schema(self) -> Any:
        """The columns, as a pyarrow.Schema."""
        return self.files.schema

    def identity(self) -> dict[str, Any]:
        """What the order of the rows depends on besides the epoch; plain values."""
        return {
            "files": self.files.identity(), "rows": self._rows, "left_out": self.left_out.count,
            "seed": self.seed, "buffer_rows": self.buffer_rows, "lanes": self.lanes,
            "rank": self.rank, "world": self.world,
        }  # fmt: skip

    # Where it is.

    def set_epoch(self, epoch: int) -> None:
        """Go to the beginning of an epoch."""
        require_count("epoch", epoch, least=0)
        self.epoch, self.position = int(epoch), 0

    def state_dict(self) -> dict[str, Any]:
        """Where the stream is, as plain values: the rows that iterating gave count as used."""
        return {"epoch": self.epoch, "position": self.position, **self.identity()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to where `state_dict` was called; the next buffer is what is left of that one.

        Raises InputError if that was another stream, naming what differs.
        """
        if not isinstance(state, Mapping):
            raise InputTypeError(f"state is a {type(state).__name__}; wanted what state_dict gave")
        told = [
            "the files differ" if name == "files" else f"{name} is {ours}, it was {state.get(name)}"
            for name, ours in self.identity().items()
            if state.get(name) != ours
        ]
        if told:
            raise InputError(f"state is of another stream: {'; '.join(told)}")
        for name, stop in (("epoch", 1 << 64), ("position", len(self))):
            given = state.get(name)
            if not (is_whole(given) and 0 <= int(given or 0) < stop):
                raise InputError(f"state has {name} {given!r} of a stream of {len(self):,} rows")
        self.epoch, self.position = int(state["epoch"]), int(state["position"])

    # The rows.

    def __iter__(self) -> Iterator[Any]:
        first, done = self.buffer_at(self.position)
        epoch, tables = self.epoch, list[Any]()
        for part in self.parts(epoch, first):
            tables.append(part.rows)
            count = self.sizes[part.buffer]
            if part.place + len(part.rows) < count:
                continue
            table = joined(tables).take(pa.array(self.permutation(epoch, part.buffer)[done:]))
            self.position += len(table)
            if part.buffer == len(self.sizes) - 1:
                self.set_epoch(epoch + 1)
            yield table
            tables, done = [], 0

    def buffer_at(self, position: int) -> tuple[int, int]:
        """In which buffer the row at a position of an epoch is, and at which place there."""
        stops = np.cumsum(self.sizes)
        buffer = int(np.searchsorted(stops, position, side="right"))
        return buffer, position - int(stops[buffer]) + self.sizes[buffer]

    def permutation(self, epoch: int, buffer: int) -> np.ndarray:
        """Which of a buffer's rows, as they were read, each of its places has."""
        return order.within(self.sizes[buffer], seed=self.seed, epoch=epoch, buffer=buffer)

    def parts(self, epoch: int, first: int = 0, *, known: Set[int] = frozenset()) -> Iterator[Part]:
        """The rows of an epoch from a buffer on, in the order in which they are read.

        known: row groups that are not read; more may be added to it after their last rows.
        """
        with ExitStack() as ends:
            lanes = dict[int, Lane]()
            for buffer, spans in self._buffers(epoch):
                place = 0
                for span in spans if buffer >= first else ():
                    if span.group not in lanes and span.group not in known:
                        lanes[span.group] = self._lane(span, block=self.block)
                        ends.callback(lanes[span.group].close)
                    yield Part(buffer, place, span, self._read(span, lanes))
                    place += span.stop - span.start

    def _read(self, span: Span, lanes: dict[int, Lane]) -> Any:
        """The rows of a span, unless its row group is not open; which is closed after the last."""
        if span.group not in lanes:
            return None
        table = self._table(lanes[span.group].read(span.stop - span.start))
        if span.stop == self._stops[span.group]:
            lanes.pop(span.group).finish()
        return table

    def _buffers(self, epoch: int) -> Iterator[tuple[int, list[Span]]]:
        read = order.spans(
            self.shares, seed=self.seed, epoch=epoch, lanes=self.lanes, block=self.block
        )
        return enumerate(order.filled(read, self.sizes))

    def _lane(self, span: Span, *, block: int) -> Lane:
        group = self.files.groups[span.group]
        return Lane(self.files, group, block=block, kept=self._kept(span.group), skip=span.start)

    def _table(self, batches: list[Any]) -> Any:
        return pa.Table.from_batches([batch for batch in batches if len(batch)], self.schema)

    def numbers(self, span: Span) -> np.ndarray:
        """The numbers of rows among those of the files, of which row 0 is the first."""
        first, kept = self.files.groups[span.group].first, self._kept(span.group)
        if kept is None:
            return np.arange(first + span.start, first + span.stop)
        return first + np.flatnonzero(kept)[span.start : span.stop]

    def numbers_of(self, epoch: int, buffer: int) -> np.ndarray:
        """The numbers of the rows of a buffer, in the order in which it has them."""
        spans = next(spans for number, spans in self._buffers(epoch) if number == buffer)
        read = np.concatenate([self.numbers(span) for span in spans])
        found: np.ndarray = read[self.permutation(epoch, buffer)]
        return found

    def in_order(self, *, most: int = BLOCK_ROWS) -> Iterator[tuple[np.ndarray, Any]]:
        """The rows in the order of the files, at most so many at a time, and their numbers."""
        for part in sorted(self.shares):
            lane = self._lane(part, block=most)
            for start in range(part.start, part.stop, most):
                span = Span(part.group, start, min(start + most, part.stop))
                yield self.numbers(span), self._table(lane.read(span.stop - span.start))
            lane.finish()

    def take(self, rows: np.ndarray) -> Any:
        """The rows of these numbers in their order, as a table; whole row groups are decoded."""
        found, wanted = list[Any](), np.unique(rows)
        for group in self.files.groups:
            inside = wanted[(wanted >= group.first) & (wanted < group.first + group.rows)]
            first = group.first
            for batch in self.files.read(group, rows=BLOCK_ROWS) if len(inside) else ():
                here = inside[(inside >= first) & (inside < first + len(batch))]
                found.append(self._table([batch]).take(pa.array(here - first)))
                first += len(batch)
        return joined(found).take(pa.array(np.searchsorted(wanted, rows)))


def block_of(buffer_rows: int, lanes: int) -> int:
    """How many rows are taken from a lane in a turn."""
    return min(BLOCK_ROWS, max(1, buffer_rows // lanes))


def joined(tables: list[Any]) -> Any:
    """One table of the rows of several."""
    return pa.concat_tables(tables).unify_dictionaries()
