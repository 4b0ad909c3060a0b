"""Runs tests against a copy of the tree: in a forked process of its own session, never as root,
with limits on time, memory and files.
"""

from __future__ import annotations

import importlib
import json
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
from typing import Any

import pytest

NOBODY = "65534"
READ_ONLY = "-all,+dac_read_search"  # Python itself may lie where only root can read
MEMORY, FILE_SIZE = 8 * 2**30, 256 * 2**20  # bytes
WARM = ("numpy", "hypothesis", "mpmath", "scipy.optimize", "scipy.special", "safetensors.numpy")
COPIED = ("src", "tests", "pyproject.toml")


def warm_up() -> None:
    """Import what every trial needs, before forking; mlpx stays out."""
    for name in WARM:
        with suppress(ImportError):
            importlib.import_module(name)


def become_nobody(arguments: list[str]) -> None:
    """Start again as nobody if we are root: a mutant may write to any path, devices too."""
    if os.geteuid() != 0:
        return
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        sys.exit("run this as an ordinary user, or install setpriv (util-linux)")
    users = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
    rights = [f"--{kind}={READ_ONLY}" for kind in ("inh-caps", "ambient-caps", "bounding-set")]
    os.execv(setpriv, [setpriv, *users, *rights, sys.executable, *arguments])


def copy_tree(root: Path, folder: Path) -> None:
    """A copy of what the tests need."""
    for name in COPIED:
        if (root / name).is_dir():
            # Without the native library, so that the array kernels run and not their C twins.
            ignore = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.so")
            shutil.copytree(root / name, folder / name, ignore=ignore)
        else:
            shutil.copy(root / name, folder / name)
    (folder / "home").mkdir()


class Calls:
    """Plugin: writes for each test how long it took and which functions below `under` it called."""

    def __init__(self, folder: Path, under: Iterable[str]) -> None:
        self.prefixes = tuple(str(folder / place) for place in under)
        self.cut = len(str(folder)) + 1
        self.found: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        seen: set[tuple[str, int]] = set()

        def trace(frame: Any, event: str, _: Any) -> None:
            code = frame.f_code
            if code.co_filename.startswith(self.prefixes):
                seen.add((code.co_filename[self.cut :], code.co_firstlineno))

        start = time.perf_counter()
        sys.settrace(trace)
        try:
            return (yield)
        finally:
            sys.settrace(None)
            duration = time.perf_counter() - start
            self.found[item.nodeid] = {"s": duration, "calls": sorted(seen)}

    def pytest_sessionfinish(self) -> None:
        Path("calls.json").write_text(json.dumps(self.found), encoding="utf-8")


class Chosen:
    """Plugin: runs the chosen tests only, in their order."""

    def __init__(self, names: list[str]) -> None:
        self.order = {name: i for i, name in enumerate(names)}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        items[:] = [item for item in items if item.nodeid in self.order]
        items.sort(key=lambda item: self.order[item.nodeid])


class Trial:
    """One run of pytest in the copy `folder`, under way."""

    def __init__(self, folder: Path, plugin: Any, files: Iterable[str], *, limit_s: float) -> None:
        self.end = time.monotonic() + limit_s
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            code = 70
            try:
                _confine(folder, limit_s)
                baseline = isinstance(plugin, Calls)
                sys.dont_write_bytecode = not baseline  # a mutant's would be taken for the next's
                code = _pytest(plugin, list(files), stop=not baseline)
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
        return "survived" if os.waitstatus_to_exitcode(status) in (0, 5) else "killed"


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
    os.environ["PYTHONPATH"] = sys.path[0] = str(folder / "src")


def _pytest(plugin: Any, files: list[str], *, stop: bool) -> int:
    """pytest's exit code, 1 if it cannot even start."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "not slow", "--hypothesis-seed=0", "--tb=line"]
    options += ["-W", "ignore:Module already imported:pytest.PytestAssertRewriteWarning"]
    if stop:
        options += ["-x", "-p", "no:faulthandler"]
    try:
        return int(pytest.main([*options, *files], plugins=[plugin]))
    except BaseException:  # a mutant may raise anything, at import too
        traceback.print_exc()
        return 1
