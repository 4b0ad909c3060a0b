"""What CuPy compiles, kept from one call on a machine to the next, and what sections inherit."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ARCHIVE = "kernel-cache.tar.gz"


class Kernels:
    """The folder of CuPy's cache, and the archive in which it travels."""

    def __init__(self, folder: Path, archive: Path) -> None:
        self.folder, self.archive = folder, archive
        self.packed: set[str] = set()

    def names(self) -> set[str]:
        return {path.name for path in self.folder.glob("*")}

    def pack(self) -> None:
        """All that was compiled so far, if that is more than was packed. A failure costs only the
        time to compile it again, and is told.
        """
        names = self.names()
        if names <= self.packed:
            return
        partial = self.archive.with_suffix(".part")
        try:
            with tarfile.open(partial, "w:gz") as file:
                file.add(self.folder, arcname=".")
            partial.replace(self.archive)
            self.packed = names
        except OSError as error:
            print(f"the kernel cache is not packed: {error}", flush=True)


@contextmanager
def kernels(given: Path | None, out: Path) -> Iterator[Kernels]:
    """The cache of this run: $CUPY_CACHE_DIR, or a folder of its own that is removed afterwards."""
    named = os.environ.get("CUPY_CACHE_DIR")
    folder = Path(named or tempfile.mkdtemp(prefix="mlpx-kernels-"))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if given is not None:
            print(unpack(given, folder), flush=True)
        yield Kernels(folder, out / ARCHIVE)
    finally:
        if not named:
            shutil.rmtree(folder, ignore_errors=True)


def unpack(archive: Path, folder: Path) -> str:
    """Puts an earlier cache into the folder; says what came of it."""
    try:
        with tarfile.open(archive) as file:
            file.extractall(folder, filter="data")
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        return f"no kernels from {archive}: {error}; they are compiled anew"
    return f"{len(list(folder.glob('*.cubin')))} kernels from {archive}"


def environment(folder: Path) -> dict[str, str]:
    """The variables of the sections."""
    paths = [str(ROOT / "src"), str(ROOT / "bench"), *filter(None, [os.environ.get("PYTHONPATH")])]
    found = os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "CUPY_CACHE_DIR": str(folder),
    }
    found.pop("MLPX_DEVICE", None)
    return found
