"""Files that appear whole or not at all, and room for them."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO


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
