"""Which compiled library is used, and the note if it cannot start threads."""

from __future__ import annotations

import ctypes
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from mlpx.engines.native import library
from mlpx.errors import EngineError

HERE = library.HERE
read = library.load.__wrapped__
needs_library = pytest.mark.skipif(library.load() is None, reason="the library was not built")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder in which the library is looked for."""
    monkeypatch.setattr(library, "HERE", tmp_path)
    return tmp_path


def somebody_elses() -> Path:
    """A library without our functions."""
    import _ctypes

    return Path(_ctypes.__file__)


def test_files_that_are_not_the_library_are_passed_over(folder: Path) -> None:
    assert read() is None
    (folder / "_native.1.so").write_text("cut off")
    shutil.copy(somebody_elses(), folder / "_native.2.so")
    assert read() is None


@needs_library
def test_the_one_that_fits_is_found_behind_others(folder: Path) -> None:
    (folder / "_native.1.so").write_text("cut off")
    (own,) = HERE.glob("_native*.so")
    shutil.copy(own, folder / "_native.2.so")
    found = read()
    assert found is not None
    assert Path(found._name) == folder / "_native.2.so"


@needs_library
def test_one_of_another_version_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    class Longer(ctypes.Structure):
        _fields_ = (*library.Op._fields_, ("more", ctypes.c_int64))

    monkeypatch.setattr(library, "Op", Longer)
    assert read() is None


def test_threads_that_do_not_start_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(library, "load", lambda: SimpleNamespace(mlpx_pool=lambda count: None))
    with pytest.raises(EngineError, match="cannot start 4000 threads"):
        library.Pool(4000)
