"""Files appear whole or not at all, whatever happens while they are written."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from small_training import data, net, quiet

from mlpx import MLP, Adam
from mlpx.errors import CheckpointError
from mlpx.files import allocate, held


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A model file with a past of five steps."""
    model = net(dtype="float32")
    quiet(model, *data(), steps=5, optimizer=Adam(0.01))
    model.save(tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_overwrites_whole_and_leaves_nothing_beside(path: Path) -> None:
    other = net(seed=9)
    other.save(path)
    assert MLP.load(path).flat.tobytes() == other.flat.tobytes()
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("place", ["absent/model", "file/model", "folder", "pipe"])
def test_impossible_places(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a file")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(CheckpointError, match=r"cannot write .*: .+"):
        net().save(tmp_path / place)
    assert (tmp_path / "pipe").is_fifo()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder", "pipe"]


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_existing_file_survives_a_failure(
    call: str, error: BaseException, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = path.read_bytes()

    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr(os, call, fail)
    wanted = CheckpointError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(wanted, match="No space left" if wanted is CheckpointError else None):
        net(seed=9).save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_full_disk(path: Path) -> None:
    """A real limit of the operating system on the size of a file, in a process of its own."""
    before = path.read_bytes()
    code = (
        "import resource, signal, sys; from mlpx import MLP; from mlpx.errors import *\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))\n"
        "try: MLP([100, 100]).save(sys.argv[1])\n"
        "except CheckpointError as error: print(error)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == f"cannot write {path}: File too large"
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_killed_in_mid_write(path: Path) -> None:
    before = path.read_bytes()
    code = (
        "import os, signal, sys; from mlpx import MLP\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "MLP([100, 100]).save(sys.argv[1])\n"
    )
    run = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert run.returncode == -signal.SIGKILL
    assert path.read_bytes() == before
    MLP.load(path)


def test_link_stays_and_its_target_is_replaced(path: Path) -> None:
    link = path.parent / "latest"
    link.symlink_to(path.name)
    other = net(seed=9)
    other.save(link)
    assert link.is_symlink()
    assert MLP.load(path).flat.tobytes() == other.flat.tobytes()


def test_two_writers_do_not_meet(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = []
    replace = os.replace

    def watched(source: Path, target: Path) -> None:
        sources.append(source)
        replace(source, target)

    monkeypatch.setattr(os, "replace", watched)
    for _ in range(2):
        net().save(path)
    assert len(set(sources)) == 2


def test_where_there_are_no_locks_nothing_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with held(tmp_path / "lock", wait_s=60) as got:
        assert not got


@pytest.mark.parametrize("way", ["fallocate", "refused", "absent"])
def test_room_is_taken(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the system cannot do it other than by writing."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if way == "refused":
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    if way == "absent":
        monkeypatch.delattr(os, "posix_fallocate")
    size = (1 << 20) + 4097
    with (tmp_path / "x").open("wb") as file:
        allocate(file, size)
    assert (tmp_path / "x").stat().st_size == size
    assert (tmp_path / "x").stat().st_blocks * 512 >= size
