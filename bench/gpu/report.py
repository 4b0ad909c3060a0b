"""The document on disk: JSON, Markdown, drawings; and a table of verdicts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gpu import document as documents
from gpu import markdown, plots
from gpu.harness import Line


def write(lines: list[Line], folder: Path, **more: Any) -> Path:
    """One JSON file, named by GPU and day, and what is made from it beside; returns its path.

    What is drawn or told must not cost what was measured.
    """
    document = documents.make(lines, **more)
    path = folder / f"{documents.slug(document)}.json"
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    drawn = list[str]()
    with told("drawings"):
        for name, svg in plots.drawings(document).items():
            (folder / f"{path.stem}-{name}.svg").write_text(svg + "\n")
            drawn.append(f"{path.stem}-{name}.svg")
    with told("Markdown"):
        path.with_suffix(".md").write_text(markdown.text(document, drawn))
    return path


@contextmanager
def told(what: str) -> Iterator[None]:
    """Goes on without what fails, and says so."""
    try:
        yield
    except Exception as error:
        print(f"not all {what}: {type(error).__name__}: {error}", flush=True)


def table(lines: list[Line]) -> str:
    """A line for each section: its verdict, its time, and why."""
    width = max((len(line["section"]) for line in lines), default=0)
    return "\n".join(
        f"{line['section'].ljust(max(width, 12))}  {line['verdict']:11}  {line['seconds']:6.1f} s"
        f"  {len(line['rows']):3} rows  {line.get('why', '')[:200]}".rstrip()
        for line in lines
    )
