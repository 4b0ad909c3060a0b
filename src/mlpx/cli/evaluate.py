"""`mlpx evaluate`: how good a trained model is on test data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlpx.cli.options import BatchRows, DataDir, Debug, Device, NoDownload

EXAMPLES = """[bold]Examples[/bold]

mlpx evaluate runs/digits

mlpx evaluate runs/digits/model.safetensors digits --json
"""


def evaluate(
    run: Annotated[
        Path,
        typer.Argument(help="A run folder, or a model file.", show_default=False),
    ],
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="The data set whose test part is used. [dim]\\[default: the run's own][/dim]",
            show_default=False,
        ),
    ] = None,
    device: Device = None,
    batch_size: BatchRows = 1024,
    data_dir: DataDir = None,
    no_download: NoDownload = False,
    json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print one line of JSON.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print the loss and metrics of a trained model on test data."""
    from mlpx.cli.options import open_backend, read_dataset
    from mlpx.errors import InputError
    from mlpx.model import MLP
    from mlpx.runs import locate

    open_backend(device)
    path, config = locate(run)
    name = dataset or (config and config.get("dataset"))
    if not name:
        raise typer.BadParameter(f"{run} does not say which; name one", param_hint="DATASET")
    model = MLP.load(path, device=device)
    data = read_dataset(name, data_dir, no_download)
    if data.x_test is None:
        raise InputError(f"{name} has no x_test and y_test to evaluate on")
    found = model.evaluate(data.x_test, data.y_test, batch_size=batch_size)
    _print(found, rows=len(data.x_test), name=data.name, device=model.device, as_json=json)


def _print(found: dict[str, float], *, rows: int, name: str, device: str, as_json: bool) -> None:
    if as_json:
        import json

        from mlpx.history import finite

        typer.echo(json.dumps(finite({"dataset": name, "rows": rows, "device": device, **found})))
        return
    from mlpx.cli.training_run import show_value

    for key, value in reversed(found.items()):
        typer.echo(f"{key:<15} {show_value(key, value)}")
    typer.echo(f"{'test data':<15} {name}, {rows:,} rows, on {device}")
