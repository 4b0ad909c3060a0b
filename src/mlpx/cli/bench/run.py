"""What `mlpx bench` does with its options."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpx.cli.options import ALL_PEERS, known, parts, sizes
from mlpx.engines import Engine
from mlpx.errors import MlpxError

if TYPE_CHECKING:
    from mlpx.benchmark.report.compare import Change
    from mlpx.benchmark.session import Settings

QUICK_SIZES = (1, 32, 512)
ADVISED_SIZES = (32, 128, 512, 2048, 8192)


def settings_from(given: dict[str, Any]) -> Settings:
    """The options as settings.

    Raises typer.BadParameter for names and numbers that mean nothing.
    """
    from mlpx.backend.cpu import usable_cores
    from mlpx.benchmark.contenders.base import PEERS
    from mlpx.benchmark.report.compare import parse_share
    from mlpx.benchmark.rounds import Rules
    from mlpx.benchmark.session import Settings
    from mlpx.benchmark.workloads import ARITHMETIC, PHASES, parse_workload

    peers = ALL_PEERS if given["peers"].strip() == "all" else given["peers"]
    names = _workload_names(given["layers"] or given["workload"])
    usable = usable_cores()
    if (given["threads"] or 1) > usable:
        raise typer.BadParameter(
            f"{given['threads']}; this process may use {usable}", param_hint="--threads"
        )
    try:
        workloads = tuple(parse_workload(name) for name in names)
        precision = parse_share(given["precision"])
    except MlpxError as error:
        raise typer.BadParameter(str(error)) from None
    rules = Rules(budget_s=given["seconds"], precision=precision, seed=given["seed"])
    if given["quick"]:
        rules = replace(Rules.quick(), seed=given["seed"])
    return Settings(
        workloads=workloads,
        batch_sizes=sizes(given["batch_sizes"]) or (QUICK_SIZES if given["quick"] else None),
        phases=known("--phase", given["phase"], PHASES),  # type: ignore[arg-type]
        dtypes=known("--dtype", given["dtype"], ARITHMETIC),
        devices=parts(given["device"]) or _default_devices(given["advise"]),
        peers=known("--peers", peers, PEERS),
        engines=known("--engine", given["engine"], Engine.table) if given["engine"] else None,
        threads=given["threads"] or usable,
        seed=given["seed"],
        rules=replace(rules, accept_noise=given["accept_noise"]),
        accuracy_s=given["accuracy_seconds"],
    )


def _workload_names(text: str) -> tuple[str, ...]:
    """Names with commas between, or one net's widths."""
    found = parts(text)
    widths = found and all(part.replace("x", "").isdigit() for part in found)
    return (text,) if widths else found


def _default_devices(advise: bool) -> tuple[str, ...]:
    from mlpx.benchmark.environment import devices_here

    return tuple(devices_here()) if advise else ("cpu",)


def measure(given: dict[str, Any]) -> bool:
    """Run the benchmark and write it down; returns whether one of ours was wrong or failed."""
    from rich.console import Console

    from mlpx.backend import get_backend
    from mlpx.benchmark.live import Live
    from mlpx.benchmark.session import run

    settings = settings_from(given)
    for device in settings.devices:
        get_backend(device)  # says what is the matter before anything is measured
    with Live(Console(stderr=True)) as live:
        if given["advise"]:
            return _advise(settings, live)
        kept = Kept(given["out"])
        try:
            document = run(settings, watcher=live, command=_command(), keep=kept)
        except KeyboardInterrupt:
            cells = sum(len(tasks) for tasks in settings.tables())
            raise KeyboardInterrupt(kept.stopped(cells)) from None
        finally:
            live.finish()
    _report(document, given["out"])
    kept.close()
    return any(
        result["contender"].startswith("mlpx/") and result["status"] in ("wrong", "failed")
        for cell in document["cells"]
        for result in cell["results"]
    )


class Kept:
    """What is measured so far, in a file of its own beside the last run's until all is there."""

    def __init__(self, out: Path | None) -> None:
        self.file = None if out is None else out / "bench.part.json"
        self.document: dict[str, Any] = {"cells": []}

    def __call__(self, document: dict[str, Any]) -> None:
        from mlpx.benchmark.report.document import save

        self.document = document
        if self.file is not None:
            save(document, self.file)

    def stopped(self, cells: int) -> str:
        """Say where the cells that are done are, of so many; prints them if there is no file."""
        from mlpx.benchmark.report.tables import to_markdown

        done = len(self.document["cells"])
        text = f"interrupted after {done} of {cells} cells"
        if not done:
            self.close()
        elif self.file is not None:
            text += f"; {self.file} has them"
        else:
            typer.echo(to_markdown(self.document))
        return text

    def close(self) -> None:
        """The file is not needed: all is in others, or there is nothing."""
        if self.file is not None:
            self.file.unlink(missing_ok=True)


def _command() -> list[str]:
    return ["mlpx", *sys.argv[1:]]


def _advise(settings: Settings, live: Any) -> bool:
    from mlpx.benchmark.advise import advice, survey

    options = survey(
        settings.workloads[0],
        devices=settings.devices,
        batch_sizes=settings.batch_sizes or ADVISED_SIZES,
        rules=replace(settings.rules, budget_s=min(settings.rules.budget_s, 5.0)),
        watcher=live,
        settings=settings,
    )
    live.finish()
    typer.echo(advice(options))
    return not options


def _report(document: dict[str, Any], out: Path | None) -> None:
    """Markdown on stdout, or everything into the folder `out`."""
    from mlpx.benchmark.report import document as documents
    from mlpx.benchmark.report.html import to_html
    from mlpx.benchmark.report.tables import to_csv, to_markdown

    text = to_markdown(document)
    if out is None:
        typer.echo(text)
        return
    documents.save(document, out / "bench.json")
    (out / "bench.csv").write_text(to_csv(document), encoding="utf-8")
    (out / "bench.md").write_text(text + "\n", encoding="utf-8")
    (out / "bench.html").write_text(to_html(document), encoding="utf-8")
    typer.echo(f"wrote {out}/bench.json, .csv, .md and .html")


def show_changes(a: Path, b: Path, fail_slower: str | None) -> bool:
    """Print what changed from A to B; returns whether that is a failure."""
    from mlpx.benchmark.report.compare import compare, differences, has_regressed, parse_share
    from mlpx.benchmark.report.document import load

    try:
        share = parse_share(fail_slower or "5%")
    except MlpxError as error:
        raise typer.BadParameter(str(error), param_hint="--fail-slower") from None
    before, after = load(a), load(b)
    for line in differences(before, after):
        typer.echo(f"note: {line}", err=True)
    changes = compare(before, after, share=share)
    for change in changes:
        typer.echo(_line(change))
    counts = {
        word: sum(c.outcome == word for c in changes) for word in ("slower", "faster", "same")
    }
    typer.echo(
        f"{len(changes)} results: "
        + ", ".join(f"{count} {word}" for word, count in counts.items())
        + f", {len(changes) - sum(counts.values())} unclear or missing (at {share:.3g})"
    )
    return fail_slower is not None and has_regressed(changes)


def _line(change: Change) -> str:
    workload, phase, dtype, threads, device, size, name = change.key
    cell = f"{workload} {phase} {dtype} {device} {threads}t batch {size}"
    if change.ratio is None:
        return f"{change.outcome:8} {name:28} {cell}: {change.reason}"
    return (
        f"{change.outcome:8} {name:28} {cell}: {change.ratio:.3f} times the time "
        f"[{change.low:.3f}, {change.high:.3f}]"
    )
