"""Data sets by name (``digits``, ``mnist``, ``fashion-mnist``) or from a ``.npz`` of the user.

The table is ``DATASETS``; a new row is located, downloaded, checked and listed without more code.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlpx.data.images import IdxImages, Search
from mlpx.data.npz import load_npz
from mlpx.data.record import Dataset
from mlpx.errors import DataNotFoundError, MissingExtraError, UnknownNameError
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.data.download import Progress

DIGITS_TRAIN = 1437  # of 1797: four fifths
DIGITS_KEY = 0x6D6C7078  # "mlpx"; another key is another split


def load_dataset(
    name: str | os.PathLike[str],
    *,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    mirror: str | None = None,
    progress: Progress | None = None,
) -> Dataset:
    """The data set called ``name``, or the one in the file ``name`` if that ends in ``.npz``.

    Files are searched in ``data_dir``, ``$MLPX_DATA`` and the user's cache
    (``$XDG_CACHE_HOME/mlpx`` or ``~/.cache/mlpx``); in each in a subfolder named like the set,
    then directly; gzip or plain. A file must have the right SHA-256. A missing file is downloaded
    into the cache unless ``download=False``.

    ``mirror``: URL of the folder with the files, in which ``{name}`` stands for the set's name;
    default ``$MLPX_MIRROR``, else a public one. Only http and https.
    ``progress(done_bytes, total_bytes)`` is called during a download.

    A ``.npz`` holds ``x_train``, ``y_train`` and optionally ``x_test``, ``y_test``. Each x of more
    than two dimensions is flattened to (n, d); ``scale`` is 1/255 for uint8 and 1.0 otherwise.

    Raises: UnknownNameError: no such set. DataNotFoundError: missing files.
    DataFormatError: files with the wrong content. DownloadError: see the message.
    MissingExtraError: ``digits`` without scikit-learn.
    """
    if os.fspath(name).endswith(".npz"):
        return load_npz(Path(name))
    loader = DATASETS.get(str(name))
    if loader is None:
        raise UnknownNameError("data set (or path of an .npz file)", name, DATASETS)
    folder = None if data_dir is None else Path(os.path.expanduser(data_dir))
    if folder is not None and not folder.is_dir():
        raise DataNotFoundError(f"data_dir is {str(data_dir)!r}, which is not a folder")
    return loader(str(name), Search(folder, download, mirror, progress))


def _load_digits(name: str, search: Search) -> Dataset:
    """scikit-learn's 1797 images of 8x8, in a fixed shuffle: 1437 to train, 360 to test."""
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        wanted = f"the data set {name!r}"
        raise MissingExtraError("scikit-learn", "sklearn", wanted, error) from error
    bundle = load_digits()
    x, y = bundle.data.astype(np.uint8), bundle.target.astype(np.int64)
    train, test = np.split(digits_order(len(x)), [DIGITS_TRAIN])
    names = tuple(str(digit) for digit in range(10))
    return Dataset(name, x[train], y[train], x[test], y[test], names, (8, 8), 1 / 16)


def digits_order(n: int) -> Array:
    """The fixed shuffle of ``n`` rows: (n,) int64, a permutation.

    The order of raw Philox words, which NumPy promises to keep, unlike its shuffles.
    """
    words = np.random.Philox(key=DIGITS_KEY).random_raw(n)
    return np.argsort(words, kind="stable")


_NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
_BYTES = (47_040_016, 60_008, 7_840_016, 10_008)  # uncompressed, the same in both sets


def _mnist_like(url: str, sums: tuple[str, ...], class_names: tuple[str, ...]) -> IdxImages:
    return IdxImages(url, tuple(zip(_NAMES, sums, _BYTES, strict=True)), class_names)


DATASETS: dict[str, Callable[[str, Search], Dataset]] = {
    "digits": _load_digits,
    "mnist": _mnist_like(
        "https://ossci-datasets.s3.amazonaws.com/mnist",
        (
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
        tuple("0123456789"),
    ),
    "fashion-mnist": _mnist_like(
        # this host has no https; the checksums below vouch for the content
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        (
            "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        ),
        (
            "T-shirt/top",
            "Trouser",
            "Pullover",
            "Dress",
            "Coat",
            "Sandal",
            "Shirt",
            "Sneaker",
            "Bag",
            "Ankle boot",
        ),
    ),
}
"""Name -> its loader, called with the name and a ``Search``."""
