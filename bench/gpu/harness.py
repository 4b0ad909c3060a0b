"""Runs the sections of a part: each in a process of its own, with its own limit, on record at once.

A section that crashes, hangs or lacks a tool costs itself and nothing else.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from gpu.parts import FIRST, Part, Section
from gpu.section import Row, Setup

ROOT = Path(__file__).resolve().parents[2]
LEAST_S = 2.0
"""A section with less time than that is not begun."""
KILLED_S = 10.0
"""How long to wait for what was killed: a process that waits for a driver may never end."""
MARK = "MLPX_GPU_SECTION"
"""The environment variable by which the processes of a section are known."""
SAID = 3000
"""Characters that are kept of what a section printed last."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Line = dict[str, Any]


class Stop:
    """Knows whether a signal has come: it ends the section that runs, and no other begins."""

    def __init__(self) -> None:
        self.number: int | None = None

    def listen(self) -> None:
        """But for what the shell has it ignore, as nohup does."""
        for each in SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                signal.signal(each, self)

    def __call__(self, number: int, frame: Any) -> None:
        self.number = self.number or number

    @property
    def why(self) -> str:
        return signal.Signals(self.number).name if self.number else ""


class Course(NamedTuple):
    """How sections are run, and where their lines go."""

    setup: Setup
    folder: Path
    env: dict[str, str]
    commit: str = "unknown"
    double: bool = False
    stop: Stop = Stop()


def lines_of(folder: Path, part: str) -> Path:
    """The file with a line for each section of a part that has ended."""
    return folder / f"gpu-check-{part}.jsonl"


def running(folder: Path, part: str, section: str) -> Path:
    """The file with the rows of a section that has not; what it prints lies beside."""
    return folder / f"running-{part}-{section}.jsonl"


def run_part(name: str, part: Part, course: Course) -> Iterator[Line]:
    """Every section of a part in turn; each line is on disk before the next section begins."""
    deadline, hopeless = time.monotonic() + part.limit_s, ""
    for section in part.sections:
        left = deadline - time.monotonic()
        line: Line = {
            "part": name, "section": section.name, "at": now(), "commit": course.commit,
            "quick": course.setup.quick, "rehearsed": course.double,
        }  # fmt: skip
        why = course.stop.why or hopeless or ("no time left" if left < LEAST_S else "")
        if why:
            line |= {"verdict": "left out", "why": why, "seconds": 0.0, "rows": []}
        else:
            line |= run_section(name, section, course, min(left, section.limit_s))
        append(lines_of(course.folder, name), line)
        for path in (rows := running(course.folder, name, section.name)), rows.with_suffix(".txt"):
            path.unlink(missing_ok=True)
        yield line
        if section.name == FIRST:
            hopeless = unusable(line)


def run_section(part: str, section: Section, course: Course, limit_s: float) -> Line:
    """What one section found, and how it ended."""
    rows = running(course.folder, part, section.name)
    rows.unlink(missing_ok=True)
    command = [sys.executable, "-m", "gpu.child", section.name, str(rows)]
    command += ["--device", course.setup.device, "--limit", str(limit_s)]
    command += ["--parent", str(os.getpid())]
    command += ["--quick"] * course.setup.quick + ["--double"] * course.double
    printed, mark = rows.with_suffix(".txt"), f"{os.getpid()}-{part}-{section.name}"
    started = time.monotonic()
    with printed.open("wb") as output:
        status = wait(command, limit_s, output, course.env | {MARK: mark}, course.stop)
        sweep(mark)
    seconds = time.monotonic() - started
    found, tail = read(rows), printed.read_text(errors="replace")[-SAID:]
    verdict, why = judge(status, found, tail)
    if status is None:
        verdict, why = "timed out", f"stopped after {limit_s:.0f} s"
        if limit_s < section.limit_s:
            why += f" of {section.limit_s:.0f}: the part had no more"
        if course.stop.why:
            verdict, why = "interrupted", course.stop.why
    line: Line = {"verdict": verdict, "seconds": seconds, "limit_s": limit_s, "rows": found}
    return line if verdict == "passed" else line | {"why": why, "said": tail}


def wait(
    command: list[str], limit_s: float, output: Any, env: dict[str, str], stop: Stop | None = None
) -> int | None:
    """The exit status of a command, None if it was stopped, with all it started."""
    deadline = time.monotonic() + limit_s
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        env=env, cwd=ROOT, start_new_session=True,
    )  # fmt: skip
    try:
        while process.poll() is None and time.monotonic() < deadline and not (stop and stop.why):
            time.sleep(0.05)
        return process.poll()
    finally:
        if not end(process):
            output.write(b"\nIt was killed, but does not end.\n")


def end(process: subprocess.Popen[bytes]) -> bool:
    """Kill a process and its group; whether it has ended."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    try:
        process.wait(KILLED_S)
    except subprocess.TimeoutExpired:
        return False
    return True


def sweep(mark: str) -> None:
    """Kill what a section left in groups of their own: it would hold the GPU. Linux only."""
    wanted = f"{MARK}={mark}".encode()
    for path in Path("/proc").glob("[0-9]*/environ"):
        if path.parent.name == str(os.getpid()):
            continue
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                os.kill(int(path.parent.name), signal.SIGKILL)


def judge(status: int | None, rows: list[Row], said: str) -> tuple[str, str]:
    """The verdict on a section that has ended by itself, and why."""
    if status is not None and status < 0:
        return "crashed", signal.Signals(-status).name
    if status:
        last = next(reversed(said.strip().splitlines()), "")
        return "crashed", f"exit status {status}: {last}"
    wrong = [row for row in rows if row.get("passed") is False]
    if wrong:
        why = next((str(row["why"]) for row in wrong if row.get("why")), "")
        return "failed", f"{len(wrong)} of {len(rows)} rows: {why}".removesuffix(": ")
    return ("passed", "") if rows else ("failed", "it found nothing")


def unusable(line: Line) -> str:
    """Why no other section can find anything, from what the first one did; "" if they can."""
    for row in line["rows"]:
        if row.get("what") == "diagnosis" and row.get("passed") is False:
            return str(row.get("why"))
    return ""


def read(rows: Path) -> list[Row]:
    """The rows of a file, without those that were cut off."""
    found = list[Row]()
    for text in rows.read_text().splitlines() if rows.exists() else ():
        try:
            row = json.loads(text)
        except ValueError:
            continue
        if isinstance(row, dict):
            found.append(row)
    return found


def append(path: Path, line: Line) -> None:
    """A line more in a file, on disk before this returns; it may follow one that was cut off."""
    text = path.read_text() if path.exists() else ""
    with path.open("a") as file:
        file.write("\n" * (text[-1:] not in ("", "\n")) + json.dumps(line) + "\n")
        file.flush()
        os.fsync(file.fileno())


def now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
