"""Which compiled library is used, and the note if it cannot start threads."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import threading
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
    for _ in range(2):  # the second time too: the first has let go of the pool
        with pytest.raises(EngineError, match="cannot start 4000 threads"), library.pool(4000):
            pass


def test_all_callers_at_once_get_the_same_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that a caller lost would keep its threads until the process ends."""
    made = list[library.Pool]()

    class Slow(library.Pool):
        def __init__(self, threads: int) -> None:
            together.wait()  # all of them find that there is none yet
            super().__init__(threads)

    monkeypatch.setattr(library, "Pool", Slow)
    monkeypatch.setattr(library, "_pools", {})
    together = threading.Barrier(4)
    callers = [
        threading.Thread(target=lambda: made.append(library.pool(3)))  # type: ignore[arg-type]
        for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert len(made) == 4
    assert len({id(pool) for pool in made}) == 1


TOO_MANY = """
import os, resource, time
from mlpx.engines.native import library
from mlpx.errors import EngineError

def begun():
    until_s = time.monotonic() + 5  # one that has been joined may be listed for a moment
    while len(os.listdir("/proc/self/task")) != before and time.monotonic() < until_s:
        time.sleep(0.01)
    return len(os.listdir("/proc/self/task")) - before

library.load()
before = len(os.listdir("/proc/self/task"))
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + (100 << 20), -1))  # room for some stacks, not 200
for _ in range(5):
    try:
        with library.pool(200):
            print("started")
    except EngineError as error:
        print(error, begun())
with library.pool(3) as pool:
    print(pool is not None, len(os.listdir("/proc/self/task")) - before)
"""


@needs_library
@pytest.mark.skipif(sys.platform != "linux", reason="what a process holds is read from /proc")
def test_threads_of_a_pool_that_cannot_be_had_are_ended() -> None:
    try:
        said = subprocess.check_output([sys.executable, "-c", TOO_MANY], text=True)
    except OSError as error:  # under an emulator
        pytest.skip(f"this Python can start no other: {error}")
    *failures, last = said.splitlines()
    told = [line.partition(":")[0] + line[-2:] for line in failures]
    assert (told, last) == (["cannot start 200 threads 0"] * 5, "True 2")
