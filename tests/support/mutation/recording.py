"""A plugin of pytest for the baseline: how long each test works, and coverage of what it starts."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

STARTED, END = pytest.StashKey[float](), pytest.StashKey[float]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--times", help="the file for the seconds of each test")
    parser.addoption("--within", type=float, help="begin no test after so many seconds of work")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Times(Path(config.getoption("--times"))))
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", 0):
        # Only what the tests start is measured so: pytest-cov measures the tests.
        os.environ["COVERAGE_PROCESS_START"] = str(config.rootpath / "pyproject.toml")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> bool | None:
    now = item.stash[STARTED] = busy_s()
    within_s = item.config.getoption("--within")
    end = item.config.stash.setdefault(END, now + (within_s or 0))
    return True if within_s and now > end else None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    report = yield
    report.busy_s = busy_s() - item.stash[STARTED]
    return report


def busy_s() -> float:
    """Seconds on a core, children included: the same on a busy machine."""
    return sum(os.times()[:4])


def without_group(name: str) -> str:
    """A test's name without the @group that pytest-xdist adds."""
    return re.sub(r"@[^]@]*$", "", name)


class Times:
    """Writes the seconds of each test that passed, and which failed."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.seconds: dict[str, float] = {}
        self.outcomes: dict[str, set[str]] = {}

    def pytest_runtest_logreport(self, report: Any) -> None:
        name = without_group(report.nodeid)
        self.seconds[name] = report.busy_s  # until the end of this phase
        self.outcomes.setdefault(name, set()).add(report.outcome)

    def pytest_sessionfinish(self) -> None:
        passed = {n: s for n, s in self.seconds.items() if self.outcomes[n] == {"passed"}}
        failed = [name for name, found in self.outcomes.items() if "failed" in found]
        self.file.write_text(json.dumps({"tests": passed, "failed": failed}), encoding="utf-8")
