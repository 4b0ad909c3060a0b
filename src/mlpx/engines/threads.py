"""The number of threads that a BLAS may use while an engine runs; it is restored afterwards."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

TOO_MANY = 2**16
"""Threads that nobody means, in a file or a call."""
_lock = threading.Lock()
_before: dict[int, int] = {}
_users = 0


def _forked() -> None:
    """In the child of a fork no thread is left that may hold the lock or have joined."""
    global _lock, _users
    _lock, _users = threading.Lock(), 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@cache
def controllers() -> tuple[Any, ...]:
    """threadpoolctl's handle on each BLAS in the process."""
    import numpy as np
    from threadpoolctl import ThreadpoolController

    np.dot(np.ones((2, 2)), np.ones((2, 2)))  # loads NumPy's BLAS if nothing has
    return tuple(ThreadpoolController().select(user_api="blas").lib_controllers)


@contextmanager
def blas_threads(count: int | None) -> Iterator[None]:
    """Let every BLAS use `count` threads within this context; None changes nothing.

    Models that train at the same time share the setting: the last one to leave restores what was
    set before the first.
    """
    global _users
    if count is None:
        yield
        return
    joined = False
    try:
        with _lock:
            _users, joined = _users + 1, True
            _set(count)  # a signal may raise in here as well
        yield
    finally:
        if joined:
            _leave()


def _leave() -> None:
    global _users
    with _lock:
        _users = max(0, _users - 1)  # it was set to 0 if this is a fork that was made in between
        if _users == 0:
            _put_back()


def _put_back() -> None:
    """Set what was set before."""
    for controller in controllers() if _before else ():
        if id(controller) in _before:  # a signal may have come before its turn
            controller.set_num_threads(_before.pop(id(controller)))


def _set(count: int) -> None:
    for controller in controllers():
        now = controller.num_threads
        _before.setdefault(id(controller), now)
        if now != count:
            controller.set_num_threads(count)
