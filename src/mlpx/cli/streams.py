"""What a training says, and that it goes on where nobody can hear it any more."""

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
    """Warnings as one line on stderr each, without the line of code they come from; or none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if quiet else "default")
        warnings.showwarning = _speak
        yield


def _speak(message: Warning | str, *_: Any, **__: Any) -> None:
    if sys.stderr is not None:
        with suppress(OSError, ValueError):  # nobody is there to be told
            sys.stderr.write(f"note: {message}\n")


def outlived_stdout() -> AbstractContextManager[Any]:
    """Where standard output dies, a note says so once, and the training goes on."""
    if sys.stdout is None:
        return nullcontext()
    return redirect_stdout(cast(IO[str], Outlet(sys.stdout)))
