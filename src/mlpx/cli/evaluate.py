"""`mlpx evaluate`: how good a trained model is on test data, or on what it was trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mlpx.cli.options import BatchRows, DataDir, Debug, Device, Encoding, NoDownload, Run, one_of
from mlpx.errors import CheckpointError, InputError
from mlpx.types import Array
from mlpx.untrusted import one_line

PARTS = ("test", "train", "validation")

EXAMPLES = """[bold]Examples[/bold]

mlpx evaluate runs/digits

mlpx evaluate runs/digits --rows validation

mlpx evaluate runs/digits/model.safetensors digits --json

mlpx evaluate runs/people new.csv
"""


def evaluate(
    run: Run,
    dataset: Annotated[
        str | None,
        typer.Argument(
            help="The data set, or the table, whose rows are used. "
            "[dim]\\[default: the run's own][/dim]",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        str,
        typer.Option(
            metavar="PART",
            help="test; train, which the run learnt from; or validation, which it held out. For "
            "a data set other than the run's own, train is all of x_train.",
            callback=one_of("part", PARTS),
        ),
    ] = "test",
    encoding: Encoding = None,
    device: Device = None,
    batch_size: BatchRows = 1024,
    data_dir: DataDir = None,
    no_download: NoDownload = False,
    json: Annotated[
        bool, typer.Option("--json", metavar="", help="Print one line of JSON.")
    ] = False,
    debug: Debug = False,
) -> None:
    """Print the loss and metrics of a trained model on test data, or on other rows."""
    from mlpx.cli.evaluate_table import evaluate_table
    from mlpx.cli.options import open_backend, read_dataset
    from mlpx.cli.tables import is_of_table
    from mlpx.cli.task import encode
    from mlpx.cli.train.setup import check_part
    from mlpx.mlp import MLP
    from mlpx.training.run_folder import CONFIG, locate

    open_backend(device)
    path, config = locate(run)
    name = dataset or (config and config.get("dataset"))
    if not name:
        raise typer.BadParameter(f"{run} does not say which; name one", param_hint="DATASET")
    model = MLP.load(path, device=device)
    if is_of_table(model):
        own = own_settings(config, name)
        evaluate_table(model, name, rows, own=own, encoding=encoding, as_json=json)
        return
    data = read_dataset(name, data_dir, no_download)
    part = "test" if rows == "test" else "train"
    x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
    if x is None:
        raise InputError(f"{name} has no x_test and y_test to evaluate on; see --rows")
    y = encode(config, data.name, f"y_{part}", y, model=model)
    check_part(model, data.name, part, x, y)
    if part == "train":
        x, y = _share(x, y, rows, own=own_settings(config, name), file=path.parent / CONFIG)
    metrics = model.evaluate(x, y, batch_size=batch_size)
    facts = {"dataset": data.name, "part": rows, "rows": len(x), "device": model.device}
    _print(metrics, facts, as_json=json)


def own_settings(config: dict[str, Any] | None, dataset: str) -> dict[str, Any] | None:
    """The settings of the run if `dataset` is what it was trained on."""
    from mlpx.cli.train.setup import resolved_dataset

    known = config is not None and config.get("dataset") == resolved_dataset(dataset)
    return config if known else None


def _share(
    x: Array, y: Array, rows: str, *, own: dict[str, Any] | None, file: Path
) -> tuple[Array, Array]:
    """The rows that a run with the settings `own`, of `file`, learnt from or held out to validate.

    Raises InputError if there are none, InputError or CheckpointError if they are unknown.
    """
    from mlpx.cli.train.setup import held_out

    if own is None:
        if rows == "validation":
            raise InputError("only of the run's own data set is it known what was held out")
        return x, y
    if own.get("rows", len(x)) != len(x):
        raise InputError(
            f"x_train has {len(x):,} rows and had {own['rows']:,} when the run was trained, so it "
            "is not known which it learnt from"
        )
    for name in ("validation", "seed"):
        if name not in own:
            raise CheckpointError(
                f"{file} has no {name}, so it is not known which rows the run learnt from"
            )
    kept, out = held_out(len(x), share=own["validation"], seed=own["seed"])
    if rows == "validation" and not len(out):
        raise InputError("the run held no rows out: it was trained with --validation 0")
    at = out if rows == "validation" else kept
    return x[at], y[at]


def _print(metrics: dict[str, float], facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        import json

        from mlpx.training.history import finite

        typer.echo(json.dumps(finite({**facts, **metrics})))
        return
    from mlpx.cli.train.run import show_value

    for key, value in reversed(metrics.items()):
        typer.echo(f"{key:<15} {show_value(key, value)}")
    name, rows, device = one_line(facts["dataset"]), f"{facts['rows']:,} rows", facts["device"]
    typer.echo(f"{facts['part'] + ' data':<15} {name}, {rows}, on {device}")
