"""`mlpx bench compare`: what became slower or faster from one report to another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mlpx.cli.streams import noted
from mlpx.errors import MlpxError
from mlpx.untrusted import one_line

if TYPE_CHECKING:
    from mlpx.benchmark.report.compare import Change


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
        typer.echo(noted(line), err=True)
    changes = compare(before, after, share=share)
    for change in changes:
        typer.echo(one_line(_line(change)))
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
