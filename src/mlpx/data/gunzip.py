"""gzip and deflate from files that nobody vouches for: no more than the file justifies."""

from __future__ import annotations

import io
import zlib
from typing import IO, Any

PACKED_BYTES = 1 << 16
DEFLATE_MAX_RATIO = 1032  # the most that deflate can expand: 258 bytes from 2 bits
FREE_BYTES, SENSIBLE_RATIO = 64 << 20, 100


def unpacked_bound(packed_bytes: int) -> int:
    """The most bytes that are accepted from `packed_bytes` of deflate: what it can expand to, but
    beyond 64 MiB no more than 100 times the file, as only a bomb and zeros are packed closer.
    """
    sensible = max(FREE_BYTES, packed_bytes * SENSIBLE_RATIO)
    return min(packed_bytes * DEFLATE_MAX_RATIO, sensible)


class Gunzip(io.RawIOBase):
    """The content of a gzip file, member after member.

    gzip.GzipFile also takes zeros behind a member, one by one; a sparse file has them by the
    terabyte.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._packed = raw, b""
        self._member = zlib.decompressobj(wbits=31)

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        while True:
            packed = self._packed or self._raw.read(PACKED_BYTES)
            if self._member.eof:
                if not packed:
                    return 0
                self._member = zlib.decompressobj(wbits=31)
            got = self._member.decompress(packed, len(target))
            self._packed = self._member.unconsumed_tail or self._member.unused_data
            if got:
                target[: len(got)] = got
                return len(got)
            if not (packed or self._member.eof):
                raise EOFError("it ends within a member")
