"""Runs tests against a copy of the tree: in a forked process of its own session, never as root,
with limits on time, memory and files.
"""

from __future__ import annotations

import importlib
import os
import resource
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

NOBODY = "65534"
READ_ONLY = "-all,+dac_read_search"  # Python itself may lie where only root can read
MEMORY, FILE_SIZE = 8 * 2**30, 256 * 2**20  # bytes
WARM = ("numpy", "hypothesis", "mpmath", "scipy.optimize", "scipy.special", "safetensors.numpy")
UNCONFINED = "run this as an ordinary user, or install setpriv (util-linux)"
LEFT_OUT = (".git", ".venv", ".baseline", ".hypothesis", ".*_cache", "build", "dist", "runs")
OF_ELSEWHERE = "*-pytest-*.pyc"  # say that they are in the tree they are from, in warnings too


def warm_up() -> None:
    """Import what every trial needs, before forking; mlpx stays out."""
    for name in WARM:
        with suppress(ImportError):
            importlib.import_module(name)


def become_nobody() -> None:
    """Start again as nobody if we are root: a mutant may write to any path, devices too."""
    if os.geteuid() != 0:
        return
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        sys.exit(UNCONFINED)
    users = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    rights = [f"--{kind}={READ_ONLY}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    os.execv(setpriv, [setpriv, *users, *rights, sys.executable, *sys.orig_argv[1:]])


def copy_tree(root: Path, folder: Path) -> None:
    """A copy of what the tests need; with what is compiled, which is not written in a trial."""
    left_out = shutil.ignore_patterns(*LEFT_OUT, OF_ELSEWHERE)
    shutil.copytree(root, folder, ignore=left_out, dirs_exist_ok=True)
    (folder / "home").mkdir()


class Chosen:
    """Plugin: runs the chosen tests only, in their order, and writes down which failed."""

    def __init__(self, names: Iterable[str], failed: Path) -> None:
        self.order = {name: i for i, name in enumerate(names)}
        self.failed = failed

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.order]
        items.sort(key=lambda item: self.order[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.write_text(report.nodeid, encoding="utf-8")


class Trial:
    """One run of pytest in the copy `folder`, under way, until a test fails.

    `limit_s` limits each process's time on a core; waiting, it may last six times as long.
    """

    def __init__(
        self, folder: Path, names: Iterable[str], files: Iterable[str], *, limit_s: float
    ) -> None:
        self.end = time.monotonic() + 6 * limit_s
        self.note = folder / "failed"
        self.note.unlink(missing_ok=True)
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                _confine(folder, limit_s)
                code = _pytest(Chosen(names, self.note), list(files))
            finally:
                os._exit(code)

    def result(self) -> str | None:
        """ "survived", "killed" or "timeout"; None while it runs."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        if pid == 0 and time.monotonic() < self.end:
            return None
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)  # and what it may have started
        if pid == 0:
            os.waitpid(self.pid, 0)
            return "timeout"
        code = os.waitstatus_to_exitcode(status)
        if code in (-signal.SIGXCPU, -signal.SIGKILL):
            return "timeout"
        return "survived" if code in (0, 5) else "killed"

    def failed(self) -> str:
        """The test that failed; empty if it did not come to a test."""
        return self.note.read_text(encoding="utf-8") if self.note.exists() else ""


def _confine(folder: Path, limit_s: float) -> None:
    """Leave nothing within reach but the copy."""
    os.setsid()
    os.chdir(folder)
    nowhere = os.open(os.devnull, os.O_RDWR)
    log = os.open("log", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    for number, to in ((0, nowhere), (1, log), (2, log)):
        os.dup2(to, number)
    for name, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_FSIZE, FILE_SIZE),
        (resource.RLIMIT_CPU, int(limit_s) + 1),
    ):
        resource.setrlimit(name, (value, value))
    home = str(folder / "home")
    os.environ.update(HOME=home, TMPDIR=home, XDG_CACHE_HOME=home, CI="")
    os.environ.update(PYTHONPATH=str(folder / "src"), PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True  # a mutant's would be taken for the next's
    ours = {str(Path(__file__).parent), str(Path(__file__).parents[1])}
    sys.path[:] = [str(folder / "src"), *(path for path in sys.path if path not in ours)]


def _pytest(plugin: Chosen, files: list[str]) -> int:
    """pytest's exit code, 1 if it cannot even start."""
    options = ["-q", "-x", "-p", "no:cacheprovider", "-p", "no:faulthandler", "--tb=line"]
    options += ["-m", "not slow", "--hypothesis-seed=0"]
    options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    try:
        return int(pytest.main([*options, *files], plugins=[plugin]))
    except BaseException:  # a mutant may raise anything, at import too
        traceback.print_exc()
        return 1
