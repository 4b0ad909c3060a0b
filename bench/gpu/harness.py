"""Runs the sections of a part: each in a process of its own, with its own limit, on record at once.

A section that crashes, hangs or lacks a tool costs itself and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpu.parts import Part, Section
from gpu.section import Row, Setup

LEAST_S = 2.0
"""A section with less time than that is not begun."""
SAID = 3000
"""Characters that are kept of what a section printed last."""

Line = dict[str, Any]


def run_part(
    name: str, part: Part, setup: Setup, *, lines: Path, double: bool, env: dict[str, str]
) -> list[Line]:
    """Every section of a part in turn; a line of `lines` as each ends."""
    deadline, found = time.monotonic() + part.limit_s, list[Line]()
    for section in part.sections:
        left = deadline - time.monotonic()
        line: Line = {"part": name, "section": section.name, "at": now()}
        if left < LEAST_S:
            line |= {"verdict": "left out", "why": "no time left", "seconds": 0.0, "rows": []}
        else:
            limit_s = min(left, section.limit_s * (20 if double else 1))
            line |= run_section(section, setup, limit_s=limit_s, double=double, env=env)
        found.append(line)
        append(lines, line)
        print(f"{section.name}: {line['verdict']} in {line['seconds']:.0f} s", flush=True)
    return found


def run_section(
    section: Section, setup: Setup, *, limit_s: float, double: bool, env: dict[str, str]
) -> Line:
    """What one section found, and how it ended."""
    with tempfile.TemporaryDirectory() as folder:
        rows, said = Path(folder) / "rows.jsonl", Path(folder) / "said.txt"
        command = [sys.executable, "-m", "gpu.child", section.name, str(rows)]
        command += ["--device", setup.device]
        command += ["--quick"] * setup.quick + ["--double"] * double
        started = time.monotonic()
        with said.open("wb") as output:
            status = wait(command, limit_s, output, env)
        seconds = time.monotonic() - started
        found = read(rows)
        tail = said.read_text(errors="replace")[-SAID:]
    verdict, why = judge(status, found, limit_s)
    line: Line = {"verdict": verdict, "seconds": seconds, "limit_s": limit_s, "rows": found}
    if verdict != "passed":
        line |= {"why": why, "said": tail}
    return line


def wait(command: list[str], limit_s: float, output: Any, env: dict[str, str]) -> int | None:
    """The exit status of a command, None if it was stopped at its limit, with all it started."""
    process = subprocess.Popen(
        command, stdout=output, stderr=subprocess.STDOUT, env=env, start_new_session=True
    )
    try:
        return process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it left running."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def judge(status: int | None, rows: list[Row], limit_s: float) -> tuple[str, str]:
    """The verdict on a section, and why."""
    if status is None:
        return "timed out", f"stopped after {limit_s:.0f} s"
    if status < 0:
        return "crashed", signal.Signals(-status).name
    if status:
        return "crashed", f"exit status {status}"
    wrong = [row for row in rows if row.get("passed") is False]
    if wrong:
        return "failed", f"{len(wrong)} of {len(rows)} rows"
    return ("passed", "") if rows else ("failed", "it found nothing")


def read(rows: Path) -> list[Row]:
    """The rows of a file, without one that was cut off."""
    found = list[Row]()
    for text in rows.read_text().splitlines() if rows.exists() else ():
        try:
            found.append(json.loads(text))
        except ValueError:
            break
    return found


def append(path: Path, line: Line) -> None:
    """A line more in a file, on disk before this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
