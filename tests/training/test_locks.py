"""One process at a time has a folder; who it is is said, and the dead hold nothing."""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from mlpx.errors import InputError
from mlpx.training import locks
from mlpx.training.locks import OWNER, locked

CHILD = """
import os, sys, time
from pathlib import Path
from unittest import mock
from mlpx.training.locks import locked
refuse = mock.Mock(side_effect=OSError)
with mock.patch("fcntl.flock", refuse) if sys.argv[2] == "files" else mock.patch("os.sep"):
    with locked(Path(sys.argv[1])):
        forked = os.fork() if sys.argv[3:] else 0
        if forked or not sys.argv[3:]:
            if sys.argv[3:] == ["ends"]:
                os.wait()
            if sys.argv[3:] != ["stays"]:
                print(forked, flush=True)
            time.sleep(60)
        elif sys.argv[3] == "stays":
            print(os.getpid(), flush=True)  # here: the parent may be faster than its child
            time.sleep(60)
"""
"""Locks a folder; a child that it forks stays, or leaves at once by the end of the `with`."""


@pytest.fixture(params=["the system", "files"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What locks a folder."""

    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if request.param == "files":
        monkeypatch.setattr("fcntl.flock", refuse)
    return str(request.param)


def test_the_second_is_refused(way: str, tmp_path: Path) -> None:
    words = (
        rf"{tmp_path} is in use by process {os.getpid()} on {socket.gethostname()} since "
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}; wait until that ends, or name another folder"
    )
    with locked(tmp_path):
        for _ in range(2):
            with pytest.raises(InputError, match=words), locked(tmp_path):
                pass
        assert (tmp_path / OWNER).exists()
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path):
        pass


def test_a_failure_lets_the_folder_go(way: str, tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), locked(tmp_path):
        _ = 1 / 0
    with locked(tmp_path):
        pass


def test_another_process_and_its_death(way: str, tmp_path: Path) -> None:
    """One that lives is named; one that was killed leaves its name, which counts for nothing."""
    command = [sys.executable, "-c", CHILD, str(tmp_path), way]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        with pytest.raises(InputError, match=f"process {child.pid} on"), locked(tmp_path):
            pass
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert (tmp_path / OWNER).exists()
        with locked(tmp_path):
            assert json.loads((tmp_path / OWNER).read_text())["pid"] == os.getpid()
    assert not (tmp_path / OWNER).exists()


def test_a_forked_child_holds_nothing_when_its_parent_is_killed(way: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), way, "stays"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        forked = int(parent.stdout.readline())
        try:
            with pytest.raises(InputError, match=f"process {parent.pid} on"), locked(tmp_path):
                pass
            parent.send_signal(signal.SIGKILL)
            parent.wait()
            os.kill(forked, 0)  # it is there
            with locked(tmp_path):
                pass
        finally:
            os.kill(forked, signal.SIGKILL)


def test_a_forked_child_that_leaves_does_not_unlock(way: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", CHILD, str(tmp_path), way, "ends"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        parent.stdout.readline()
        try:
            with pytest.raises(InputError, match=f"process {parent.pid} on"), locked(tmp_path):
                pass
        finally:
            parent.kill()


def write(folder: Path, **changes: Any) -> None:
    (folder / OWNER).write_text(json.dumps(locks._ourselves() | changes))


@pytest.mark.parametrize("pid", [0, -1, 2**22 + 1, 2**70, "x", None, [1]])
def test_an_owner_that_never_was(pid: Any, way: str, tmp_path: Path) -> None:
    write(tmp_path, pid=pid)
    with locked(tmp_path):
        pass


def test_a_number_that_the_system_gave_again(way: str, tmp_path: Path) -> None:
    """There is a process of the owner's number, but it began at another time."""
    write(tmp_path, began="0")
    with locked(tmp_path):
        pass


def test_on_another_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it has ended cannot be seen from here: without locks of the system, it counts."""
    write(tmp_path, host="elsewhere", pid=2**22 + 1)
    with locked(tmp_path):
        pass
    write(tmp_path, host="elsewhere", pid=2**22 + 1)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    advice = f"or delete {tmp_path / OWNER} if it has ended"
    with pytest.raises(InputError, match=rf"on elsewhere since .*, {advice}"), locked(tmp_path):
        pass


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "{}", '{"pid": 1}', "[" * 100_000, "\xff"])
def test_a_file_that_says_nothing(text: str, way: str, tmp_path: Path) -> None:
    (tmp_path / OWNER).write_bytes(text.encode("latin-1"))
    with locked(tmp_path):
        if way == "the system":
            (tmp_path / OWNER).write_bytes(text.encode("latin-1"))
            words = "is in use by another training, or is being saved to; wait"
            with pytest.raises(InputError, match=words), locked(tmp_path):
                pass


def test_a_folder_that_cannot_be_written(way: str, tmp_path: Path, monkeypatch: Any) -> None:
    """It is told where the first file fails; here nothing is."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(Path, "open", refuse)
    with locked(tmp_path):
        pass


def test_two_that_come_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both see no owner, and one of them is the first to write."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    look = locks._refuse_owned

    def other_comes(folder: Path) -> None:
        look(folder)
        monkeypatch.setattr(locks, "_refuse_owned", look)
        held.enter_context(locked(tmp_path))

    with ExitStack() as held:
        monkeypatch.setattr(locks, "_refuse_owned", other_comes)
        with pytest.raises(InputError, match="in use by process"), locked(tmp_path):
            pass


def test_a_system_that_tells_nothing_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "fcntl", None)
    monkeypatch.setattr(locks, "_began", lambda pid: "unknown")
    write(tmp_path, pid=2**22 + 1)
    with pytest.raises(InputError, match="if it has ended"), locked(tmp_path):
        pass


def test_a_name_that_cannot_be_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as another user's: the lock of the system says that nobody is there."""
    write(tmp_path, pid=2**22 + 1)
    monkeypatch.setattr(locks, "_remove", lambda path: None)
    with locked(tmp_path):
        pass
