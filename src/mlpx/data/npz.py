"""A user's own data set: NumPy arrays in one ``.npz``."""

from __future__ import annotations

import math
import os
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from mlpx.data.gunzip import unpacked_bound
from mlpx.data.idx import open_file
from mlpx.data.record import Dataset, check_pair, rows
from mlpx.errors import DataFormatError, DataNotFoundError
from mlpx.types import Array
from mlpx.untrusted import brief

ARCHIVE, SINGLE = b"PK", b"\x93NUMPY"
WANTED = {
    ARCHIVE: "an .npz archive, as numpy.savez writes it",
    SINGLE: "an array of numbers, as numpy.save writes it",
}
# Of the zip module: RuntimeError for an encrypted member, struct.error for a damaged directory.
UNREADABLE = (
    *(OSError, EOFError, ValueError, RuntimeError, LookupError, OverflowError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
VERSIONS = ((1, 0), (2, 0), (3, 0))
MOST_HEADER_BYTES = 10_000  # as NumPy itself
LAST_CODE, SURROGATES = 0x10FFFF, (0xD800, 0xDFFF)


def load_npz(path: Path) -> Dataset:
    """The data set in ``path``: x_train, y_train and optionally x_test, y_test.

    Raises: DataNotFoundError, DataFormatError.
    """
    arrays = _read_npz(path)
    x, y = arrays["x_train"], arrays["y_train"]
    x_test, y_test = arrays.get("x_test"), arrays.get("y_test")
    check_pair(str(path), "train", x, y)
    if x_test is not None and y_test is not None:
        check_pair(str(path), "test", x_test, y_test)
        if x_test.shape[1:] != x.shape[1:] or y_test.shape[1:] != y.shape[1:]:
            raise DataFormatError(
                f"{path}: a row of x_train and y_train has shape {x.shape[1:]} and {y.shape[1:]}, "
                f"one of x_test and y_test {x_test.shape[1:]} and {y_test.shape[1:]}; "
                "wanted the same"
            )
        x_test = rows(x_test)
    image_shape = x.shape[1:] if x.ndim > 2 else None
    scale = 1 / 255 if x.dtype == np.uint8 else 1.0
    return Dataset(path.stem, rows(x), y, x_test, y_test, None, image_shape, scale)


def _read_npz(path: Path) -> dict[str, Array]:
    try:
        with open_file(path) as file:
            refuse_foreign(file, str(path), wanted=ARCHIVE)
            bound_bytes = unpacked_bound(os.fstat(file.fileno()).st_size)
            with zipfile.ZipFile(file) as archive:
                members = _members(path, archive)
                _check_packing(path, members, bound_bytes)
                return {key: _array(path, archive, key, member) for key, member in members.items()}
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: no such file") from error
    except DataFormatError:
        raise
    except UNREADABLE as error:
        raise DataFormatError(f"{path} is not a readable .npz archive: {brief(error)}") from error


def refuse_foreign(file: IO[bytes], name: str, *, wanted: bytes) -> None:
    """Raise DataFormatError unless `file` begins like `wanted`, ARCHIVE or SINGLE."""
    head = file.read(len(SINGLE))
    if not head.startswith(wanted):
        raise DataFormatError(f"{name} {_looks(head)}; wanted {WANTED[wanted]}")
    file.seek(0)


def check_array(file: IO[bytes], name: str, size_bytes: int) -> None:
    """Raise DataFormatError unless `file`, of `size_bytes`, begins with an array of numbers or text
    that is whole. Nothing of the size that it claims is allocated.
    """
    refuse_foreign(file, name, wanted=SINGLE)
    shape, dtype = _described(file, name)
    if dtype.hasobject:
        raise DataFormatError(
            f"{name} is an array of Python objects, shape {shape}, which could run code when "
            "read; save numbers or text instead: array.astype('float32') or array.astype(str)"
        )
    if dtype.kind == "V" or not dtype.itemsize:
        raise DataFormatError(f"{name} has dtype {brief(dtype)}; wanted numbers or text")
    if not all(type(n) is int and n >= 0 for n in shape):
        raise DataFormatError(f"{name} has shape {brief(shape)}; wanted sizes from 0")
    if math.prod(max(n, 1) for n in shape) * dtype.itemsize > sys.maxsize:
        raise DataFormatError(f"{name} has shape {brief(shape)}, more than can be addressed")
    wanted_bytes = file.tell() + math.prod(shape) * dtype.itemsize
    if wanted_bytes > size_bytes:
        raise DataFormatError(
            f"{name}: its header declares shape {shape} of {dtype}, {wanted_bytes} bytes with the "
            f"header; it has {size_bytes}"
        )
    file.seek(0)


def _looks(head: bytes) -> str:
    """What a file with these first bytes is."""
    if head.startswith(SINGLE):
        return "holds a single array (.npy)"
    if head.startswith(ARCHIVE):
        return "is an archive of arrays (.npz)"
    if head.startswith(b"\x80"):
        return "is a pickle, which could run code when read"
    return f"begins with {head!r}, as no file of NumPy's does" if head else "is empty"


def _described(file: IO[bytes], name: str) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype in the header of an array's file."""
    fixed = file.read(len(SINGLE) + 6)
    version, counts = tuple(fixed[6:8]), fixed[8:10] if fixed[6:7] == b"\1" else fixed[8:12]
    header_bytes = int.from_bytes(counts, "little")
    if version not in VERSIONS:
        told = ".".join(map(str, version))
        raise DataFormatError(f"{name} has version {told} of the format; wanted 1.0, 2.0 or 3.0")
    if header_bytes > MOST_HEADER_BYTES:
        raise DataFormatError(f"{name} claims a header of {header_bytes:,} bytes")
    file.seek(len(SINGLE) + 2)
    read = np.lib.format.read_array_header_2_0
    if version == (1, 0):
        read = np.lib.format.read_array_header_1_0
    try:
        shape, _, dtype = read(file)
    except Exception as error:  # whatever Python's tokenizer and parser, and dtype, raise
        raise DataFormatError(f"{name} has a damaged header: {brief(error)}") from error
    return shape, dtype


def _members(path: Path, archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """The members that are a data set's arrays, by key. The others are never read, and none is
    ever unpacked into a file, whatever path its name says.
    """
    found: dict[str, list[zipfile.ZipInfo]] = {}
    for member in archive.infolist():
        found.setdefault(member.filename.removesuffix(".npy"), []).append(member)
    keys = ["x_train", "y_train"]
    if found.keys() & {"x_test", "y_test"}:
        keys += ["x_test", "y_test"]
    missing = [key for key in keys if key not in found]
    if missing:
        raise DataFormatError(
            f"{path} has no {' and no '.join(missing)}; it holds {brief(', '.join(sorted(found)))};"
            " wanted x_train, y_train and, if there is a test part, x_test and y_test"
        )
    twice = [key for key in keys if len(found[key]) > 1]
    if twice:
        raise DataFormatError(f"{path} has {twice[0]} twice; wanted one array of that name")
    return {key: found[key][0] for key in keys}


def _check_packing(path: Path, members: dict[str, zipfile.ZipInfo], bound_bytes: int) -> None:
    for key, member in members.items():
        if member.compress_type not in PACKINGS:
            raise DataFormatError(
                f"{path}: {key} is compressed by method {member.compress_type}; wanted stored or "
                "deflated, as numpy.savez and numpy.savez_compressed write it"
            )
    total_bytes = sum(member.file_size for member in members.values())
    if total_bytes > bound_bytes:
        raise DataFormatError(
            f"{path} declares {total_bytes} bytes of arrays; a file of this size holds at most "
            f"{bound_bytes}, unless it is a bomb; if it is none, save it with numpy.savez"
        )


def _array(path: Path, archive: zipfile.ZipFile, key: str, member: zipfile.ZipInfo) -> Array:
    name = f"{path}: {key}"
    with archive.open(member) as file:
        check_array(file, name, member.file_size)
    with archive.open(member) as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
        if file.read(1):  # also makes zipfile check the sum when the content ends here
            raise DataFormatError(f"{name}: more bytes follow its array")
    check_elements(name, array)
    return array


def check_elements(name: str, array: Array) -> None:
    """Raise DataFormatError for bytes that are no text, or no truth value, where NumPy takes them
    unseen.
    """
    if array.dtype.kind == "U":
        codes = array.reshape(-1).view(np.dtype("u4").newbyteorder(array.dtype.byteorder))
        if ((codes > LAST_CODE) | ((codes >= SURROGATES[0]) & (codes <= SURROGATES[1]))).any():
            raise DataFormatError(f"{name} holds text that is not Unicode")
    elif array.dtype.kind == "b" and (array.view(np.uint8) > 1).any():
        raise DataFormatError(f"{name} is of truth values and holds bytes other than 0 and 1")
