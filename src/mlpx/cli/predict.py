"""`mlpx predict`: what a trained model says about new rows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlpx.cli.options import BatchRows, Debug, Device, Encoding, Run, destination, path

EXAMPLES = """[bold]Examples[/bold]

mlpx predict runs/digits rows.npy

mlpx predict runs/digits rows.npy --proba --out probabilities.csv

cut -d, -f2-5 table.csv | mlpx predict runs/table -

mlpx predict runs/people new.csv --out predictions.parquet
"""


def predict(
    run: Run,
    rows: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT",
            parser=path,
            help="Rows as the data set stores them, (n, d) or images (n, height, width), in an "
            ".npy file; or lines of numbers, with commas, tabs or blanks between, in a .csv, .tsv "
            "or .txt file. For a model of tables, a table with the columns it was trained on, in "
            "any order. - is standard input, which may be of either kind, as may a pipe.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            parser=destination,
            help="Write the predictions here instead of printing them: NAME.csv or NAME.parquet "
            "with a header and the names of the classes, or NAME.npy with the labels as the data "
            "set has them.",
            show_default=False,
        ),
    ] = None,
    proba: Annotated[
        bool,
        typer.Option(
            "--proba", metavar="", help="Probabilities of the classes, not the likeliest."
        ),
    ] = False,
    encoding: Encoding = None,
    device: Device = None,
    batch_size: BatchRows = 1024,
    debug: Debug = False,
) -> None:
    """Print or write what a trained model predicts, one line per row.

    A line has the name of the likeliest class, or its index if classes have no names; with --proba
    the probability of each class; for a regression the predicted values.
    """
    from mlpx.cli.answers import Answers
    from mlpx.cli.options import open_backend
    from mlpx.cli.rows import read_rows
    from mlpx.cli.tables import answer, is_of_table
    from mlpx.mlp import MLP
    from mlpx.training.run_folder import locate

    open_backend(device)
    file, config = locate(run)
    model = MLP.load(file, device=device)
    if is_of_table(model):
        answers = answer(model, rows, proba=proba, encoding=encoding, batch_size=batch_size)
    else:
        x = read_rows(rows, columns=model.d_in)
        say = model.predict_proba if proba else model.predict
        predictions = model.backend.to_numpy(say(x, batch_size=batch_size))
        answers = Answers.of(predictions, config, model=model)
    if out is None:
        encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
        text = answers.lines().encode(encoding, "backslashreplace")  # two names stay two
        typer.echo(text.decode(encoding), nl=False)
    else:
        answers.write(out)
