"""`mlpx train --find-lr`: a learning-rate range test instead of training."""

from __future__ import annotations

from pathlib import Path

import typer

from mlpx.cli.streams import spoken_warnings
from mlpx.cli.train.settings import TrainOptions
from mlpx.cli.train.setup import prepare
from mlpx.errors import MissingExtraError
from mlpx.training.rate_finder import RateCurve, find_learning_rate

PICTURE = "learning_rate.png"


def run(options: TrainOptions) -> None:
    """Print the suggested rate, and draw the curve into `--out` or the working directory.

    Raises typer.BadParameter, MlpxError, OSError.
    """
    with spoken_warnings(quiet=options.quiet):
        experiment = prepare(options)
        settings = experiment.settings
        curve = find_learning_rate(
            experiment.model,
            *experiment.parts.train,
            optimizer=settings.optimizer,
            batch_size=settings.batch_size,
            sampling=settings.sampling,
            engine=settings.engine,
        )
    picture = Path(options.out or ".") / PICTURE
    picture.parent.mkdir(parents=True, exist_ok=True)
    written = _draw(curve, picture)  # before printing: standard output may be closed
    typer.echo(f"{'learning rate':<15} {typer.style(f'{curve.suggestion:.2g}', bold=True)}")
    typer.echo(
        f"{'tried':<15} {curve.rates[0]:.1g} to {curve.rates[-1]:.2g}, {len(curve.rates)} steps"
    )
    typer.echo(written)


def _draw(curve: RateCurve, picture: Path) -> str:
    """Write the picture; returns the line that says so, or why there is none."""
    try:
        curve.plot(picture)
    except MissingExtraError as error:
        return f"{'no picture':<15} {error}"
    return f"{'written':<15} {picture}"
