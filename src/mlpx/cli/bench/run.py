"""Measuring: `mlpx bench` runs the benchmark and writes the report."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpx.cli.bench.options import BenchOptions, session_options

if TYPE_CHECKING:
    from mlpx.benchmark.session import SessionOptions

ADVISED_SIZES = (32, 128, 512, 2048, 8192)


def measure(options: BenchOptions) -> bool:
    """Run the benchmark and report; returns whether any of our contenders was wrong or failed."""
    from rich.console import Console

    from mlpx.backend import get_backend
    from mlpx.benchmark.live import Live
    from mlpx.benchmark.report import vega
    from mlpx.benchmark.session import run

    session = session_options(options)
    for device in session.devices:
        get_backend(device)  # fails before anything is measured
    if options.out is not None:
        vega.library()  # so does this
    with Live(Console(stderr=True)) as live:
        if options.advise:
            return _advise(session, live)
        partial = PartialResults(options.out)
        try:
            document = run(session, watcher=live, command=_command(), keep=partial)
        except KeyboardInterrupt:
            cells = sum(len(tasks) for tasks in session.tables())
            raise KeyboardInterrupt(partial.stopped(cells)) from None
        finally:
            live.finish()
    _report(document, options.out)
    partial.close()
    return any(
        result["contender"].startswith("mlpx/") and result["status"] in ("wrong", "failed")
        for cell in document["cells"]
        for result in cell["results"]
    )


class PartialResults:
    """What has been measured so far, kept in a file of its own until the report is complete."""

    def __init__(self, out: Path | None) -> None:
        self.file = None if out is None else out / "bench.part.json"
        self.document: dict[str, Any] = {"cells": []}

    def __call__(self, document: dict[str, Any]) -> None:
        from mlpx.benchmark.report.document import save

        self.document = document
        if self.file is not None:
            save(document, self.file)

    def stopped(self, cells: int) -> str:
        """How many of `cells` are done and which file has them; without a file, prints them."""
        done = len(self.document["cells"])
        text = f"interrupted after {done} of {cells} cells"
        if not done:
            self.close()
        elif self.file is not None:
            text += f"; {self.file} has them"
        else:
            typer.echo(_text(self.document))
        return text

    def close(self) -> None:
        """Remove the file: the report has its cells, or there are none."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


def _command() -> list[str]:
    return ["mlpx", *sys.argv[1:]]


def _advise(session: SessionOptions, live: Any) -> bool:
    from mlpx.benchmark.advise import advice, survey

    choices = survey(
        session.workloads[0],
        devices=session.devices,
        batch_sizes=session.batch_sizes or ADVISED_SIZES,
        rules=replace(session.rules, budget_s=min(session.rules.budget_s, 5.0)),
        watcher=live,
        options=session,
    )
    live.finish()
    typer.echo(advice(choices))
    return not choices


def _report(document: dict[str, Any], out: Path | None) -> None:
    """Text on stdout, or everything into the folder `out`."""
    from mlpx.benchmark.report import document as documents
    from mlpx.benchmark.report.html import to_html
    from mlpx.benchmark.report.spreadsheet import to_csv
    from mlpx.benchmark.report.tables import to_markdown
    from mlpx.benchmark.report.throughput import to_svg

    if out is None:
        typer.echo(_text(document))
        return
    documents.save(document, out / "bench.json")
    (out / "bench.csv").write_text(to_csv(document), encoding="utf-8")
    (out / "bench.md").write_text(to_markdown(document) + "\n", encoding="utf-8")
    (out / "bench.html").write_text(to_html(document), encoding="utf-8")
    (out / "bench.svg").write_text(to_svg(document), encoding="utf-8")
    typer.echo(f"wrote {out}/bench.json, .csv, .md, .html and .svg")


def _text(document: dict[str, Any]) -> str:
    """Tables for a terminal, of its width; for a pipe or a file, a line for each contender."""
    from mlpx.benchmark.report.text import to_lines, to_text

    if not sys.stdout.isatty():
        return to_lines(document)
    return to_text(document, width=shutil.get_terminal_size().columns)
