"""A user's own data set: NumPy arrays in one ``.npz``."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from mlpx.data.record import Dataset, check_pair, rows
from mlpx.errors import DataFormatError, DataNotFoundError
from mlpx.types import Array

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
    """The data set in ``path``: x_train, y_train and, if they are there, x_test, y_test.

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
        with open(path, "rb") as file:  # opened here, so that it is closed when load refuses it
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise DataFormatError(f"{path} holds a single array; wanted an .npz archive")
            with archive:
                keys = _npz_keys(path, set(archive.files))
                return {key: _npz_array(path, archive, key) for key in keys}
    except FileNotFoundError as error:
        raise DataNotFoundError(f"{path}: no such file") from error
    except DataFormatError:
        raise
    except UNREADABLE as error:
        raise DataFormatError(f"{path} is not a readable .npz archive: {error}") from error


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
    try:
        return archive[key]
    except ValueError as error:
        if "allow_pickle" not in str(error):
            raise
        raise DataFormatError(
            f"{path}: {key} is an array of Python objects, which could run code when read; "
            "save it as numbers: np.savez(..., x_train=x.astype('float32'))"
        ) from error
