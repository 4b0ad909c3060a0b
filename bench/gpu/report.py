"""The lines of the check as one document: JSON, and a table for people."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from gpu.harness import Line, now, read

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = 2
Document = dict[str, Any]


def load(paths: Iterable[Path]) -> list[Line]:
    """The lines of files; of a section that is in several, the last."""
    found: dict[tuple[str, str], Line] = {}
    for path in paths:
        for line in read(path):
            found[line["part"], line["section"]] = line
    return list(found.values())


def write(lines: list[Line], folder: Path) -> Path:
    """One JSON file and its Markdown, named by GPU and day; returns the first's path."""
    device = next(rows(lines, "environment", what="device"), {})
    name = str(device.get("gpu", "unknown"))
    day = max((line["at"][:10] for line in lines), default=now()[:10])
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower().removeprefix("nvidia ")).strip("-")
    path = folder / f"gpu-{slug}-{day}.json"
    document: Document = {"schema": SCHEMA, "gpu": name, "commit": commit(), "sections": lines}
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")
    return path


def rows(lines: list[Line], section: str, **having: Any) -> Iterable[dict[str, Any]]:
    """The rows of a section that have these values."""
    for line in lines:
        if line["section"] == section:
            for row in line["rows"]:
                if all(row.get(key) == value for key, value in having.items()):
                    yield row


def table(lines: list[Line]) -> str:
    """A line for each section: its verdict, its time, and why."""
    width = max((len(line["section"]) for line in lines), default=0)
    return "\n".join(
        f"{line['section'].ljust(width)}  {line['verdict']:9}  {line['seconds']:6.1f} s"
        f"  {len(line['rows']):3} rows  {line.get('why', '')}".rstrip()
        for line in lines
    )


def commit() -> str:
    """The commit of the checkout, with a mark if files have changed; "unknown" without git."""
    given = os.environ.get("MLPX_COMMIT")
    if given:
        return given
    try:
        found = [
            subprocess.run(
                ["git", "-C", str(ROOT), *command], capture_output=True, text=True, check=True
            ).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        ]
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found[0] + ("+" if found[1] else "")
