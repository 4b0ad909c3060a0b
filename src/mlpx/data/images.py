"""Data sets of four IDX files: where they are searched, and how missing ones are fetched."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mlpx.data.idx import read_idx
from mlpx.data.record import Dataset, check_pair, rows
from mlpx.errors import DataFormatError, DataNotFoundError, DownloadError
from mlpx.types import Array

if TYPE_CHECKING:  # urllib.request takes longer to import than the rest of this package
    from mlpx.data.download import Progress, RemoteFile


@dataclass(frozen=True)
class Search:
    """Where to look for files, and what to do if they are not there."""

    data_dir: Path | None
    download: bool
    mirror: str | None
    progress: Progress | None = None

    def roots(self) -> list[Path]:
        """Folders to look in, first to last."""
        named = os.environ.get("MLPX_DATA")
        roots = [self.data_dir, Path(os.path.expanduser(named)) if named else None, cache_dir()]
        return [root for root in roots if root is not None]


@dataclass(frozen=True)
class IdxImages:
    """A data set of four IDX files: images and labels, to train and to test."""

    url: str
    files: tuple[tuple[str, str, int], ...]  # x_train, y_train, x_test, y_test
    class_names: tuple[str, ...]
    scale: float = 1 / 255

    def __call__(self, name: str, search: Search) -> Dataset:
        """Find or download the files and read them; images become rows of uint8."""
        x, y, x_test, y_test = _read_files(name, self, search)
        check_pair(name, "train", x, y)
        check_pair(name, "test", x_test, y_test)
        return Dataset(
            name,
            rows(x),
            y.astype(np.int64),
            rows(x_test),
            y_test.astype(np.int64),
            self.class_names,
            x.shape[1:],
            self.scale,
        )


def cache_dir() -> Path | None:
    """Where downloads go: ``$XDG_CACHE_HOME/mlpx``, or ``~/.cache/mlpx``; None without a home."""
    # the XDG specification says to ignore a relative path
    bases = os.environ.get("XDG_CACHE_HOME", ""), os.path.expanduser("~/.cache")
    return next((Path(base) / "mlpx" for base in bases if os.path.isabs(base)), None)


def _read_files(name: str, source: IdxImages, search: Search) -> list[Array]:
    from mlpx.data.download import RemoteFile

    files = [RemoteFile(*each) for each in source.files]
    paths = {file.name: _find(name, file.name, search.roots()) for file in files}
    missing = [file for file in files if paths[file.name] is None]
    if missing and not search.download:
        raise DataNotFoundError(f"{name}: {_how_to_place(name, missing, source, search)}")
    for file in missing:
        try:
            paths[file.name] = _fetch(name, file, source, search)
        except DownloadError as error:
            advice = _how_to_place(name, missing, source, search)
            raise DownloadError(f"{name}: {error}. Without a download: {advice}") from error
    return [_read_checked(name, paths[file.name] or Path(), file.sha256) for file in files]


def _find(name: str, filename: str, roots: list[Path]) -> Path | None:
    stem = filename.removesuffix(".gz")
    for root in roots:
        for folder in (root / name, root):
            for candidate in (folder / f"{stem}.gz", folder / stem):
                if candidate.is_file():
                    return candidate
    return None


def _fetch(name: str, file: RemoteFile, source: IdxImages, search: Search) -> Path:
    from mlpx.data.download import download_file

    url, cache = f"{_mirror(name, source, search)}/{file.name}", cache_dir()
    if cache is None:
        raise DownloadError(
            "there is no folder for downloads: this user has no home; set XDG_CACHE_HOME to one"
        )
    return download_file(url, cache / name / file.name, wanted=file, progress=search.progress)


def _mirror(name: str, source: IdxImages, search: Search) -> str:
    base = search.mirror or os.environ.get("MLPX_MIRROR") or source.url
    return base.replace("{name}", name).rstrip("/")


def _how_to_place(name: str, missing: list[RemoteFile], source: IdxImages, search: Search) -> str:
    names, roots = ", ".join(file.name for file in missing), search.roots()
    place = roots[0] / name if roots else "a folder, and set MLPX_DATA to it"
    looked = ", ".join(map(str, roots)) or "no folder, as this user has no home"
    return (
        f"put {names} (gzip, or unpacked without .gz) into {place}; "
        f"looked in {looked}{f' and in {name}/ there' if roots else ''}; "
        f"the files are at {_mirror(name, source, search)}/"
    )


def _read_checked(name: str, path: Path, sha256: str) -> Array:
    try:
        return read_idx(path, sha256=sha256)
    except DataFormatError as error:
        raise DataFormatError(
            f"{name}: {error}; remove that file to have it downloaded, "
            f"or if it belongs to another data set, keep each set in a folder of its own ({name}/)"
        ) from error
