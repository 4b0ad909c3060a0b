"""A plugin of pytest, ``-p gpu.pytest_lines``: what becomes of each test, at once, as JSON lines in
the file that MLPX_TEST_LINES names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

FILE = "MLPX_TEST_LINES"
TEXT = 800
"""Characters that are kept of an error."""


def write(**line: Any) -> None:
    """One line more. Of processes that share the tests, only the one that gathers them writes."""
    path = os.environ.get(FILE)
    if path and "PYTEST_XDIST_WORKER" not in os.environ:
        with Path(path).open("a") as file:
            file.write(json.dumps(line) + "\n")


def pytest_runtest_logstart(nodeid: str) -> None:
    write(event="start", test=nodeid)


def pytest_runtest_logreport(report: Any) -> None:
    if report.when == "call" or report.outcome != "passed":
        write(event="report", **told(report), seconds=report.duration)


def pytest_collectreport(report: Any) -> None:
    if report.outcome != "passed":
        write(event="report", **told(report), seconds=0.0)


def told(report: Any) -> dict[str, Any]:
    """Which test, how it ended, and the error's first line and more of it."""
    found = {"test": report.nodeid, "outcome": report.outcome}
    worker = getattr(report, "worker_id", None)
    if worker:
        found["worker"] = worker
    if report.outcome != "passed":
        text = message(report.longrepr)
        found |= {"why": text.partition("\n")[0], "text": text[:TEXT]}
    return found


def message(longrepr: Any) -> str:
    """What an error or a skip says, without where."""
    if isinstance(longrepr, tuple):
        return str(longrepr[-1]).removeprefix("Skipped: ")
    crash = getattr(longrepr, "reprcrash", None)
    return str(crash.message if crash else longrepr).strip()
