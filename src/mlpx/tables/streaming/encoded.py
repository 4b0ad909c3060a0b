"""The rows of a stream as a network takes them: decoded and encoded while it trains on others."""

from __future__ import annotations

import hashlib
import json
import os
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np

from mlpx.errors import InputError
from mlpx.network.network import Network
from mlpx.program.data import TrainingData, check_data
from mlpx.tables.encoder import Encoder
from mlpx.tables.streaming.cache import Cache, Rows
from mlpx.tables.streaming.memory import Costs, fitting, give_back
from mlpx.tables.streaming.stream import ParquetStream, Part
from mlpx.tables.target import Target
from mlpx.training.fingerprint import Fingerprint
from mlpx.training.windows import Turns, Window, Windowed


class EncodedStream(Turns):
    """The rows of a stream as numbers, with their targets; `fit` takes it as x.

    memory_bytes: what buffers and decoding may take; None leaves the stream's buffers and lanes as
    they are. The order of the rows depends on it. cache: a folder on a disk with room for all rows
    as numbers, where they are kept until `fit` ends, in a file without a name: from the second
    epoch on they are read from there.
    """

    def __init__(
        self,
        stream: ParquetStream,
        encoder: Encoder,
        target: Target,
        *,
        memory_bytes: int | None = None,
        cache: str | os.PathLike[str] | None = None,
    ) -> None:
        if stream.world > 1:
            raise InputError(
                f"the stream is the share of rank {stream.rank} of {stream.world}; one process "
                "trains on all rows: give the stream itself"
            )
        self.encoder, self.target = encoder, target
        self.memory_bytes, self.cache = memory_bytes, cache
        self.stream = stream.select([*encoder.feature_names, target.name]).pack()

    def __len__(self) -> int:
        return len(self.stream)

    def encoded(self, table: Any, model: Network) -> Rows:
        """The rows of a table as the model takes them."""
        y = self.target.encode(table[self.target.name])
        x = self.encoder.encode(table)
        return Rows(x, check_data(model, x, y, finite=False)[1])

    def opened(self, model: Network, batch_size: int) -> tuple[Window, Ahead]:
        last = max(1, len(self.target.classes)) - 1
        y = np.array([last if self.target.task == "classification" else 0.0])
        width, backend = self.encoder.width, model.backend
        one = Rows(*check_data(model, np.zeros((1, width), np.float32), y)[:2])
        cut = fitting(self.stream, Costs.of(self.stream, one), batch_size, self.memory_bytes, model)
        give_back()
        room = cut.buffer_rows
        x, y = (backend.zeros((room, *each.shape[1:]), each.dtype) for each in one)
        window = Window(x, y, None, Source(self, cut, model))
        cache = None
        if self.cache is not None:
            cache = Cache(self.cache, sorted(cut.shares), one, most=cut.block)
        return window, Ahead(self, cut, model, window, batch_size=batch_size, cache=cache)


class Source:
    """What a window shows: all rows of a stream that was cut to fit."""

    def __init__(self, rows: EncodedStream, cut: ParquetStream, model: Network) -> None:
        self.rows, self.cut, self.model = rows, cut, model

    def __len__(self) -> int:
        return len(self.cut)

    def part(self, rows: np.ndarray) -> TrainingData:
        """The rows of these numbers among those of the files, on the device."""
        found, backend = self.rows.encoded(self.cut.take(rows), self.model), self.model.backend
        return TrainingData(backend.asarray(found.x), backend.asarray(found.y), None)

    def fingerprint(self) -> Fingerprint:
        """What a checkpoint recognises the rows and their order by."""
        identity, rows = self.cut.identity(), self.rows
        made = {"encoder": rows.encoder.config(), "target": rows.target.config()}
        buffers = [identity.pop("buffer_rows"), identity.pop("lanes")]
        n, width = identity.pop("rows"), rows.encoder.width
        return {
            "x": [[n, width], "float32", hashed({**identity, **made})],
            "buffers": [buffers, "int64", ""],
        }


def hashed(values: Any) -> str:
    """A hash of plain values."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


class Ahead(Windowed):
    """Fills the window with a turn's rows, which were made in a thread of its own meanwhile."""

    def __init__(
        self, rows: EncodedStream, cut: ParquetStream, model: Network, window: Window, *,
        batch_size: int, cache: Cache | None,
    ) -> None:  # fmt: skip
        super().__init__(model, window, batch_size=batch_size)
        self.rows, self.cut, self.cache = rows, cut, cache
        self._epoch = 0
        self._made = Rows(*(np.empty(array.shape, array.dtype) for array in (window.x, window.y)))
        """The rows of the next turn."""
        self._pool: ThreadPoolExecutor | None = None
        self._job: Future[None] | None = None
        self._job_of: tuple[int, int] | None = None
        """Of which epoch and turn rows are being made."""
        self._parts: Iterator[Part] | None = None
        self._next: tuple[int, int] | None = None
        """The epoch and turn that `_parts` goes on with."""
        self._stopped = threading.Event()
        self._full = ""
        """Why no more rows are kept in the cache."""
        self._told = False

    def order(self, epoch: int, position: int) -> np.ndarray:
        self._epoch, self._shown = epoch, -1
        return self.places()

    def rows_at(self, order: np.ndarray, places: slice) -> np.ndarray:
        assert self.room is not None
        turn = places.start // self.room
        first = turn * self.room
        return self.cut.numbers_of(self._epoch, turn)[places.start - first : places.stop - first]

    def show(self, turn: int) -> None:
        assert self.window is not None
        self._begin(self._epoch, turn)
        assert self._job is not None
        self._job.result()
        if self._full and self.cache is not None and not self._told:
            self._told = True
            warnings.warn(
                f"no more rows are kept in cache = {str(self.rows.cache)!r}: {self._full}; the "
                "others are decoded in every epoch",
                UserWarning,
                stacklevel=10,
            )
        count, upload = self.cut.sizes[turn], self.model.backend.upload
        upload(self._made.x[:count], out=self.window.x[:count])
        upload(self._made.y[:count], out=self.window.y[:count])
        self._job_of = None
        last = turn + 1 == len(self.cut.sizes)
        self._begin(*((self._epoch + 1, 0) if last else (self._epoch, turn + 1)))

    def _begin(self, epoch: int, turn: int) -> None:
        """Have the rows of a turn made, unless they are already."""
        if self._job_of == (epoch, turn):
            return
        self._drop()
        if self._pool is None:
            self._pool = ThreadPoolExecutor(1, thread_name_prefix="mlpx-rows")
        self._job_of = epoch, turn
        self._job = self._pool.submit(self._make, epoch, turn)

    def _drop(self) -> None:
        """Stop making rows, if some are being made."""
        if self._job is not None:
            self._stopped.set()
            self._job.exception()
            self._stopped.clear()
        self._job = self._job_of = None

    def _make(self, epoch: int, turn: int) -> None:
        """Bring the rows of a turn into `_made`, each to its place in the permutation."""
        if self._parts is None or self._next != (epoch, turn):
            known = set() if self.cache is None else self.cache.complete
            self._parts = self.cut.parts(epoch, turn, known=known)
        self._next = None
        count = self.cut.sizes[turn]
        places = np.empty(count, np.int64)
        places[self.cut.permutation(epoch, turn)] = np.arange(count)
        for part in self._parts:
            found = self._found(part)
            at = places[part.place : part.place + len(found.x)]
            self._made.x[at], self._made.y[at] = found
            if self._stopped.is_set():
                return
            if part.place + len(at) == count:
                break
        self._next = epoch, turn + 1

    def _found(self, part: Part) -> Rows:
        """The rows of a part as numbers, from the cache if they are there."""
        if part.rows is None:
            assert self.cache is not None
            return self.cache.read(part.span)
        found = self._encoded(part)
        if self.cache is not None and not self._full:
            try:
                self.cache.write(part.span, found)
            except OSError as error:
                self._full = str(error)
        return found

    def _encoded(self, part: Part) -> Rows:
        try:
            return self.rows.encoded(part.rows, self.model)
        except InputError as error:
            first = self.cut.files.says(int(self.cut.numbers(part.span)[0]))
            raise InputError(f"{error}; counted from {first} on") from error

    def close(self) -> None:
        self._drop()
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None
        self._parts = None
        if self.cache is not None:
            self.cache.close()
            self.cache = None
