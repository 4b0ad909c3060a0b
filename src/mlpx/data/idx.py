"""IDX, the format of the MNIST files: a typed header, then one big-endian array.

::

    0x00 0x00 <type code> <number of dimensions>      4 bytes
    <size of dimension 0> <size of dimension 1> ...   4 bytes each, unsigned, big-endian
    <elements, last dimension fastest>                big-endian

Source: "The IDX file format", on LeCun, Cortes and Burges' page of the MNIST database.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import secrets
import sys
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mlpx.data.gunzip import PACKED_BYTES, Gunzip, unpacked_bound
from mlpx.errors import DataError, DataFormatError, DataNotFoundError, InputError, InputTypeError
from mlpx.types import Array
from mlpx.untrusted import brief, open_regular

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""Type code of the header -> the dtype on disk."""

GZIP_MAGIC = b"\x1f\x8b"
MAX_DIMENSIONS = 32


class Header(NamedTuple):
    """The header of an IDX file."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]
    raw: bytes

    @property
    def payload_bytes(self) -> int:
        """Bytes that must follow the header."""
        return math.prod(self.shape) * self.dtype.itemsize


def read_idx(path: str | os.PathLike[str], *, sha256: str | None = None) -> Array:
    """The array in an IDX file, plain or gzip (told apart by content, not by name).

    The result has the shape the header declares, native byte order, and is writable.
    Memory is allocated only for what a file of that size can hold, and decompression stops
    where the declared array ends.

    ``sha256``: expected checksum of the whole uncompressed content; None skips the check.

    Raises: DataNotFoundError: no such file. DataFormatError: not an IDX file, a header that does
    not fit the content, a damaged gzip stream, or a wrong checksum. DataError: not readable.
    """
    path = Path(path)
    with open_content(path) as (file, bound_bytes):
        header = _read_header(file, path)
        array = _read_payload(file, path, header, bound_bytes)
        if sha256 is not None:
            _check_sum(path, header.raw, array, sha256)
    if not array.dtype.isnative:
        array = array.byteswap(inplace=True).view(header.dtype.newbyteorder("="))
    return array


def write_idx(path: str | os.PathLike[str], array: Array) -> None:
    """Write ``array`` as an IDX file; gzip if the name ends in ``.gz``. An old file is replaced.

    Atomic: a reader sees the old content or the new one, never half of it.
    dtypes: uint8, int8, int16, int32, float32, float64; 1 to 32 dimensions.

    Raises: InputTypeError: another dtype. InputError: a shape that IDX cannot store.
    DataError: the file cannot be written.
    """
    path, array = Path(path), np.asarray(array)
    header = _header_bytes(array)
    payload = array.astype(TYPES[header[2]], copy=False).tobytes()
    content = header + payload
    if path.suffix == ".gz":
        content = gzip.compress(content, mtime=0)  # no time stamp: same array, same bytes
    _replace(path, content)


@contextmanager
def open_content(path: Path) -> Iterator[tuple[io.BufferedReader[Any], int]]:
    """The uncompressed content of a plain or gzip file, and the most bytes it can hold.

    Raises: DataNotFoundError, DataFormatError (not a regular file; damaged gzip), DataError.
    """
    try:
        with open_file(path) as raw:
            size_bytes = os.fstat(raw.fileno()).st_size
            magic = raw.read(2)
            raw.seek(0)
            if magic != GZIP_MAGIC:
                yield raw, size_bytes
                return
            unpacked = io.BufferedReader(Gunzip(raw), PACKED_BYTES)
            yield unpacked, unpacked_bound(size_bytes)
    except DataError:
        raise
    except (EOFError, zlib.error) as error:
        raise DataFormatError(
            f"{path}: the gzip data is truncated or damaged ({error}); fetch the file again"
        ) from error
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: no such file") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


@contextmanager
def open_file(path: Path) -> Iterator[io.BufferedReader[Any]]:
    """The file at `path`. Raises DataFormatError for what is there and no regular file, OSError."""
    with ExitStack() as held:
        try:
            file = held.enter_context(open_regular(path))
        except ValueError as error:
            raise DataFormatError(f"{brief(path)}: {error}; wanted a file") from error
        yield file


def _read_header(file: io.BufferedReader[Any], path: Path) -> Header:
    start = file.read(4)
    if len(start) < 4:
        content = "an empty file" if not start else f"only {len(start)} bytes"
        raise DataFormatError(f"{path}: {content}; an IDX file begins with a header of 4 bytes")
    if start[:2] != b"\0\0":
        raise DataFormatError(
            f"{path} is not an IDX file: it begins with the bytes {start.hex(' ')}; "
            "wanted 00 00, a type code and the number of dimensions"
        )
    code, ndim = start[2], start[3]
    if code not in TYPES:
        known = ", ".join(f"0x{each:02X}" for each in TYPES)
        raise DataFormatError(f"{path}: unknown IDX type code 0x{code:02X}; wanted one of {known}")
    if not 1 <= ndim <= MAX_DIMENSIONS:
        raise DataFormatError(f"{path}: {ndim} dimensions; wanted 1 to {MAX_DIMENSIONS}")
    sizes = file.read(4 * ndim)
    if len(sizes) < 4 * ndim:
        raise DataFormatError(
            f"{path}: the header ends after {4 + len(sizes)} bytes; "
            f"its {ndim} dimensions want {4 + 4 * ndim}"
        )
    shape = tuple(int(size) for size in np.frombuffer(sizes, ">u4"))
    return Header(np.dtype(TYPES[code]), shape, start + sizes)


def _read_payload(
    file: io.BufferedReader[Any], path: Path, header: Header, bound_bytes: int
) -> Array:
    wanted = f"the header declares {header.shape} {header.dtype.newbyteorder('=')}"
    total_bytes = len(header.raw) + header.payload_bytes
    # also beside a size of zero, where NumPy refuses it as well
    if math.prod(max(n, 1) for n in header.shape) * header.dtype.itemsize > sys.maxsize:
        raise DataFormatError(f"{path}: {wanted}, more than can be addressed")
    if total_bytes > bound_bytes:
        packed = bound_bytes > path.stat().st_size
        advice = ", unless it is a bomb; if it is none, unpack it first" if packed else ""
        raise DataFormatError(
            f"{path}: {wanted}, {total_bytes} bytes with the header; "
            f"a file of this size holds at most {bound_bytes}{advice}"
        )
    array = _allocate(path, header, wanted)
    got = _fill(file, memoryview(array.reshape(-1).view(np.uint8)))
    if got < header.payload_bytes:
        raise DataFormatError(
            f"{path} is too short: {wanted}, {total_bytes} bytes with the header; "
            f"found {len(header.raw) + got}"
        )
    if file.read(1):  # also makes gzip check its CRC when the content ends here
        raise DataFormatError(
            f"{path} is too long: {wanted}, {total_bytes} bytes with the header; more bytes follow"
        )
    return array


def _allocate(path: Path, header: Header, wanted: str) -> Array:
    try:
        return np.empty(header.shape, header.dtype)
    except MemoryError as error:
        raise DataFormatError(f"{path}: {wanted}, which does not fit into memory") from error


def _fill(file: io.BufferedReader[Any], target: memoryview) -> int:
    done = 0
    while done < len(target):
        got = file.readinto(target[done:])
        if not got:
            break
        done += got
    return done


def _check_sum(path: Path, header: bytes, array: Array, wanted: str) -> None:
    digest = hashlib.sha256(header)
    digest.update(array.reshape(-1).view(np.uint8))
    if digest.hexdigest() != wanted.lower():
        raise DataFormatError(
            f"{path}: the SHA-256 of the uncompressed content is {digest.hexdigest()}; "
            f"wanted {wanted}"
        )


def _header_bytes(array: Array) -> bytes:
    codes = {np.dtype(kind).newbyteorder("="): code for code, kind in TYPES.items()}
    code = codes.get(array.dtype.newbyteorder("="))
    if code is None:
        names = ", ".join(str(dtype) for dtype in codes)
        raise InputTypeError(f"array has dtype {array.dtype}; IDX holds {names}: convert it first")
    if not 1 <= array.ndim <= MAX_DIMENSIONS or max(array.shape) >= 2**32:
        raise InputError(
            f"array has shape {array.shape}; IDX wants 1 to {MAX_DIMENSIONS} dimensions "
            "of less than 2**32"
        )
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, code, array.ndim]) + sizes


def _replace(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(draft, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        draft.unlink(missing_ok=True)
