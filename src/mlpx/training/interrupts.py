"""Ctrl-C and other signals that end a process, held back until a step is complete."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

try:
    # CPython's own module: `signal` converts each handler to an enum, which takes longer than a
    # step of a small net.
    import _signal as plain  # type: ignore[import-not-found]
except ImportError:
    plain = signal

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that end a process by default."""
HANG_UP = getattr(signal, "SIGHUP", None)
"""Sent twice when a terminal is closed, by the system and by the shell: two count as one."""

ASKING = getattr(signal, "SIGUSR1", None)
"""Asks for a checkpoint. By default it ends a process, too."""


class Ended(KeyboardInterrupt):
    """SIGTERM or SIGHUP arrived.

    It has its own class because CPython, if a plain KeyboardInterrupt passes through `exec`, as in
    many imports, ends the process as Ctrl-C does, whatever exit code is asked for.
    """


class _AsCtrlC:
    """A handler that raises `Ended` and records the numbers of the signals it gets."""

    def __init__(self) -> None:
        self.came: list[int] = []

    def __call__(self, number: int, frame: Any) -> None:
        self.came.append(number)
        raise Ended


@contextmanager
def ending_signals() -> Iterator[list[int]]:
    """Inside, SIGTERM and SIGHUP interrupt as Ctrl-C does; yields the numbers of those received.

    A signal that is ignored (`nohup`) or handled by the application is left alone.
    """
    as_ctrl_c = _AsCtrlC()
    main = threading.current_thread() is threading.main_thread()
    taken = [n for n in ENDING if main and signal.getsignal(n) is signal.SIG_DFL]
    with ExitStack() as put_back:  # restores each, even if a signal arrives between two
        for number in taken:
            put_back.callback(signal.signal, number, signal.SIG_DFL)
            signal.signal(number, as_ctrl_c)
        yield as_ctrl_c.came


def unheard(number: int, frame: Any) -> None:
    """The handler of a signal that asks for a checkpoint while none can be written."""


@contextmanager
def asking_allowed() -> Iterator[None]:
    """Inside and afterwards, SIGUSR1 does not end the process, which is to end after that; `fit`
    answers it if it writes checkpoints.

    A signal that is ignored or handled by the application is left alone.
    """
    main = threading.current_thread() is threading.main_thread()
    if ASKING is None or not main or signal.getsignal(ASKING) is not signal.SIG_DFL:
        yield
        return
    signal.signal(ASKING, unheard)
    try:
        yield
    finally:
        signal.signal(ASKING, signal.SIG_IGN)  # a handler would go before the interpreter does


@contextmanager
def held_interrupt() -> Iterator[list[int]]:
    """Inside, Ctrl-C is appended to the yielded list; KeyboardInterrupt is raised at the end.

    A second Ctrl-C raises at once. The same holds for SIGTERM and SIGHUP inside `ending_signals`,
    except that two SIGHUP in a row count as one.
    Nothing changes, and the list stays empty, outside the main thread, which alone receives
    signals, and if the application handles Ctrl-C itself.
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
