"""The tests that run on a device where there is one; each failure is a row as soon as it is known.

They have a limit of their own, below the section's: what hangs costs only what is behind it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from gpu.harness import end
from gpu.pytest_lines import FILE
from gpu.section import Row, Setup

ROOT = Path(__file__).resolve().parents[2]
LIMIT_S = 66.0
"""All tests together."""
PROCESSES = min(6, os.cpu_count() or 1)
MOST_ROWS = 40
"""So many failures have a row; after an illegal address every later test of a process fails."""
PAUSE_S = 0.05
SLOWEST = 5


class Chosen(NamedTuple):
    """Some of the tests of some files."""

    name: str
    files: tuple[str, ...]
    wanted: str


RUNS = (
    Chosen("devices", ("tests/backend/test_devices.py",), "cuda and not fake"),
    Chosen(
        "what is known of CuPy and cublasLt",
        (
            "tests/backend/test_diagnosis.py",
            "tests/engines/cuda/test_fakecupy.py",
            "tests/engines/cuda/test_cublaslt.py",
        ),
        "test_this_machine or test_record_agrees_with_cupy or are_cupys or test_data_types"
        " or takes_our_descriptions",
    ),
)
QUICK = (Chosen("quick", ("tests/backend/test_devices.py",), "test_weights"),)


def run(setup: Setup) -> Iterator[Row]:
    deadline = time.monotonic() + LIMIT_S
    for tests in QUICK if setup.quick else RUNS:
        try:
            yield from watch(tests, deadline, setup)
        except Exception as error:  # of starting pytest; the other run may start
            why = f"{type(error).__name__}: {error}"
            yield {"what": "tests", "run": tests.name, "passed": False, "why": why}


def watch(tests: Chosen, deadline: float, setup: Setup) -> Iterator[Row]:
    """The failures of a run as they come, then what all of it came to."""
    tally, started = Tally(tests.name), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        lines, said = Path(folder) / "lines.jsonl", Path(folder) / "said.txt"
        lines.touch()
        with said.open("wb") as output, lines.open() as log:
            process = subprocess.Popen(
                command(tests), cwd=ROOT, env=environment(lines), stdout=output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                status = None
                while status is None and time.monotonic() < deadline:
                    time.sleep(PAUSE_S)
                    status = process.poll()  # before reading: what is written by then is read
                    yield from filter(None, map(tally.take, complete(log)))
            finally:
                end(process)
        tail = said.read_text(errors="replace")[-1500:]
    row = tally.row(status, quick=setup.quick)
    row |= {"seconds": time.monotonic() - started, "processes": PROCESSES if shared() else 1}
    yield row | ({} if row["passed"] else {"said": tail})


def command(tests: Chosen) -> list[str]:
    """Only the plugins that are named: others may warn, and warnings are errors here."""
    given = [sys.executable, "-m", "pytest", *tests.files, "-k", tests.wanted, "-q", "--tb=short"]
    given += ["-p", "no:cacheprovider", "-p", "gpu.pytest_lines"]
    return [*given, *(["-p", "xdist.plugin", "-n", str(PROCESSES)] if shared() else [])]


def shared() -> bool:
    """Whether several processes can share the tests."""
    return find_spec("xdist") is not None


def environment(lines: Path) -> dict[str, str]:
    paths = [str(ROOT / "src"), str(ROOT / "bench"), os.environ.get("PYTHONPATH", "")]
    # Started by a test, this is no worker of the tests that started it.
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_XDIST")}
    return kept | {
        FILE: str(lines),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    }


def complete(log: Any) -> Iterator[dict[str, Any]]:
    """The lines that are whole by now, from where the last reading ended."""
    while True:
        at = log.tell()
        text = log.readline()
        if not text.endswith("\n"):
            log.seek(at)
            return
        yield json.loads(text)


class Tally:
    """What became of the tests so far."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outcomes: dict[str, str] = {}
        self.skips: Counter[str] = Counter()
        self.seconds: dict[str, float] = {}
        self.begun: set[str] = set()

    def take(self, line: dict[str, Any]) -> Row | None:
        """One line; a row if it is of a failure, the first of its test."""
        test, outcome = line["test"], line.get("outcome")
        if outcome is None:
            self.begun.add(test)
            return None
        first = self.outcomes.get(test) != "failed"
        if first:
            self.outcomes[test] = outcome
        self.seconds[test] = self.seconds.get(test, 0.0) + line["seconds"]
        if outcome == "skipped":
            self.skips[line["why"]] += 1
        if outcome != "failed" or not first or self.count("failed") > MOST_ROWS:
            return None
        kept = ("test", "worker", "seconds", "why", "text")
        row = {"what": "a test", "passed": False, "run": self.name}
        return row | {name: line[name] for name in kept if name in line}

    def count(self, outcome: str) -> int:
        return list(self.outcomes.values()).count(outcome)

    def row(self, status: int | None, *, quick: bool) -> Row:
        """All of a run, which ended with this status, None if it had to be stopped."""
        slowest = sorted(self.seconds, key=self.seconds.__getitem__, reverse=True)[:SLOWEST]
        why = self.wrong(status, quick=quick)
        row: Row = {"what": "tests", "run": self.name, "passed": not why, "exit_status": status}
        outcomes = ("passed", "failed", "skipped")
        row["counts"] = {outcome: self.count(outcome) for outcome in outcomes}
        row |= {"skips": dict(self.skips), "slowest": {t: self.seconds[t] for t in slowest}}
        return row | ({"why": why} if why else {})

    def wrong(self, status: int | None, *, quick: bool) -> str:
        """Why a run has not passed; empty if it has."""
        if status is None:
            unfinished = sorted(self.begun - set(self.outcomes))
            return f"stopped after {LIMIT_S:.0f} s, at {', '.join(unfinished[:PROCESSES])}"
        if self.count("failed"):
            return f"{self.count('failed')} tests failed"
        if status:
            return f"pytest ended with status {status}"
        lacking = sum(n for why, n in self.skips.items() if why.startswith("no GPU"))
        if lacking and not quick:
            return f"{lacking} tests found no GPU"
        return "" if self.count("passed") else "no test passed"
