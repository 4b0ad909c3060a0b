"""Warnings of a training on stderr, and training on after standard output has gone."""

from __future__ import annotations

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


@contextmanager
def spoken_warnings(*, quiet: bool = False) -> Iterator[None]:
    """Show each warning as one line on stderr, without its line of code; or none if `quiet`.

    What is deprecated is left out: it is for those who write the code.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "default")
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.showwarning = _speak
        yield


def _speak(message: Warning | str, *_: Any, **__: Any) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # there is nobody to tell
            sys.stderr.write(f"note: {message}\n")


def outlived_stdout() -> AbstractContextManager[Any]:
    """If standard output dies, say so once in a note and go on."""
    if sys.stdout is None:
        return nullcontext()
    return redirect_stdout(cast(IO[str], Outlet(sys.stdout)))
