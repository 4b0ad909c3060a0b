"""Memory-mapped files, watched while they are read: one that shrinks raises an error.

Without this, the system ends a process that reads behind the end of such a file (SIGBUS). The
library puts zeros there and notes it; see mapped.c.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from ctypes import CDLL
from typing import Any, NamedTuple

import numpy as np

from mlpx.engines.native.library import load
from mlpx.errors import DataError


class Mapped(NamedTuple):
    """A mapped file under an array: its map, and its name if it is known."""

    content: mmap.mmap
    name: str


class Watch:
    """Files that are being watched."""

    def __init__(self, numbers: dict[int, Mapped]) -> None:
        self._numbers = numbers

    def check(self) -> None:
        """Raise DataError if a read came behind the end of a file."""
        library = load()
        for number, mapped in self._numbers.items():
            if library is not None and library.mlpx_shrunk(number):
                raise DataError(
                    f"{mapped.name} shrank from {len(mapped.content):,} to "
                    f"{mapped.content.size():,} bytes while it was read, and zeros were read in "
                    "its place: what was computed from them is wrong, a model that was being "
                    "trained included. Write data under another name and rename it, which leaves "
                    "the old file to those who read it"
                )


SEVERAL, VIEWS = (list, tuple), (np.ndarray, memoryview)
NOTHING: AbstractContextManager[None] = nullcontext()


def watched(*arrays: Any) -> AbstractContextManager[Watch | None]:
    """Inside, reads behind the end of a mapped file give zeros; they raise DataError at the end, or
    at the Watch's `check`. Gives None where no array is mapped, or the library was not built.
    """
    if all(type(a) is np.ndarray and a.base is None for a in arrays if a is not None):
        return NOTHING  # as nearly always: to look closer takes longer than all else here
    files = list(mapped_files(arrays))
    library = load() if files else None
    return NOTHING if library is None else _watched(files, library)


@contextmanager
def _watched(files: list[Mapped], library: CDLL) -> Iterator[Watch]:
    with ExitStack() as ends:
        numbers = {}
        for file in files:
            content = np.frombuffer(file.content, np.uint8)  # keeps the map open
            number = library.mlpx_watch(content.ctypes.data, content.nbytes)
            if number >= 0:
                ends.callback(library.mlpx_unwatch, number)
                numbers[number] = file
        watch = Watch(numbers)
        try:
            yield watch
        except Exception:
            watch.check()  # the zeros may be what failed
            raise
        watch.check()


def mapped_files(arrays: Iterable[Any]) -> Iterator[Mapped]:
    """The files that arrays, or arrays in lists and tuples, are mapped from."""
    for array in arrays:
        if isinstance(array, SEVERAL):
            yield from mapped_files(part for part in array if isinstance(part, np.ndarray))
            continue
        name = None
        while isinstance(array, VIEWS):
            name = name or getattr(array, "filename", None)
            array = array.base if isinstance(array, np.ndarray) else array.obj
        if isinstance(array, mmap.mmap):
            yield Mapped(array, str(name or "a memory-mapped file"))
