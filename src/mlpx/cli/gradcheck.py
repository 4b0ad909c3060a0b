"""`mlpx gradcheck`: whether every gradient is right on this device."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from mlpx.cli.help import LEAST_COLUMNS
from mlpx.cli.options import Debug, Device

if TYPE_CHECKING:
    from mlpx.gradcheck.cases import Outcome

EXAMPLES = """[bold]Examples[/bold]

mlpx gradcheck

mlpx gradcheck --device cuda --dtype float32

mlpx gradcheck --only activation --only adam
"""


def gradcheck(
    device: Device = None,
    dtype: Annotated[
        str, typer.Option(help="What the gradients are computed in: float64 or float32.")
    ] = "float64",
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="activation, loss, layer, penalty, optimizer, or the name of one; repeatable.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Check backpropagation against central differences, and that optimizers go downhill.

    One small net for each activation, loss, layer, penalty and optimizer. Exit code 1 if any fails.
    """
    from mlpx.cli.options import open_backend
    from mlpx.gradcheck.cases import outcomes

    backend = open_backend(device)
    checked = list(outcomes(backend, dtype, only or ()))
    show(checked, title=f"{dtype} on {backend.device} ({backend.name})")
    if not all(outcome.passed for outcome in checked):
        raise typer.Exit(1)


def show(checked: list[Outcome], *, title: str) -> None:
    """Print the table and a last line that counts failures."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from mlpx.gradcheck.cases import STEPS

    table = Table(
        title=escape(f"Gradients in {title}"), title_justify="left", box=None, pad_edge=False
    )
    table.add_column("", no_wrap=True)
    table.add_column("name", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    table.add_column("allowed", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("worst element", overflow="fold")
    kind = ""
    for outcome in checked:
        if kind and outcome.kind != kind:
            table.add_section()
        first, kind = outcome.kind != kind, outcome.kind
        table.add_row(
            f"[bold]{kind}[/bold]" if first else "",
            escape(outcome.name),
            "" if outcome.error is None else f"{outcome.error:.1e}",
            "" if outcome.tolerance is None else f"{outcome.tolerance:.1e}",
            "[green]ok[/green]" if outcome.passed else "[bold red]FAILED[/bold red]",
            f"[dim]{escape(outcome.detail)}[/dim]",
        )
    console = Console()
    console.width = max(console.width, LEAST_COLUMNS)  # a narrower terminal breaks the lines
    console.print(table)
    if kind == "optimizer":
        console.print(
            "[dim]cos: between an optimizer's first step and the gradient's negative\n"
            f"loss: its change in {STEPS + 1} steps[/dim]"
        )
    failed = sum(not outcome.passed for outcome in checked)
    console.print(f"{failed} of {len(checked)} failed" if failed else f"all {len(checked)} passed")
