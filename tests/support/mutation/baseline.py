"""The tests as they are, run once under coverage: which lines each executes, how long it takes.

It is kept in a folder, by default `.baseline`, and used again until a file in src or tests changes.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from coverage import Coverage, CoverageData
from mutation.recording import without_group

DATA, TESTS = "coverage", "tests.json"
OTHERS = re.compile(r"^(__pycache__|mutation|.*\.egg-info)$")
"""Files and folders of src and tests that a change in does not count."""
PHASE = re.compile(r"(\|| \()(setup|run|call|teardown)\)?$")
"""What pytest-cov adds to a test's name, and pytest itself in PYTEST_CURRENT_TEST."""


def digest(root: Path) -> str:
    """Of everything that decides what the tests execute, here; the mutants are no part of it."""
    found = hashlib.sha256(sys.version.encode())
    files = [*(root / "src").rglob("*"), *(root / "tests").rglob("*"), root / "pyproject.toml"]
    for path in sorted(files):
        if path.is_file() and not any(OTHERS.search(part) for part in path.parts):
            content = path.read_bytes()
            found.update(f"{path.relative_to(root)} {len(content)} ".encode() + content)
    return found.hexdigest()


class Baseline:
    """What is kept of one run of the tests in the tree `root`."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        found: dict[str, Any] = {}
        if (folder / TESTS).exists():
            found = json.loads((folder / TESTS).read_text(encoding="utf-8"))
        self.digest: str = found.get("digest", "")
        self.tests: dict[str, float] = found.get("tests", {})
        """The seconds of each test that passed."""
        self.failed: list[str] = found.get("failed", [])

    def lines(self, file: str) -> dict[int, set[str]]:
        """The tests that execute each line of a file, and an empty name for imports before them."""
        data = CoverageData(str(self.folder / DATA))
        data.read()
        found = data.contexts_by_lineno(str(self.root / file))
        names: dict[str, str] = {}
        for context in {context for contexts in found.values() for context in contexts}:
            names[context] = without_group(PHASE.sub("", context))
        return {
            line: {names[context] for context in contexts} & {*self.tests, ""}
            for line, contexts in found.items()
        }

    def coverage(self) -> Coverage:
        """For reports."""
        config = str(self.root / "pyproject.toml")
        found = Coverage(data_file=str(self.folder / DATA), config_file=config)
        found.load()
        return found


def measure(
    root: Path, folder: Path, *, jobs: int, files: Sequence[str] = (), limit_s: float | None = None
) -> Baseline:
    """Run the tests, all that are not slow or those in `files`; each process for `limit_s`."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (folder / TESTS, *folder.glob(f"{DATA}*")):  # also what killed processes left
        path.unlink(missing_ok=True)
    before = digest(root)
    command = [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-p", "no:cacheprovider"]
    command += ["-n", str(jobs if jobs > 1 else 0), "--dist", "loadgroup"]
    command += ["-p", "mutation.recording", f"--times={folder / TESTS}"]
    command += [f"--within={limit_s}"] if limit_s else []
    command += ["--cov", "--cov-context=test", "--cov-report=", *files]
    done = subprocess.run(command, cwd=root, env=_environment(root, folder), check=False)
    if done.returncode > 1 or not (folder / TESTS).exists():
        sys.exit(f"the tests could not be run: pytest ended with {done.returncode}")
    found = json.loads((folder / TESTS).read_text(encoding="utf-8"))
    (folder / TESTS).write_text(json.dumps({"digest": before, **found}), encoding="utf-8")
    return Baseline(root, folder)


def _environment(root: Path, folder: Path) -> dict[str, str]:
    """Ours with the tree's sources first, and without what a test around us has set."""
    foreign = ("COV", "PYTEST_XDIST")
    ours = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    ours.pop("PYTEST_CURRENT_TEST", None)
    path = [str(root / "src"), str(Path(__file__).parents[1])]
    return ours | {
        "COVERAGE_FILE": str(folder / DATA),
        "PYTHONPATH": os.pathsep.join([*path, os.environ.get("PYTHONPATH", "")]),
        "PYTHONDONTWRITEBYTECODE": "",  # the copies that mutants are tried in have it from here
    }


def report(baseline: Baseline) -> str:
    """Prints what is not covered; returns how much is."""
    coverage = baseline.coverage()
    coverage.report()
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        coverage.json_report(outfile=file.name)
        total = json.loads(Path(file.name).read_text(encoding="utf-8"))["totals"]
    parts = []
    for kind, missing in (("statements", "missing_lines"), ("branches", "missing_branches")):
        count = total[f"num_{kind}"]
        share = 1 - total[missing] / count if count else 1.0
        parts.append(f"{count - total[missing]} of {count} {kind} ({share:.2%})")
    return ", ".join(parts)
