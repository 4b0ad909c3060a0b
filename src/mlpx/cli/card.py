"""`mlpx card`: what a trained model is, for those who are to use it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlpx.cli.options import Debug, Run, path

EXAMPLES = """[bold]Examples[/bold]

mlpx card runs/digits

mlpx card runs/digits --out runs/digits/README.md
"""


def page(given: str) -> Path:
    """A path that a card can be written to.

    Raises typer.BadParameter.
    """
    if path(given).suffix.lower() != ".md":
        raise typer.BadParameter(f"{given!r}; wanted a name that ends in .md, for Markdown")
    return Path(given)


def card(
    run: Run,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.md",
            parser=page,
            help="Write the card here instead of printing it.",
            show_default=False,
        ),
    ] = None,
    debug: Debug = False,
) -> None:
    """Print or write a model card in Markdown: data, architecture, training and results.

    All of it is from the run folder. What the model is meant for is left to you to say.
    """
    from mlpx.files import write_atomically
    from mlpx.training.card import model_card

    text = model_card(run, beside=Path() if out is None else out.parent)
    if out is None:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        typer.echo(text.encode(encoding, "backslashreplace").decode(encoding), nl=False)
    else:
        write_atomically(out, text.encode())
        typer.echo(f"{out}: {len(text.splitlines())} lines", err=True)
