"""Ctrl-C held back until a step is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def held_interrupt() -> Iterator[threading.Event]:
    """Inside, Ctrl-C sets the event yielded instead of raising; the second one raises at once.

    Outside the main thread, which alone receives signals, and where the application handles Ctrl-C
    itself, nothing is changed and the event stays clear.
    """
    interrupted = threading.Event()
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT) if main else None
    if before is not signal.default_int_handler:
        yield interrupted
        return

    def hold(*_: Any) -> None:
        if interrupted.is_set():
            raise KeyboardInterrupt
        interrupted.set()

    signal.signal(signal.SIGINT, hold)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
