from __future__ import annotations

import pickle
import zipfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mlpx.data import load_dataset
from mlpx.errors import DataFormatError, DataNotFoundError


def save(folder: Path, **arrays) -> Path:
    np.savez_compressed(folder / "my.npz", **arrays)
    return folder / "my.npz"


def test_npz_without_a_test_part(tmp_path):
    x, y = np.ones((4, 3), np.float32), np.array([0.5, 1, 2, 3])
    data = load_dataset(str(save(tmp_path, x_train=x, y_train=y, more=x)))
    assert (data.name, data.x_train.dtype, data.x_train.shape) == ("my", np.float32, (4, 3))
    assert data.y_train.tolist() == [0.5, 1, 2, 3]
    assert (data.x_test, data.y_test, data.class_names, data.image_shape) == (None,) * 4
    assert data.scale == 1.0


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_either_version_of_numpys_header_is_read(version, tmp_path):
    x = np.arange(12.0).reshape(4, 3)
    with zipfile.ZipFile(tmp_path / "my.npz", "w") as archive:
        for name, array in (("x_train", x), ("y_train", np.arange(4))):
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, version=version)
    data = load_dataset(tmp_path / "my.npz")
    assert data.x_train.tolist() == x.tolist()
    assert data.y_train.tolist() == [0, 1, 2, 3]


def test_npz_of_images(tmp_path):
    x, y = np.arange(24, dtype=np.uint8).reshape(2, 3, 4), np.array([1, 0])
    data = load_dataset(save(tmp_path, x_train=x, y_train=y, x_test=x[1:], y_test=y[1:]))
    assert data.x_train.tolist() == x.reshape(2, 12).tolist()
    assert data.x_test.tolist() == x[1:].reshape(1, 12).tolist()
    assert data.y_test.tolist() == [0]
    assert (data.image_shape, data.scale) == ((3, 4), 1 / 255)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x_train": np.ones((2, 3))}, "has no y_train; it holds x_train;"),
        ({"x": np.ones(2)}, "has no x_train and no y_train; it holds x;"),
        (
            {"x_train": np.ones((2, 3)), "y_train": np.ones(2), "y_test": np.ones(2)},
            "has no x_test",
        ),
        (
            {"x_train": np.array([[1, None]], object), "y_train": np.ones(1)},
            "x_train is an array of Python objects",
        ),
        (
            {"x_train": np.ones((2, 3)), "y_train": np.ones(3)},
            r"x_train has shape \(2, 3\) and y_train \(3,\)",
        ),
        ({"x_train": np.ones(2), "y_train": np.ones(2)}, r"x_train has shape \(2,\)"),
        ({"x_train": np.ones((2, 3)), "y_train": np.float64(1)}, r"y_train \(\)"),
        (
            {
                "x_train": np.ones((2, 3)),
                "y_train": np.ones(2),
                "x_test": np.ones((1, 3)),
                "y_test": np.ones(2),
            },
            r"x_test has shape \(1, 3\) and y_test \(2,\)",
        ),
        (
            {
                "x_train": np.ones((2, 3)),
                "y_train": np.ones(2),
                "x_test": np.ones((1, 4)),
                "y_test": np.ones(1),
            },
            r"x_train and y_train has shape \(3,\) and \(\), one of x_test and y_test \(4,\)",
        ),
    ],
)
def test_npz_refused(tmp_path, arrays, message):
    path = save(tmp_path, **arrays)
    with pytest.raises(DataFormatError, match=message) as caught:
        load_dataset(path)
    assert str(path) in str(caught.value)


HUGE = b"\x93NUMPY\1\0\x76\0" + (
    b"{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776, 1024)}".ljust(117) + b"\n"
)


def with_member(path: Path, content: bytes) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("x_train.npy", "y_train.npy"):
            archive.writestr(name, content)


# Local header of 30 bytes, the name and 20 bytes of extra field: numpy forces zip64
DEFLATE_START = 30 + len("x_train.npy") + 20


def damaged(path: Path, at: int, flip: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= flip
    path.write_bytes(content)


def encrypted(path: Path) -> None:
    """Set the flag of each entry: in its own header and in the directory at the end."""
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        content[content.index(mark) + offset] |= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"x_train,y_train\n1,2\n"),
        lambda path: path.write_bytes(path.read_bytes()[:-30]),
        partial(damaged, at=1000, flip=0xFF),
        partial(damaged, at=DEFLATE_START, flip=0x06),
        encrypted,
        lambda path: (path.unlink(), path.mkdir()),
        partial(with_member, content=b"\x93NUMPY\1"),
        partial(with_member, content=HUGE),
    ],
    ids=[
        "empty",
        "text",
        "truncated",
        "damaged",
        "deflate",
        "encrypted",
        "folder",
        "bad member",
        "huge member",
    ],
)
def test_npz_damaged(tmp_path, spoil):
    path = save(tmp_path, x_train=np.random.default_rng(0).random((50, 8)), y_train=np.ones(50))
    spoil(path)
    with pytest.raises(DataFormatError, match=r"my\.npz"):
        load_dataset(path)


def test_npz_that_is_a_single_array_or_nothing(tmp_path):
    with pytest.raises(DataNotFoundError, match=r"no\.npz: no such file"):
        load_dataset(tmp_path / "no.npz")
    with open(tmp_path / "one.npz", "wb") as file:
        np.save(file, np.ones(3))
    with pytest.raises(DataFormatError, match="holds a single array"):
        load_dataset(tmp_path / "one.npz")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (pickle.dumps([1]), "is a pickle, which could run code when read; wanted an .npz archive"),
        (b"x,y\n1,2\n", r"begins with b'x,y\\n1,', as no file of NumPy's does; wanted an .npz"),
        (b"", "is empty; wanted an .npz archive, as numpy.savez writes it"),
    ],
)
def test_npz_says_what_it_is_instead(tmp_path, content, message):
    (tmp_path / "my.npz").write_bytes(content)
    with pytest.raises(DataFormatError, match=rf"my\.npz {message}") as caught:
        load_dataset(tmp_path / "my.npz")
    assert "allow_pickle" not in str(caught.value)


def test_npz_of_objects_and_of_no_arrays(tmp_path):
    x, y = np.eye(3), np.arange(3)
    path = save(tmp_path, x_train=x, y_train=y.astype(object))
    with pytest.raises(
        DataFormatError, match=r"y_train is an array of Python objects, shape \(3,\)"
    ) as caught:
        load_dataset(path)
    assert "save numbers or text instead: array.astype('float32')" in str(caught.value)
    assert "allow_pickle" not in str(caught.value)
    with_member(path, b"hello world")
    with pytest.raises(DataFormatError, match=r"my\.npz: x_train begins with b'hello '"):
        load_dataset(path)
