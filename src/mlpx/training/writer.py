"""The thread that writes checkpoints, and what becomes of its errors."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from mlpx.errors import CheckpointError

if TYPE_CHECKING:
    from mlpx.training.run import Run


GOES_ON = "training goes on, and the next one is tried when due"
END_LOST = "the end of the run is not kept"
NOT_KEPT = rf"(?s).*; ({END_LOST}|{GOES_ON})"
"""What the warnings of `complain` match."""


class Writer:
    """Does one thing at a time in a thread, and keeps the error."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._told = False

    @property
    def busy(self) -> bool:
        """Whether it is still at work."""
        return self._thread is not None and self._thread.is_alive()

    @property
    def failed(self) -> bool:
        """Whether it failed and `complain` has not told."""
        return self._error is not None

    def start(self, work: Callable[[], None]) -> None:
        """Do it; at once and not in a thread if there can be none."""
        self._thread = threading.Thread(target=self._do, args=(work,), daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._thread = None
            self._do(work)

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
            self._told = False
        except Exception as error:  # of a callback's state, too: nobody else would see it
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Keep what went wrong, to be told by `complain`."""
        self._error = error

    def forget(self, told: str) -> None:
        """Leave it untold if this is what went wrong."""
        if str(self._error) == told:
            self._error = None

    def wait(self) -> None:
        """Until it is done."""
        if self._thread is not None:
            self._thread.join()

    def complain(self, run: Run, *, ended: bool = False) -> None:
        """Warn once if it failed, and again only if it has succeeded in between or the run has
        ended.
        """
        error, self._error = self._error, None
        if error is not None and (ended or not self._told):
            self._told = True
            what = str(error)
            if not isinstance(error, CheckpointError):
                what = f"no checkpoint was written ({type(error).__name__}: {error})"
            told = f"{what}; {END_LOST if ended else GOES_ON}"
            run.history.notes.append(told)
            warnings.warn(told, RuntimeWarning, stacklevel=6)
