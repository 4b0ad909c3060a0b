"""The bytes of a text file as UTF-8, or the line that is not what it should be."""

from __future__ import annotations

import codecs

from mlpx.errors import DataFormatError, InputError

WIDE = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
PIECE_BYTES, START_BYTES = 1 << 20, 1 << 18


def check_encoding(encoding: str) -> None:
    """Raises InputError unless it is the name of one that Python knows and that is of texts."""
    try:
        known = getattr(codecs.lookup(encoding), "_is_text_encoding", True)
    except (LookupError, TypeError, ValueError):
        known = False
    if not known:
        raise InputError(
            f"encoding = {encoding!r} is not known; wanted utf-8, latin-1, cp1252, ..."
        )


def utf8(data: bytes, path: str, encoding: str) -> bytes:
    """The text as UTF-8, without a byte order mark."""
    name = codecs.lookup(encoding).name
    if name not in ("utf-8", "utf-8-sig", "ascii"):
        try:
            return data.decode(name).lstrip("\ufeff").encode()
        except UnicodeError as error:
            line = data.count(b"\n", 0, getattr(error, "start", 0)) + 1
            why = getattr(error, "reason", error)
            raise DataFormatError(f"{path}: line {line} is not {encoding}: {why}") from None
    wide = WIDE.get(data[:2])
    if wide:
        raise DataFormatError(
            f"{path} looks like {wide}: save it as UTF-8, or pass encoding={wide}"
        )
    at = _first_invalid(data)
    if at is not None:
        line = data.count(b"\n", 0, at) + 1
        raise DataFormatError(
            f"{path}: line {line} is not UTF-8 (byte 0x{data[at]:02x} at {at}): save it as UTF-8, "
            "or pass encoding=latin-1"
        )
    if b"\0" in data[:START_BYTES]:
        raise DataFormatError(f"{path} holds bytes of zero; it is no text")
    return data.removeprefix(codecs.BOM_UTF8)


def _first_invalid(data: bytes) -> int | None:
    """Where the first byte is that is not UTF-8; in pieces, as the text takes much memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    view = memoryview(data)
    for start in range(0, len(data), PIECE_BYTES):
        held = len(decoder.getstate()[0])
        last = start + PIECE_BYTES >= len(data)
        try:
            decoder.decode(view[start : start + PIECE_BYTES], last)
        except UnicodeDecodeError as error:
            return start - held + error.start
    return None
