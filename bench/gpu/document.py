"""The lines of the check as one document, and what is asked of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from gpu.harness import Line, lines_of, read, running

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = 2
UNKNOWN = "unknown"
Document = dict[str, Any]
Row = dict[str, Any]


def load(paths: Iterable[Path]) -> list[Line]:
    """The lines of files or documents; of a section that is in several, the last.

    What a section had found when the check itself was killed lies beside, and is a line too.
    """
    found: dict[tuple[str, str], Line] = {}
    for path in paths:
        lines = json.loads(path.read_text())["sections"] if path.suffix == ".json" else read(path)
        for line in (*lines, *cut_off(path, lines)):
            found[line["part"], line["section"]] = line
    if not found:
        raise ValueError("no line of a section in " + ", ".join(map(str, paths)))
    return list(found.values())


def cut_off(path: Path, lines: list[Line]) -> Iterator[Line]:
    """A line for each section that was running when the check was killed."""
    for part in {line["part"] for line in lines}:
        if path.name != lines_of(path.parent, part).name:
            continue
        for rows in sorted(path.parent.glob(running(path.parent, part, "*").name)):
            yield lines[-1] | {
                "section": rows.stem.removeprefix(f"running-{part}-"), "verdict": "cut off",
                "why": "the check itself was killed", "seconds": 0.0, "rows": read(rows),
            }  # fmt: skip


def make(lines: list[Line], **more: Any) -> Document:
    """Everything that is known, as one piece of JSON. What sections printed is left out."""
    names = list(dict.fromkeys(line["part"] for line in lines))
    parts = {name: part_of([line for line in lines if line["part"] == name]) for name in names}
    return {
        "schema": SCHEMA,
        "gpu": joined(part["gpu"] for part in parts.values()),
        "commit": joined(part["commit"] for part in parts.values()),
        "when": max(line["at"] for line in lines),
        "quick": any(line.get("quick") for line in lines),
        "rehearsed": any(line.get("rehearsed") for line in lines),
        **more,
        "versions": versions(lines),
        "parts": parts,
        "sections": [{k: v for k, v in line.items() if k != "said"} for line in lines],
    }


def part_of(lines: list[Line]) -> Row:
    """Where and when a part ran, and how long, if that is known."""
    seconds = [line["seconds"] for line in lines]
    return {
        "gpu": joined(str(row["gpu"]) for row in rows(lines, "environment") if row.get("gpu")),
        "commit": joined(line.get("commit", UNKNOWN) for line in lines),
        "when": min(line["at"] for line in lines),
        "seconds": None if None in seconds else sum(seconds),
    }


def joined(names: Iterable[str]) -> str:
    """The names without repetition, "unknown" for none: parts may have run on different GPUs."""
    return " and ".join(dict.fromkeys(n for n in names if n != UNKNOWN)) or UNKNOWN


def versions(lines: list[Line]) -> Row:
    """What ran, from the environment section."""
    device = next(rows(lines, "environment", what="device"), {})
    machine = next(rows(lines, "environment", what="machine"), {})
    found = {key: device.get(key) for key in ("driver", "runtime", "cupy", "cublaslt")}
    found |= {key: machine.get(key) for key in ("python", "mlpx", "cpu")}
    found |= {
        "cpu engine": next(rows(lines, "environment", what="engine of the CPU"), {}).get("engine")
    }
    found |= machine.get("packages") or {}
    return {key: value for key, value in found.items() if value is not None}


def slug(document: Document) -> str:
    """Such as `gpu-h100-2026-12-01`."""
    name = re.sub(r"[^a-z0-9]+", "-", document["gpu"].lower().replace("nvidia ", "")).strip("-")
    return f"gpu-{name}-{document['when'][:10]}"


def rows(lines: list[Line], section: str, **having: Any) -> Iterator[Row]:
    """The rows of a section that have these values."""
    for line in lines:
        if line["section"] == section:
            for row in line["rows"]:
                if all(row.get(key) == value for key, value in having.items()):
                    yield row


def cells(lines: list[Line]) -> dict[str, Row]:
    """Of each cell beside peers the last row with the times of all."""
    found = {}
    for section in ("peers_small", "peers_large"):
        for row in rows(lines, section, together=True):
            found[row["cell"]] = row
    return found


def net_of(row: Row) -> str:
    """Such as `784-50-10 sgd 100 float32`: the name of a cell with the same step."""
    net = "-".join(map(str, row.get("network", ())))
    return " ".join([net, *(str(row.get(k)) for k in ("optimizer", "batch_size", "precision"))])


def steps(lines: list[Line]) -> dict[str, Row]:
    """Our own step of each net as it is trained: the first way in which it was measured."""
    found: dict[str, Row] = {}
    for row in rows(lines, "steps", what="step"):
        if row.get("step_us"):
            found.setdefault(net_of(row), row)
    return found


def commit() -> str:
    """The commit of the checkout, with a mark if files have changed; "unknown" without git."""
    given = os.environ.get("MLPX_COMMIT")
    if given:
        return given
    try:
        found = [
            subprocess.run(
                ["git", "-C", str(ROOT), *command],
                capture_output=True, text=True, check=True, timeout=10,
            ).stdout.strip()
            for command in (("rev-parse", "HEAD"), ("status", "--porcelain", "-uno"))
        ]  # fmt: skip
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN
    return found[0] + ("+" if found[1] else "")
