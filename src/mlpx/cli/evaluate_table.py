"""`mlpx evaluate` of a model of tables: scores on another table, or on rows of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpx.cli.tables import read, texts_of
from mlpx.cli.train.settings import Settings
from mlpx.cli.train.table import print_scores, read_divided
from mlpx.errors import InputError

if TYPE_CHECKING:
    from mlpx.mlp import MLP
    from mlpx.tables.dividing import Part
    from mlpx.tables.saved import TableModel


def evaluate_table(
    model: MLP, name: str, part: str, *, own: dict[str, Any] | None, encoding: str | None,
    as_json: bool,
) -> None:  # fmt: skip
    """Print the scores on all rows of the table `name`; or, if `own` are the settings of the run
    that it was for, on the `part` of its rows.

    Raises InputError, DataError, CheckpointError.
    """
    from mlpx.tables.assessment import INTERVAL, OURS, lines_of, scores_on
    from mlpx.tables.saved import TableModel

    made = TableModel.of(model)
    if own is None and part != "test":
        raise InputError(f"only of the run's own table is it known which rows are --rows {part}")
    rows = _all_rows(made, name, encoding) if own is None else _own_rows(made, own, part)
    scores = scores_on(made, rows)
    if as_json:
        _print_json(scores, table=Path(name).name, part=part, rows=len(rows), device=model.device)
        return
    print_scores([OURS, INTERVAL], lines_of(scores), rows=f"{len(rows):,} rows: {part}")


def _all_rows(made: TableModel, name: str, encoding: str | None) -> Part:
    """The rows of a table that have a target."""
    from mlpx.tables.dividing import part_of

    return part_of(read(name, encoding=encoding, texts=texts_of(made)), made.encoder, made.target)


def _own_rows(made: TableModel, own: dict[str, Any], part: str) -> Part:
    """The rows that the run tested on, trained on or held out to validate."""
    known = {name: value for name, value in own.items() if name in Settings.names()}
    settings = Settings(**{**known, "drop": tuple(known.get("drop") or ())})
    divided = read_divided(settings, made, digest=own.get("digest"))
    found: Part | None = {"test": divided.test, "train": divided.train}.get(
        part, divided.validation
    )
    if found is None:
        option = "--test 0" if part == "test" else "--validation 0"
        raise InputError(f"the run held no such rows out: it was trained with {option}")
    return found


def _print_json(scores: Any, **facts: Any) -> None:
    import json

    from mlpx.training.history import finite

    values = {name: found.as_dict() for name, found in scores.items()}
    typer.echo(json.dumps(finite({**facts, "scores": values})))
