"""Whatever a system call of a checkpoint does, and wherever the process dies, nothing is lost.

faults.c, preloaded, stands between the process and the C library. One run that only counts lists
the calls on the run's folder; then the fault is put into each of them in turn.
"""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mortal import (
    FAIL,
    KEEP_FAILING,
    KILL_AFTER,
    KILL_BEFORE,
    KILL_HALFWAY,
    WRITE_HALF,
    Death,
    Order,
    Server,
    check_committed,
    server,
    what_is_left,
)

if sys.platform != "linux":
    pytest.skip("LD_PRELOAD is Linux's", allow_module_level=True)
pytestmark = pytest.mark.xdist_group("system calls")

SOURCE = Path(__file__).resolve().parents[1] / "support" / "faults.c"
TRAINING = "native/epoch/3"
FAULTS = {
    "killed before": (KILL_BEFORE, 0),
    "killed halfway": (KILL_HALFWAY, 0),
    "killed after": (KILL_AFTER, 0),
    "short write": (WRITE_HALF, 0),
    "disk full": (FAIL, errno.ENOSPC),
    "disk broken": (FAIL, errno.EIO),
    "interrupted": (FAIL, errno.EINTR),
}
SOME = {
    "killed halfway": ("write",),
    "short write": ("write",),
    "killed after": ("rename", "unlink"),
}
"""Faults that differ from the others in these calls only."""


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The compiled library."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        pytest.skip("no C compiler")
    built = tmp_path_factory.mktemp("faults") / "faults.so"
    command = [compiler, "-O1", "-Wall", "-Werror", "-shared", "-fPIC", SOURCE, "-o", built, "-ldl"]
    subprocess.run(command, check=True)
    return built


@pytest.fixture(scope="module")
def processes(faults: Path) -> Iterator[Server]:
    with server(faults) as running:
        yield running


class Scenario:
    """A run that begins, or one that goes on where another was killed, and what it calls."""

    def __init__(self, processes: Server, folder: Path, *, killed_at: int = 0) -> None:
        self.processes, self.folder = processes, folder
        folder.mkdir()
        whole = self.order("whole")
        self.wanted = self.left(whole, self.run(whole))
        if killed_at:
            assert self.run(self.order("trial"), killed_at, KILL_BEFORE).killed
            (folder / "trial").rename(folder / "start")
        self.counted = self.run(self.begun())

    def order(self, name: str) -> Order:
        folder = self.folder / name
        return Order(TRAINING, str(folder / "run"), str(folder / "log.csv"), counted=True)

    def begun(self) -> Order:
        """The place of another trial: the same, as a log is known by it before the first epoch."""
        folder, start = self.folder / "trial", self.folder / "start"
        shutil.rmtree(folder, ignore_errors=True)
        if start.exists():
            shutil.copytree(start, folder)
        else:
            folder.mkdir()
        return self.order("trial")

    def run(self, order: Order, call: int = 0, what: int = 0, error: int = 0) -> Death:
        Path(order.log).parent.mkdir(exist_ok=True)
        return self.processes.run(replace(order, call=call, what=what, error=error))

    def left(self, order: Order, death: Death) -> dict[str, Any]:
        return what_is_left(Path(order.folder), Path(order.log), death)

    @property
    def calls(self) -> list[str]:
        return self.counted.calls

    def try_fault(self, call: int, what: int, error: int) -> Death:
        """Put the fault into that call; resume; compare."""
        order = self.begun()
        death = self.run(order, call, what, error)
        check_committed(Path(order.folder), death)
        if what in (KILL_BEFORE, KILL_HALFWAY, KILL_AFTER):
            assert death.killed, death
        elif death.status == 0:
            assert {**death.end, "warnings": []}.items() <= self.wanted.items()
        resumed = self.run(order)
        assert self.left(order, resumed) == self.wanted
        return death


@pytest.fixture(scope="module")
def begins(processes: Server, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    return Scenario(processes, tmp_path_factory.mktemp("begins") / "trials")


@pytest.fixture(scope="module")
def goes_on(begins: Scenario, tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """Killed in the middle of its second checkpoint: a part of it is left, and its owner's name."""
    folder = tmp_path_factory.mktemp("goes on") / "trials"
    renames = [i for i, call in enumerate(begins.calls, 1) if call == "rename"]
    found = Scenario(begins.processes, folder, killed_at=renames[4])
    left = sorted(path.name.split(".")[0] for path in (folder / "start" / "run").iterdir())
    assert left == ["", "best", *[f"checkpoint-00000{i}" for i in (1, 2, 3)]]
    return found


COMMIT = ["open", "write", "fsync", "close", "rename", "open", "fsync"]
"""Beside, on the disk, under its name, the name on the disk."""


def test_the_order_of_the_calls(begins: Scenario) -> None:
    """The rename comes when the file is on the disk, and what is older goes when its name is.

    A kill cannot show this, as the system still has what was written; a crash of the machine would.
    """
    best_and_checkpoint = [*COMMIT, *COMMIT]
    assert begins.calls[before_writing(begins) :] == [
        *COMMIT, "unlink", *best_and_checkpoint, *best_and_checkpoint, "unlink",
        *best_and_checkpoint, "unlink", "unlink", "rmdir",
    ]  # fmt: skip
    assert begins.counted.committed == [
        "checkpoint-000001.safetensors",
        *[n for i in (2, 3, 4) for n in ("best.safetensors", f"checkpoint-00000{i}.safetensors")],
    ]


def before_writing(scenario: Scenario) -> int:
    """How many calls make the folder, lock it, and see that it can be written."""
    calls = scenario.calls
    return next(n for n in range(len(calls)) if calls[n : n + len(COMMIT)] == COMMIT)


def one_commit(scenario: Scenario) -> range:
    """The calls of one commit in the middle of the run, with the removal of an older checkpoint."""
    first = before_writing(scenario) + 3 * len(COMMIT) + 1
    return range(first + 1, first + 2 * len(COMMIT) + 2)


def try_each(scenario: Scenario, calls: range, fault: str) -> list[tuple[str, Death]]:
    """The fault in each of those calls that it is for."""
    what, error = FAULTS[fault]
    kinds = [(n, scenario.calls[n - 1]) for n in calls]
    some = SOME.get(fault)
    return [
        (kind, scenario.try_fault(n, what, error)) for n, kind in kinds if not some or kind in some
    ]


@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_of_a_commit(fault: str, begins: Scenario) -> None:
    tried = try_each(begins, one_commit(begins), fault)
    assert tried
    for kind, death in tried:
        if death.killed:
            continue
        told = death.end["warnings"]
        if fault == "short write" or kind == "unlink":
            assert told == []
        elif fault == "interrupted":  # Python repeats most calls itself
            assert len(told) <= 1
        else:
            (text,) = told
            assert text.endswith("training goes on, and the next one is tried when due")


@pytest.mark.parametrize("call", [1, 10, 16])
def test_a_disk_that_stays_full(call: int, begins: Scenario) -> None:
    """It is told once, and that the end is not kept; with room again the run is resumed."""
    death = begins.try_fault(before_writing(begins) + call, KEEP_FAILING, errno.ENOSPC)
    first, last = death.end["warnings"]
    assert "No space left on device; training goes on" in first
    assert last.endswith("No space left on device; the end of the run is not kept")


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["begins", "goes_on"])
@pytest.mark.parametrize("fault", FAULTS)
def test_every_call_of_a_run(fault: str, scenario: str, request: pytest.FixtureRequest) -> None:
    """From the folder's creation and the lock to the last unlink."""
    found: Scenario = request.getfixturevalue(scenario)
    for kind, death in try_each(found, range(1, len(found.calls) + 1), fault):
        if death.status == 1:  # refused before it began
            assert kind in ("mkdir", "open", "close"), death.lines
            assert len(death.committed) == 0
        elif not death.killed:
            assert len(death.end["warnings"]) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["begins", "goes_on"])
def test_a_disk_that_stays_broken(scenario: str, request: pytest.FixtureRequest) -> None:
    found: Scenario = request.getfixturevalue(scenario)
    for call in range(1, len(found.calls) + 1):
        for error in (errno.ENOSPC, errno.EIO):
            death = found.try_fault(call, KEEP_FAILING, error)
            assert death.status == 1 or len(death.end["warnings"]) <= 3
