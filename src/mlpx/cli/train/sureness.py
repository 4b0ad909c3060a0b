"""`mlpx train --quantiles`, `--calibrated` and `--intervals`: how sure a model of a table is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from mlpx.cli.train.settings import Settings
from mlpx.errors import InputError
from mlpx.untrusted import one_line

if TYPE_CHECKING:
    from mlpx.tables.dividing import Divided, Part
    from mlpx.tables.saved import TableModel

SUITS = {"quantiles": "regression", "calibrated": "classification", "intervals": "regression"}
OF = {"regression": "values", "classification": "classes"}
COVERAGE = 0.9


def check(settings: Settings, divided: Divided) -> None:
    """Raises typer.BadParameter for what does not suit the target, or takes rows that are not
    there.
    """
    target = divided.target
    for name, task in SUITS.items():
        if not getattr(settings, name):
            continue
        if target.task != task:
            raise typer.BadParameter(
                f"is for {OF[task]}, and the target {one_line(target.name)} has "
                f"{OF[target.task]}; leave it out, or see --task",
                param_hint=f"--{name}",
            )
        if name != "quantiles" and divided.validation is None:
            raise typer.BadParameter(
                "takes rows to validate, and --validation 0 leaves none", param_hint=f"--{name}"
            )


def surer(settings: Settings, made: TableModel, rows: Part | None) -> TableModel:
    """The trained model with what the validation rows tell of it, if the settings ask."""
    if rows is not None and settings.calibrated:
        return made.with_temperature(rows.x, rows.y)
    if rows is not None and settings.intervals:
        return made.with_intervals(rows.x, made.target.restore(rows.y))
    return made


def told(made: TableModel, test: Part) -> Iterator[str]:
    """What was done, and whether intervals hold what they promise on the rows to test."""
    from mlpx.tables.report import sureness

    yield from sureness(made)
    if made.conformal is None:
        return
    try:
        ends = made.interval(test.x, coverage=COVERAGE)
    except InputError as error:
        yield f"no intervals: {error}"
        return
    y = made.target.restore(test.y)
    held = ((ends[:, 0] <= y) & (y <= ends[:, 1])).mean()
    width = (ends[:, 1] - ends[:, 0]).mean()
    yield (
        f"intervals of {100 * COVERAGE:g} % hold {100 * held:.1f} % of the {len(y):,} rows to "
        f"test; they are {width:.4g} wide on average"
    )
