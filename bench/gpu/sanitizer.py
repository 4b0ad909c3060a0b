"""compute-sanitizer over a short run by graphs: accesses outside of arrays, races in shared memory,
reads of what nothing wrote. Where the tool is missing or too slow, the row says so, and no more.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from gpu import sanitized
from gpu.faults import said
from gpu.harness import wait
from gpu.section import Row, Setup

TOOL = "compute-sanitizer"
FOLDERS = ("/usr/local/cuda/bin", "/usr/local/cuda/compute-sanitizer", "/opt/cuda/bin")
LIMITS_S = {"memcheck": 18.0, "racecheck": 11.0, "initcheck": 9.0}
"""The most important first; together with the run without a tool below the section's limit."""
FAILED = 9
"""The exit status that the tool is asked for if it found something."""
SUMMARIES = (r"ERROR SUMMARY: (\d+) error", r"RACECHECK SUMMARY: .*\((\d+) error")
REFUSED = ("Device not supported", "not supported on")
MOST_LINES = 40


def run(setup: Setup) -> Iterator[Row]:
    try:
        yield {"tool": "none"} | sanitized.steps(setup.device, quick=setup.quick)
    except Exception as error:  # a fault that a tool may explain
        yield {"tool": "none", "passed": False, "why": said(error)}
    found = find()
    for tool, limit_s in LIMITS_S.items():
        if found is None:
            yield {"tool": tool, "why": f"{TOOL} is not installed"}
        else:
            yield {"tool": tool} | watch(found, tool, limit_s, setup.device)


def find() -> str | None:
    """The tool's path."""
    paths = [os.environ.get("PATH", ""), *FOLDERS]
    home = os.environ.get("CUDA_HOME") or os.environ.get("CUDA_PATH")
    return shutil.which(TOOL, path=os.pathsep.join([*paths, *([f"{home}/bin"] if home else [])]))


def watch(path: str, tool: str, limit_s: float, device: str) -> Row:
    """What one tool says of the run."""
    command = [path, "--tool", tool, "--error-exitcode", str(FAILED), "--print-limit", "20"]
    command += [sys.executable, "-m", "gpu.sanitized", "--device", device]
    command += ["--seconds", str(int(limit_s) + 2)]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "said.txt"
        with output.open("wb") as file:
            status = wait(command, limit_s, file, dict(os.environ))
        text = output.read_text(errors="replace")
    row = judged(status, text, limit_s)
    return row | {"exit_status": status, "seconds": time.monotonic() - started}


def judged(status: int | None, text: str, limit_s: float) -> Row:
    """The verdict on what a tool printed: errors fail; what could not be done does not."""
    errors, ran = counted(text), program(text)
    row: Row = {"errors": errors, "run": ran}
    lines = [line for line in text.splitlines() if line.startswith("=====")]
    if any(word in text for word in REFUSED):
        return row | {"why": "it cannot work here", "said": text[-1500:]}
    if errors or (errors is None and re.search(r"=+ (Invalid|Error:|Uninit|Race)", text)):
        return row | {"passed": False, "why": f"{errors} errors", "said": lines[:MOST_LINES]}
    if status is None:
        return row | {"why": f"not done after {limit_s:.0f} s", "said": lines[:MOST_LINES]}
    if status or ran is None or not ran["passed"]:
        why = (ran or {}).get("why", f"exit status {status}")
        return row | {"passed": False, "why": why, "said": text[-1500:]}
    return row | {"passed": errors == 0, **({} if errors == 0 else {"why": "no summary"})}


def counted(text: str) -> int | None:
    """How many errors a summary counts; None without one."""
    found = [int(match[1]) for pattern in SUMMARIES for match in re.finditer(pattern, text)]
    return sum(found) if found else None


def program(text: str) -> Row | None:
    """What the run said of itself."""
    for line in reversed(text.splitlines()):
        if line.startswith("{"):
            try:
                found: Row = json.loads(line)
            except ValueError:
                continue
            return found
    return None
