"""A user's own data set: NumPy arrays in one ``.npz``."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from mlpx.data.record import Dataset, check_pair, rows
from mlpx.errors import DataFormatError, DataNotFoundError
from mlpx.types import Array

ARCHIVE, SINGLE = b"PK", b"\x93NUMPY"
WANTED = {
    ARCHIVE: "an .npz archive, as numpy.savez writes it",
    SINGLE: "an array of numbers, as numpy.save writes it",
}
# RuntimeError: an encrypted member, or a compression that zipfile does not know;
# MemoryError: a header that declares more than there is
UNREADABLE = (
    OSError,
    EOFError,
    ValueError,
    RuntimeError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)


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
        with open(path, "rb") as file:
            refuse_foreign(file, str(path), wanted=ARCHIVE)
            with np.load(file, allow_pickle=False) as archive:
                keys = _npz_keys(path, set(archive.files))
                return {key: _npz_array(path, archive, key) for key in keys}
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: no such file") from error
    except DataFormatError:
        raise
    except UNREADABLE as error:
        raise DataFormatError(f"{path} is not a readable .npz archive: {error}") from error


def refuse_foreign(file: IO[bytes], name: str, *, wanted: bytes) -> None:
    """Raise DataFormatError unless `file` begins like `wanted`, ARCHIVE or SINGLE.

    An array that could run code when read is refused, too.
    """
    head = file.read(len(SINGLE))
    file.seek(0)
    if not head.startswith(wanted):
        raise DataFormatError(f"{name} {_looks(head)}; wanted {WANTED[wanted]}")
    if wanted == SINGLE:
        shape, dtype = _described(file)
        file.seek(0)
        if dtype.hasobject:
            raise DataFormatError(
                f"{name} is an array of Python objects, shape {shape}, which could run code when "
                "read; save numbers or text instead: array.astype('float32') or array.astype(str)"
            )


def _looks(head: bytes) -> str:
    """What a file with these first bytes is."""
    if head.startswith(SINGLE):
        return "holds a single array (.npy)"
    if head.startswith(ARCHIVE):
        return "is an archive of arrays (.npz)"
    if head.startswith(b"\x80"):
        return "is a pickle, which could run code when read"
    return f"begins with {head!r}, as no file of NumPy's does" if head else "is empty"


def _described(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and dtype in the header of an array's file."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_2_0
    if version == (1, 0):
        read = np.lib.format.read_array_header_1_0
    shape, _, dtype = read(file)
    return shape, dtype


def _npz_keys(path: Path, present: set[str]) -> list[str]:
    keys = ["x_train", "y_train"]
    if present & {"x_test", "y_test"}:
        keys += ["x_test", "y_test"]
    missing = [key for key in keys if key not in present]
    if missing:
        raise DataFormatError(
            f"{path} has no {' and no '.join(missing)}; it holds {', '.join(sorted(present))}; "
            "wanted x_train, y_train and, if there is a test part, x_test and y_test"
        )
    return keys


def _npz_array(path: Path, archive: np.lib.npyio.NpzFile, key: str) -> Array:
    members = archive.zip
    assert members is not None  # it is open
    with members.open(key if key in members.namelist() else f"{key}.npy") as file:
        refuse_foreign(file, f"{path}: {key}", wanted=SINGLE)
    return archive[key]
