"""Kernels are compiled in parallel, and by a single process if CuPy has a cache."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fakecupy
import pytest

from mlpx.engines.cuda import kernels
from mlpx.engines.cuda.kernels import Compiled, compile_all, compiled
from mlpx.engines.cuda.launches import FILES
from mlpx.files import held

HOLD = """
import sys, time
from pathlib import Path
from mlpx.files import held
with held(Path(sys.argv[1]), wait_s=0.0) as alone:
    print(alone, flush=True)
    time.sleep(60)
"""


class Backend:
    """A backend whose modules are compiled by calling `compile`."""

    def __init__(self, compile: Any, *, index: int = 0) -> None:
        made = SimpleNamespace(compile=compile)
        self.xp = SimpleNamespace(cuda=fakecupy.cupy.cuda, RawModule=lambda **_: made)
        self.index = index


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CuPy's cache folder, which CuPy creates when it first writes to it."""
    folder = tmp_path / "not" / "there yet"
    monkeypatch.setenv("CUPY_CACHE_DIR", str(folder))
    monkeypatch.delenv("CUPY_CACHE_IN_MEMORY", raising=False)
    return folder


def test_files_are_compiled_all_at_a_time(cache: Path) -> None:
    together, devices = threading.Barrier(len(FILES)), list[int]()

    def compile() -> None:
        devices.append(fakecupy.cupy.machine.current)
        together.wait(timeout=30)

    with fakecupy.installed(devices=2):
        backend = Backend(compile, index=1)
        found = compile_all(backend)
        assert list(found) == list(FILES)
        assert [each.error for each in found.values()] == [None] * len(FILES)
        assert all(each.seconds > 0 for each in found.values())
        assert devices == [1] * len(FILES)
        assert compile_all(backend) == {}


def test_errors_are_of_their_file(cache: Path) -> None:
    calls: list[None] = []

    def compile() -> None:
        calls.append(None)
        if len(calls) == 1:
            raise RuntimeError("no such architecture")

    with fakecupy.installed():
        backend = Backend(compile)
        found = compile_all(backend, ["layers.cu"])
        assert str(found["layers.cu"].error) == "no such architecture"
        again = compile_all(backend, ["layers.cu"])  # it was not kept
    assert again == {"layers.cu": Compiled(again["layers.cu"].seconds, None)}


def disk(place: Path, compilations: list[str]) -> Any:
    """A function that compiles unless it is cached already, like CuPy."""

    def compile() -> None:
        if not place.exists():
            time.sleep(0.1)
            compilations.append(threading.current_thread().name)
            place.write_text("a kernel")

    return compile


def at_a_time(count: int, compile: Any) -> None:
    """Compile the same file in `count` threads, each with a backend of its own."""
    with fakecupy.installed():
        wanted = [
            threading.Thread(target=compiled, args=(Backend(compile), "layers.cu"))
            for _ in range(count)
        ]
        for thread in wanted:
            thread.start()
        for thread in wanted:
            thread.join()


def test_processes_that_start_together_compile_once(cache: Path) -> None:
    compilations: list[str] = []
    at_a_time(4, disk(cache / "kernel", compilations))
    assert len(compilations) == 1


def test_without_a_folder_each_compiles(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.mkdir(parents=True)
    (cache / "file").touch()
    monkeypatch.setenv("CUPY_CACHE_DIR", str(cache / "file" / "none"))
    compilations: list[str] = []
    at_a_time(2, disk(cache / "kernel", compilations))
    assert len(compilations) == 2


def test_nobody_waits_for_what_is_not_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUPY_CACHE_IN_MEMORY", "1")
    together = threading.Barrier(3)
    at_a_time(3, lambda: together.wait(timeout=30))


def test_the_folder_is_cupys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUPY_CACHE_DIR", raising=False)
    assert kernels.cache_folder() == Path("~/.cupy/kernel_cache").expanduser()


@pytest.mark.skipif(sys.platform == "win32", reason="no flock")
def test_a_file_is_held_against_another_process(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    command = [sys.executable, "-c", HOLD, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        assert other.stdout.readline() == "True\n"
        with held(path, wait_s=0.1) as alone:
            assert not alone
        other.kill()
        other.wait()
    with held(path, wait_s=0.0) as alone:
        assert alone
        with held(path, wait_s=0.0) as again:
            assert not again
    with held(path, wait_s=0.0) as alone:
        assert alone


def test_a_file_that_cannot_be_made_is_not_held(tmp_path: Path) -> None:
    with held(tmp_path / "none" / "lock", wait_s=10.0) as alone:
        assert not alone


def test_a_changed_header_is_another_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CuPy's cache is keyed by the text of the file alone."""
    monkeypatch.setattr(kernels, "HERE", tmp_path)
    (tmp_path / "some.cu").write_text("// a kernel\n")
    made = []
    for text in ("one", "two"):
        (tmp_path / "operation.cuh").write_text(text)
        backend = SimpleNamespace(xp=SimpleNamespace(RawModule=lambda **given: given))
        made.append(kernels.module(backend, "some.cu"))
    assert made[0]["code"] != made[1]["code"]
    assert made[0]["code"].endswith("// a kernel\n")
    assert made[0]["options"] == (f"-I{tmp_path}",)
