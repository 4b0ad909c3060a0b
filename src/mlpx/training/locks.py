"""Folders that one process at a time may write to."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

from mlpx.errors import InputError
from mlpx.untrusted import brief, one_line, read_json

OWNER = ".owner.json"
WRITTEN = (".safetensors", ".json", ".png")
"""The endings of the files that are written into such a folder."""
_HANDLES: dict[object, int] = {}
"""The handle of each folder that this process has locked by the system."""


def _close_in_child() -> None:
    """Close a forked child's copies, which would hold the folders as long as the child lives.

    Nothing is unlocked: the lock is of both processes, and so would go from the parent.
    """
    for handle in _HANDLES.values():
        os.close(handle)
    _HANDLES.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_child)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock `folder` exclusively inside; if this process dies, the system releases the lock.

    A file in it says who holds it. Where the system or the file system has no locks, that file is
    the lock, and that of a process that has ended does not count. Raises InputError if the folder
    is in use or has links out of it, OSError if it cannot be opened.
    """
    with ExitStack() as held:
        flocked = _flocked(folder, held)
        if not flocked:
            _refuse_owned(folder)
        if flocked:
            _remove(folder / OWNER)  # it may be a link, or a pipe
        _refuse_links(folder)
        try:
            with (folder / OWNER).open("x") as file:
                held.callback(_remove_of, os.getpid(), folder / OWNER)
                json.dump(_ourselves(), file)
        except OSError as error:  # a folder that is not writable is reported later
            if isinstance(error, FileExistsError) and not flocked:
                raise _in_use(folder, _owner(folder)) from None
        yield


def _refuse_links(folder: Path) -> None:
    """Raise InputError if a file that may be written in `folder` is a link out of it: somebody
    else's run could so have any file of the user's overwritten.
    """
    for path in folder.iterdir():
        if path.suffix not in WRITTEN:
            continue
        target = Path(os.path.realpath(path))
        if path.is_symlink() and not target.is_relative_to(os.path.realpath(folder)):
            raise InputError(
                f"{one_line(f'{path} is a link to {target}')}, which could be overwritten; put a "
                "copy of that file in place of the link"
            )


def _remove(path: Path) -> None:
    with suppress(OSError):
        path.unlink()


def _remove_of(pid: int, path: Path) -> None:
    """Remove what the process `pid` has written: a forked child leaves it."""
    if os.getpid() == pid:
        _remove(path)


def _flocked(folder: Path, held: ExitStack) -> bool:
    """Whether the system has locked the folder until `held` ends."""
    try:
        import fcntl
    except ImportError:
        return False
    handle = os.open(folder, os.O_RDONLY)
    key = object()
    _HANDLES[key] = handle
    held.callback(_close, key)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _in_use(folder, _owner(folder)) from None
    except OSError:
        return False
    held.callback(_unlock, key)  # a child may have been forked without Python's knowledge
    return True


def _close(key: object) -> None:
    handle = _HANDLES.pop(key, None)
    if handle is not None:  # else this is a forked child, which has closed it
        os.close(handle)


def _unlock(key: object) -> None:
    import fcntl

    if key in _HANDLES:
        fcntl.flock(_HANDLES[key], fcntl.LOCK_UN)


def _refuse_owned(folder: Path) -> None:
    """Raise InputError if the folder's owner may still be there; remove the name of one that is
    not.
    """
    if not os.path.lexists(folder / OWNER):
        return
    owner = _owner(folder)
    elsewhere = owner.get("host") != socket.gethostname()
    if owner and (elsewhere or _began(owner.get("pid")) == owner.get("began")):
        raise _in_use(folder, owner, advice=f", or delete {folder / OWNER} if it has ended")
    _remove(folder / OWNER)


def _in_use(folder: Path, owner: dict[str, Any], *, advice: str = "") -> InputError:
    who = "another training, or is being saved to"
    if owner:
        who = brief("process {pid} on {host} since {since}".format_map(owner))
    return InputError(
        f"{folder} is in use by {who}; wait until that ends, or name another folder{advice}"
    )


def _owner(folder: Path) -> dict[str, Any]:
    """Who holds the folder, as far as it says."""
    try:
        owner = read_json(folder / OWNER)
    except (OSError, ValueError):
        return {}
    return owner if isinstance(owner, dict) and {"pid", "host", "since"} <= owner.keys() else {}


def _ourselves() -> dict[str, Any]:
    pid = os.getpid()
    return {
        "pid": pid,
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S %z"),
        "began": _began(pid),
    }


def _began(pid: Any) -> str | None:
    """When the process began, in the system's own count; None if there is no such process."""
    try:
        line = Path(f"/proc/{int(pid)}/stat").read_text()
    except (OSError, TypeError, ValueError, OverflowError):
        return None if os.path.isdir("/proc/self") else "unknown"
    return line.rpartition(")")[2].split()[19]
