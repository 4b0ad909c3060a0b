"""What `mlpx train --find-lr` does: a learning-rate range test instead of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from mlpx.cli.training_run import prepare, spoken_warnings
from mlpx.errors import MissingExtraError
from mlpx.rate_finder import find_learning_rate

PICTURE = "learning_rate.png"


def run(options: dict[str, Any]) -> None:
    """Print the rate suggested, and write the curve into `--out` or the working directory.

    Raises typer.BadParameter, MlpxError, OSError.
    """
    prepared = prepare(options)
    settings = prepared.settings
    with spoken_warnings():
        curve = find_learning_rate(
            prepared.model,
            *prepared.parts.train,
            optimizer=settings.optimizer,
            batch_size=settings.batch_size,
            sampling=settings.sampling,
            engine=settings.engine,
        )
    picture = Path(options["out"] or ".") / PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    typer.echo(f"{'learning rate':<15} {typer.style(f'{curve.suggestion:.2g}', bold=True)}")
    typer.echo(
        f"{'tried':<15} {curve.rates[0]:.1g} to {curve.rates[-1]:.2g}, {len(curve.rates)} steps"
    )
    try:
        curve.plot(picture)
    except MissingExtraError as error:
        typer.echo(f"{'no picture':<15} {error}")
    else:
        typer.echo(f"{'written':<15} {picture}")
