"""Ctrl-C, and what else may end a process, held back until a step is whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

try:
    # CPython's own: `signal` looks for an enum of each handler, which takes longer than the step of
    # a small net.
    import _signal as plain  # type: ignore[import-not-found]
except ImportError:
    plain = signal

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a process which does nothing about them."""
HANG_UP = getattr(signal, "SIGHUP", None)
"""Sent twice when a terminal is closed, by the system and by the shell: two of it are one."""


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP came.

    A class of its own: where a plain KeyboardInterrupt passes through `exec`, as in many an import,
    CPython ends the process as Ctrl-C does, whatever exit code is asked for.
    """


class _AsCtrlC:
    """A handler that raises `Ended` and keeps the numbers of the signals that came."""

    def __init__(self) -> None:
        self.came: list[int] = []

    def __call__(self, number: int, frame: Any) -> None:
        self.came.append(number)
        raise Ended


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """Inside, SIGTERM and SIGHUP interrupt as Ctrl-C does; yields the numbers of those that came.

    One that is ignored (`nohup`) or handled by the application stays as it is.
    """
    as_ctrl_c = _AsCtrlC()
    main = threading.current_thread() is threading.main_thread()
    taken = [n for n in ENDING if main and signal.getsignal(n) is signal.SIG_DFL]
    with ExitStack() as put_back:  # each of them, also if a signal comes between two
        for number in taken:
            put_back.callback(signal.signal, number, signal.SIG_DFL)
            signal.signal(number, as_ctrl_c)
        yield as_ctrl_c.came


@contextmanager
def held_interrupt() -> Iterator[list[int]]:
    """Inside, Ctrl-C fills the list yielded; the KeyboardInterrupt comes at the end.

    The second raises at once. So it is with SIGTERM and SIGHUP inside `ending_signals`, but that
    two SIGHUP in a row are one.
    Outside the main thread, which alone receives signals, and where the application handles Ctrl-C
    itself, nothing is changed and the list stays empty.
    """
    before = _interrupting()
    held: list[int] = []

    def hold(number: int, frame: Any) -> None:
        if held and not held[-1] == number == HANG_UP:
            before[number](number, frame)
        held.append(number)

    with ExitStack() as put_back:  # as above
        for number, handler in before.items():
            put_back.callback(plain.signal, number, handler)
            plain.signal(number, hold)
        yield held
    if held:
        before[held[0]](held[0], None)


def _interrupting() -> dict[int, Any]:
    """The signals that raise KeyboardInterrupt, with their handlers."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    handlers = {number: plain.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    return {
        number: handler
        for number, handler in handlers.items()
        if handler is signal.default_int_handler or isinstance(handler, _AsCtrlC)
    }
