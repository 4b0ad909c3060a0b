"""Files that appear whole or not at all, room for them, and files that one at a time holds."""

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

    Raises OSError; what was at `path` before is then still there, and nothing beside it.
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
    except BaseException:
        with suppress(OSError):
            part.unlink()
        raise


def write_atomically(path: Path, content: bytes) -> None:
    """Put `content` at `path`: on the disk first, then under its name; links are followed.

    Raises CheckpointError; what was at `path` before is then still there.
    """
    try:
        replace_file(path, content)
    except OSError as error:
        raise CheckpointError(f"cannot write {path}: {error.strerror or error}") from error


def allocate(file: IO[bytes], size_bytes: int) -> None:
    """Take so many bytes of the disk for `file`, which is empty.

    Raises OSError if they are not there.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, size_bytes)
            return
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise  # else a file system that cannot: written it is taken, too
    zeros = bytes(1 << 20)
    for start in range(0, size_bytes, len(zeros)):
        file.write(zeros[: size_bytes - start])
    file.flush()


@contextmanager
def held(path: Path, *, wait_s: float) -> Iterator[bool]:
    """Hold the file at `path`, made where it is not there, against other processes and threads; the
    end of this process, however it ends, lets it go.

    Yields whether it is held: not where the system or the file system has no such locks, where the
    file cannot be made, nor if another still holds it after `wait_s`. The file stays: deleting it
    would let two hold "it".
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
            ends.callback(fcntl.flock, handle, fcntl.LOCK_UN)  # a fork has the handle, too
            return True
