"""Standard output and error: what fails is named, a training outlives them, warnings are told."""

from __future__ import annotations

import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import (
    AbstractContextManager,
    contextmanager,
    nullcontext,
    redirect_stdout,
    suppress,
)
from typing import IO, Any, cast

from mlpx.training.progress import Outlet
from mlpx.untrusted import one_line


class Named(io.TextIOWrapper):
    """A standard stream whose failures say which stream it was, as they do of a file.

    Characters that its encoding lacks become question marks.
    """

    def __init__(self, stream: io.TextIOWrapper, called: str) -> None:
        self.called, self.under = called, stream  # kept: it closes what both write to
        stream.flush()
        super().__init__(
            stream.buffer, stream.encoding, errors="replace",
            line_buffering=stream.line_buffering, write_through=stream.write_through,
        )  # fmt: skip

    def write(self, text: str) -> int:
        with self._named():
            return super().write(text)

    def flush(self) -> None:
        with self._named():
            super().flush()

    def close(self) -> None:
        """Flush: whoever opened the stream closes it."""
        self.flush()

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self.called
            raise


def name_streams() -> None:
    """Have the standard streams named in errors."""
    for name, called in (("stdout", "standard output"), ("stderr", "standard error")):
        stream = getattr(sys, name)
        if isinstance(stream, Named):
            stream.reconfigure(errors="replace")
        elif isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, Named(stream, called))


@contextmanager
def spoken_warnings(*, quiet: bool = False) -> Iterator[None]:
    """Show each warning as one line on stderr, once and without its line of code; or none if
    `quiet`.

    What is deprecated is left out: it is for those who write the code. What Python was told about
    warnings (-W, PYTHONWARNINGS) holds.
    """
    told: set[str] = set()  # a checkpoint is read from several places

    def tell(message: Warning | str, *_: Any, **__: Any) -> None:
        if str(message) not in told:
            told.add(str(message))
            _speak(message)

    with warnings.catch_warnings():
        if quiet or not sys.warnoptions:
            warnings.simplefilter("ignore" if quiet else "default")
            warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = tell
        yield


def _speak(message: Warning | str) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # there is nobody to tell
            sys.stderr.write(f"{noted(message)}\n")


def noted(message: object) -> str:
    """The line that tells a note, of which a file may have written any part."""
    return f"note: {one_line(' '.join(str(message).split()))}"


def outlived_stdout() -> AbstractContextManager[Any]:
    """If standard output dies, say so once in a note and go on."""
    if sys.stdout is None:
        return nullcontext()
    return redirect_stdout(cast(IO[str], Outlet(sys.stdout)))
