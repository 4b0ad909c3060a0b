"""What is asked of every reader of files, whatever the bytes; for the tests and the fuzzer alike.

Either it loads, and the object can be used, or it raises our own error that names the file; soon,
and without allocating more than a stated multiple of the file.
"""

from __future__ import annotations

import time
import tracemalloc
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mlpx.errors import CheckpointError, DataError, MlpxError

ALLOWANCE_BYTES = 1 << 20
"""What a reader may allocate whatever the size of the file: buffers, and a small model."""
LONGEST_TEXT = 2000
SECONDS = 1.0


@dataclass(frozen=True)
class Envelope:
    """A way in which mutated bytes become a file: as they are, or where a check of the container
    would otherwise keep them from being looked at.
    """

    seal: Callable[[bytes], bytes]
    seeds: tuple[bytes, ...]
    is_json: bool = False


@dataclass(frozen=True)
class Format:
    """A kind of file: how it is made and read, and what must then work."""

    name: str
    file: str
    make: Callable[[], list[Envelope]]
    read: Callable[[Path], Any]
    use: Callable[[Any], object]
    multiple: int
    """The bytes that may be allocated for each byte of the file."""
    refusals: tuple[type[MlpxError], ...] = (CheckpointError, DataError)
    place: Callable[[Path], None] = lambda folder: None
    """Puts into a folder what belongs beside the file."""
    room_bytes: int = 0
    """What is allocated besides, whatever the file is: the room to write another."""

    @cached_property
    def envelopes(self) -> list[Envelope]:
        return self.make()

    def inputs(self) -> list[bytes]:
        """The seeds as a fuzzer takes them: the number of the envelope, then the content."""
        return [bytes([i]) + seed for i, e in enumerate(self.envelopes) for seed in e.seeds]

    def file_of(self, data: bytes) -> bytes:
        """The file that a fuzzer's input stands for."""
        number = data[0] % len(self.envelopes) if data else 0
        return self.envelopes[number].seal(data[1:])


def prepare(format: Format, folder: Path) -> Path:
    """The path of the file to examine, in a folder where everything else is there and imported."""
    path = folder / format.file
    format.place(folder)
    for envelope in format.envelopes:
        path.write_bytes(envelope.seal(envelope.seeds[0]))
        format.use(format.read(path))
    return path


def examine(
    format: Format, content: bytes, path: Path, *, seconds: float = SECONDS, weigh: bool = True
) -> str:
    """Why the file of this content is refused, or "" if it loads and can be used.

    Raises AssertionError, or whatever else the reader lets through.
    """
    path.write_bytes(content)
    found, told, taken_s, peak_bytes = _read(format, path, weigh=weigh)
    assert taken_s < seconds, f"it took {taken_s:.2f} s"
    bound_bytes = ALLOWANCE_BYTES + format.room_bytes + format.multiple * len(content)
    if peak_bytes > bound_bytes:  # Python's table of names may just have doubled
        _, _, _, peak_bytes = _read(format, path, weigh=True)
    assert peak_bytes <= bound_bytes, f"{peak_bytes:,} bytes for a file of {len(content):,}"
    if told:
        assert path.name in told, told
        assert len(told) <= LONGEST_TEXT, f"{len(told):,} characters"
        assert told.isprintable(), ascii(told)
        return told
    with warnings.catch_warnings(), np.errstate(all="ignore"), suppress(MlpxError):
        warnings.simplefilter("ignore")
        format.use(found)
    return ""


def _read(format: Format, path: Path, *, weigh: bool) -> tuple[Any, str, float, int]:
    """The object, the text of the refusal, the processor time and the peak of memory."""
    found, told, peak_bytes = None, "", 0
    if weigh:
        tracemalloc.start()
    start_s = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = format.read(path)
    except format.refusals as error:
        told = str(error)
    taken_s = time.process_time() - start_s
    if weigh:
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return found, told, taken_s, peak_bytes
