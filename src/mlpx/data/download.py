"""Fetch one file from a mirror: resumable, checked, atomic, one process at a time.

The bytes go to ``<file>.part``, where an interrupted download is continued with a ``Range``
request. The part takes the final name only after its checksum is right.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mlpx.data.idx import open_content
from mlpx.errors import DataFormatError, DownloadError, InputError

Progress = Callable[[int, int | None], object]
"""Called with the bytes received and the bytes of the whole file (None: unknown)."""

TIMEOUT_S = 30.0
CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class RemoteFile:
    """A file on a mirror: its name there and what its uncompressed content must be."""

    name: str
    sha256: str
    content_bytes: int

    @property
    def limit_bytes(self) -> int:
        """No encoding of the content is longer; a longer body is another file."""
        return self.content_bytes + self.content_bytes // 100 + CHUNK_BYTES


def download_file(
    url: str,
    path: str | os.PathLike[str],
    *,
    wanted: RemoteFile,
    timeout_s: float = TIMEOUT_S,
    progress: Progress | None = None,
) -> Path:
    """The path, once the file behind ``url`` (plain or gzip) is there with the right content.

    An existing ``path`` is left alone. ``<path>.part`` of an interrupted download is continued.
    A second process waits for the first on ``<path>.lock`` and then uses its file.
    ``timeout_s``: the longest silence of the mirror, in seconds.

    Raises: InputError: the URL is not http or https. DownloadError: the mirror does not answer,
    sends something else or breaks off, or the path cannot be written.
    """
    if not re.match(r"https?://[^/]", url, re.IGNORECASE):
        raise InputError(f"the mirror's address is {url!r}; wanted http://... or https://...")
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive_part(path) as part:
            if not path.exists():  # else another process fetched it while this one waited
                _fetch_checked(_Fetch(url, part, wanted, timeout_s, progress))
                os.replace(part, path)
    except DownloadError:
        raise
    except OSError as error:
        raise DownloadError(
            f"cannot write {path}: {error.strerror or error}; "
            "free some space there, or set XDG_CACHE_HOME to a folder that can be written"
        ) from error
    return path


@contextmanager
def _exclusive_part(path: Path) -> Iterator[Path]:
    if sys.platform == "win32":  # no flock: a part per process, which cannot be resumed
        yield path.with_name(f"{path.name}.{os.getpid()}.part")
        return
    import fcntl

    # The lock file stays: deleting it would let two processes hold "the" lock on two files.
    with open(path.with_name(path.name + ".lock"), "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield path.with_name(path.name + ".part")


@dataclass(frozen=True)
class _Fetch:
    """One download: source, destination and the wanted content."""

    url: str
    part: Path
    wanted: RemoteFile
    timeout_s: float
    progress: Progress | None

    @property
    def size_bytes(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0


def _fetch_checked(fetch: _Fetch) -> None:
    """Fill the part and check it; a continued part that is wrong is fetched again once."""
    while True:
        start = fetch.size_bytes
        _fetch(fetch, start)
        problem = _problem(fetch)
        if problem is None:
            return
        fetch.part.unlink(missing_ok=True)
        if not start:
            raise DownloadError(f"{fetch.url} delivered something else: {problem}")


def _fetch(fetch: _Fetch, start: int) -> None:
    response = _open(fetch, start)
    if response is None:
        return
    with response:
        at = _first_byte(response)
        if at is None or at not in (0, start):
            return  # not the piece that was asked for: the check will start over
        total = _total_bytes(response, at)
        with open(fetch.part, "ab" if at else "wb") as file:
            got = _receive(fetch, response, file, at, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and got < min(total, fetch.wanted.limit_bytes):
        raise DownloadError(
            f"{fetch.url}: the connection closed after {got} of {total} bytes; "
            "run again to continue from there"
        )


def _open(fetch: _Fetch, start: int) -> Any:
    """The mirror's response; None if it has nothing beyond ``start``."""
    headers = {"User-Agent": "mlpx", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        request = urllib.request.Request(fetch.url, headers=headers)
        return urllib.request.urlopen(request, timeout=fetch.timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == 416 and start:
            return None
        raise DownloadError(
            f"{fetch.url}: the mirror answered {error.code} {error.reason}"
        ) from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _network_error(fetch, error) from error


def _first_byte(response: Any) -> int | None:
    """Where the piece begins; None if the response does not say."""
    if response.status != 206:
        return 0
    match = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(match[1]) if match else None


def _total_bytes(response: Any, at: int) -> int | None:
    length = response.headers.get("Content-Length", "")
    return at + int(length) if length.isdecimal() else None


def _receive(fetch: _Fetch, response: Any, file: IO[bytes], done: int, total: int | None) -> int:
    while done <= fetch.wanted.limit_bytes:
        try:
            chunk = response.read1(CHUNK_BYTES)
        except (OSError, http.client.HTTPException) as error:
            raise _network_error(fetch, error) from error
        if not chunk:
            break
        file.write(chunk)
        file.flush()  # whoever is killed leaves what has come, however large Python's buffer is
        done += len(chunk)
        if fetch.progress is not None:
            fetch.progress(done, total)
    return done


def _network_error(fetch: _Fetch, error: Exception) -> DownloadError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(reason, TimeoutError):
        return DownloadError(f"{fetch.url}: the mirror said nothing for {fetch.timeout_s:g} s")
    return DownloadError(f"{fetch.url}: {reason or type(reason).__name__}")


def _problem(fetch: _Fetch) -> str | None:
    """What is wrong with the content of the part; None if it is the wanted one."""
    if not fetch.size_bytes:
        return "an empty answer"
    try:
        digest = _content_sha256(fetch.part, fetch.wanted.content_bytes)
    except DataFormatError as error:
        return str(error)
    if digest != fetch.wanted.sha256:
        return f"the SHA-256 of the uncompressed content is {digest}; wanted {fetch.wanted.sha256}"
    return None


def _content_sha256(path: Path, content_bytes: int) -> str:
    """Sum of at most ``content_bytes + 1`` bytes: one more is enough to tell that it differs."""
    digest, left = hashlib.sha256(), content_bytes + 1
    with open_content(path) as (file, _):
        while left and (chunk := file.read(min(left, 1 << 20))):
            digest.update(chunk)
            left -= len(chunk)
    return digest.hexdigest()
