"""Files written whole or not at all, room for them on the disk, and locks on files."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from mlpx.errors import CheckpointError

POLL_S = 0.02


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Put `content` at `path`: on the disk first, then under its name; links are followed.

    Raises OSError, after which an old file at `path` is unchanged and no other file is left; if
    only its name may not be on the disk, the new file is there.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise OSError("it is there and is not a regular file")
    part = target.with_name(f"{target.name}.{os.urandom(4).hex()}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, target)
        sync_folder(target.parent)
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk, where a folder can be synced.

    Raises OSError if the disk fails.
    """
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno in (errno.EIO, errno.ENOSPC):
            raise  # else it cannot be done: Windows opens no folders, some networks sync none


def remove_if_empty(folder: Path) -> None:
    """Remove `folder` unless there is something in it."""
    with suppress(OSError):
        folder.rmdir()


def parts(folder: Path, of: str = "*") -> list[Path]:
    """The parts in `folder` of files that are called as the pattern `of` says.

    Raises OSError.
    """
    return sorted(folder.glob(f"{of}.{'[0-9a-f]' * 8}.part"))


def sweep(folder: Path) -> None:
    """Remove the parts that writers left in `folder` when they were killed.

    Nobody else may be writing there.
    """
    for left in parts(folder):
        with suppress(OSError):
            left.unlink()


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: on the disk first, then under its name; links are followed.

    Raises CheckpointError, after which an old file at `path` is unchanged.
    """
    try:
        replace_file(path, content)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


def allocate(file: IO[bytes], size_bytes: int) -> None:
    """Reserve `size_bytes` of the disk for `file`, which is empty.

    Raises OSError if there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size_bytes)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise  # else the file system cannot reserve: writing zeros does
    zeros = bytes(1 << 20)
    for start in range(0, size_bytes, len(zeros)):
        file.write(zeros[: size_bytes - start])
    file.flush()


@contextmanager
def held(path: Path, *, wait_s: float) -> Iterator[bool]:
    """Lock the file at `path`, created if missing, against other processes and threads. The lock is
    released when this process ends, however it ends.

    Yields whether it is locked. It is not if the system or the file system has no such locks, if
    the file cannot be created, or if another still holds it after `wait_s`. The file stays:
    deleting it would let two processes hold the lock.
    """
    with ExitStack() as ends:
        yield _hold(path, wait_s, ends)


def _hold(path: Path, wait_s: float, ends: ExitStack) -> bool:
    try:
        import fcntl

        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except (ImportError, OSError):
        return False
    ends.callback(os.close, handle)
    stop_s = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= stop_s:
                return False
            time.sleep(POLL_S)
        except OSError:
            return False
        else:
            ends.callback(fcntl.flock, handle, fcntl.LOCK_UN)  # a fork shares the handle
            return True
