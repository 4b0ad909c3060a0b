"""`mlpx train`: train a model on a data set and keep the run in a folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from mlpx.cli.options import DataDir, Debug, Device, NoDownload, listed, one_of, parts, path
from mlpx.cli.train.settings import OFF, TrainOptions, explain_default
from mlpx.data import DATASETS
from mlpx.engines import Engine
from mlpx.errors import InputError
from mlpx.kernels.activations import Activation
from mlpx.kernels.initializers import Initializer
from mlpx.kernels.losses import Loss
from mlpx.network.architecture import DTYPES
from mlpx.optimizers import Optimizer
from mlpx.training.sampling import SAMPLINGS
from mlpx.training.settings import POLICIES, PRESETS, TASKS

EXAMPLES = """[bold]Examples[/bold]

mlpx train digits

mlpx train mnist --layers 784,50,10 --activation sigmoid --optimizer sgd --lr 0.1

mlpx train mnist --device cuda --epochs 100 --early-stopping val_loss --patience 5

mlpx train table.npz --hidden 64,64 --out runs/table

mlpx train people.csv --target income

mlpx train --resume runs/digits --epochs 20
"""


def _panel(title: str | None) -> Callable[..., Any]:
    """Makes the options of one panel of the help; each text names its default."""

    def option(metavar: str, text: str, *names: str, **rest: Any) -> Any:
        return typer.Option(
            *names, metavar=metavar, help=text, rich_help_panel=title, show_default=False, **rest
        )

    return option


net, learning = _panel("The network"), _panel("Learning")
choice, output = _panel("Stopping and choosing"), _panel("Data and output")
tables = _panel("Tables: a CSV, TSV, Parquet or Feather file, or a folder of them")


def named(kind: str, names: Iterable[str]) -> dict[str, Any]:
    """The check of an option that takes one of these names."""
    return {"callback": one_of(kind, names)}


def widths(given: str) -> tuple[int, ...]:
    """Layer widths written with commas."""
    try:
        numbers = tuple(int(part) for part in given.replace("-", ",").split(","))
    except ValueError:
        numbers = (0,)
    if min(numbers) < 1:
        raise typer.BadParameter(f"{given!r}; wanted whole numbers with commas, such as 784,50,10")
    return numbers


def quantiles(given: str) -> tuple[float, ...]:
    """Numbers between 0 and 1, written with commas, in ascending order."""
    try:
        found = tuple(float(part) for part in parts(given))
    except ValueError:
        found = ()
    if not found or not all(0 < q < 1 for q in found) or list(found) != sorted(set(found)):
        raise typer.BadParameter(
            f"{given!r}; wanted ascending numbers between 0 and 1, such as 0.05,0.5,0.95"
        )
    return found


def columns(given: list[str] | None) -> tuple[str, ...] | None:
    """The columns that --drop names, each time one or several with commas."""
    return None if not given else tuple(name for text in given for name in parts(text))


def interval(given: str | None) -> str | None:
    """The check of --checkpoint-every."""
    if given is None or given == OFF:
        return given
    from mlpx.training.intervals import Interval

    try:
        Interval.parse(given)
    except InputError as error:
        raise typer.BadParameter(f"{error}; or off") from None
    return given


def train(
    dataset: Annotated[
        str | None,
        typer.Argument(
            help=f"{listed(DATASETS)}; an .npz file with x_train, y_train and, if there are any, "
            "x_test, y_test, where labels are text or whole numbers; or a table, with --target. "
            "With --resume it may be left out.",
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        Any,
        net(
            "N,N,...",
            "All widths, input and output included, such as 784,50,10.",
            parser=widths,
        ),
    ] = None,
    hidden: Annotated[
        Any,
        net(
            "N,...",
            f"Only the hidden widths; the data says the others. {explain_default('hidden')}",
            parser=widths,
        ),
    ] = None,
    activation: Annotated[
        str | None,
        net(
            "NAME",
            f"Of hidden layers: {listed(Activation.table)}. {explain_default('activation')}",
            **named("activation", Activation.table),
        ),
    ] = None,
    loss: Annotated[
        str | None,
        net(
            "NAME",
            f"{listed(Loss.table)}. [dim]\\[default: softmax_cross_entropy for text and "
            "integers, mean_squared_error for floats][/dim]",
            **named("loss", Loss.table),
        ),
    ] = None,
    initializer: Annotated[
        str | None,
        net(
            "NAME",
            f"Of the weights: {listed(Initializer.table)}. "
            "[dim]\\[default: what suits the activation][/dim]",
            **named("initializer", Initializer.table),
        ),
    ] = None,
    dtype: Annotated[
        str | None,
        net("NAME", f"{listed(DTYPES)}. {explain_default('dtype')}", **named("dtype", DTYPES)),
    ] = None,
    target: Annotated[
        str | None, tables("COLUMN", "What is to be predicted; the other columns are for that.")
    ] = None,
    task: Annotated[
        str | None,
        tables(
            "NAME",
            f"{listed(TASKS)}. [dim]\\[default: auto, as the target's values suggest][/dim]",
            **named("task", TASKS),
        ),
    ] = None,
    test: Annotated[
        str | None,
        tables(
            "FILE|SHARE",
            "Another file, or the share of the rows, to test on; it is used once, at the end. "
            f"{explain_default('test')}",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None,
        tables("COLUMN", "Leave this column out; may be given several times, or with commas."),
    ] = None,
    group: Annotated[
        str | None,
        tables(
            "COLUMN",
            "Hold out whole groups of rows, such as all of a customer: this column names them.",
        ),
    ] = None,
    time: Annotated[
        str | None, tables("COLUMN", "Hold out the last rows by the time in this column.")
    ] = None,
    preset: Annotated[
        str | None,
        tables(
            "NAME",
            f"How the network is built and trained: {listed(PRESETS)}. "
            "[dim]\\[default: auto][/dim]",
            **named("preset", PRESETS),
        ),
    ] = None,
    quantiles: Annotated[
        Any,
        tables(
            "Q,Q,...",
            "Learn these quantiles of values, such as 0.05,0.5,0.95; that nearest 0.5 is the "
            "prediction. [dim]\\[default: none, but the mean][/dim]",
            parser=quantiles,
        ),
    ] = None,
    calibrated: Annotated[
        bool | None,
        tables(
            "",
            "Make probabilities of classes as sure as the rows to validate say, by a temperature.",
            "--calibrated/--no-calibrated",
        ),
    ] = None,
    intervals: Annotated[
        bool | None,
        tables(
            "",
            "Keep how far off values are on the rows to validate, for predict_interval in Python.",
            "--intervals/--no-intervals",
        ),
    ] = None,
    encoding: Annotated[
        str | None,
        tables("NAME", f"Of the text in the files. {explain_default('encoding')}"),
    ] = None,
    seed: Annotated[
        int | None,
        net(
            "N",
            f"Fixes the weights, the batches and what is held out. {explain_default('seed')}",
            min=0,
        ),
    ] = None,
    optimizer: Annotated[
        str | None,
        learning(
            "NAME",
            f"{listed(Optimizer.table)}. {explain_default('optimizer')}",
            **named("optimizer", Optimizer.table),
        ),
    ] = None,
    learning_rate: Annotated[
        float | None,
        learning(
            "RATE", "Learning rate. [dim]\\[default: the optimizer's own][/dim]", "--lr", min=0
        ),
    ] = None,
    find_lr: Annotated[
        bool,
        learning(
            "",
            "Instead of training, find a learning rate: draw the loss over a growing rate into "
            "learning_rate.png, in --out or here.",
            "--find-lr",
        ),
    ] = False,
    epochs: Annotated[
        int | None,
        learning(
            "N",
            "Passes over the training data; with --resume that many more, counting one that was "
            "cut short. " + explain_default("epochs"),
            min=0,
        ),
    ] = None,
    steps: Annotated[
        int | None, learning("N", "Instead of --epochs: how many batches in all.", min=1)
    ] = None,
    batch_size: Annotated[
        int | None, learning("N", f"Rows in a step. {explain_default('batch_size')}", min=1)
    ] = None,
    sampling: Annotated[
        str | None,
        learning(
            "NAME",
            f"How batches are drawn: {listed(SAMPLINGS)}. {explain_default('sampling')}",
            **named("sampling", SAMPLINGS),
        ),
    ] = None,
    device: Device = None,
    engine: Annotated[
        str | None,
        _panel(None)(
            "NAME",
            f"Who runs the steps: {listed(Engine.table)}. [dim]\\[default: auto, the fastest "
            "that can][/dim]",
            **named("engine", [*Engine.table, "auto"]),
        ),
    ] = None,
    threads: Annotated[
        int | None,
        _panel(None)(
            "N",
            "How many threads the engine and its BLAS may use. [dim]\\[default: as many as suit "
            "the net and batch][/dim]",
            min=1,
        ),
    ] = None,
    validation: Annotated[
        float | None,
        choice(
            "SHARE",
            "Share of the training data held out to validate each epoch; 0 for none. The test "
            f"data is used once, at the end. {explain_default('validation')}",
            min=0,
        ),
    ] = None,
    early_stopping: Annotated[
        str | None,
        choice(
            "METRIC",
            "Stop when this no longer improves, and keep the best epoch's weights: loss, "
            "accuracy, val_loss or val_accuracy; off for a resumed run that was told to.",
        ),
    ] = None,
    stop_on_plateau: Annotated[
        bool | None,
        choice(
            "",
            "Stop when the training loss no longer falls by 0.0001.",
            "--stop-on-plateau/--no-stop-on-plateau",
        ),
    ] = None,
    patience: Annotated[
        int | None,
        choice(
            "N",
            "How many epochs to wait for an improvement. [dim]\\[default: 5; with "
            "--stop-on-plateau: 10][/dim]",
            min=1,
        ),
    ] = None,
    best_weights: Annotated[
        str | None,
        choice("METRIC", "Train to the end, then keep the weights of the epoch best by this."),
    ] = None,
    on_divergence: Annotated[
        str | None,
        choice(
            "POLICY",
            "When the loss is NaN or infinite: stop; restore, which goes back to the last good "
            "state at half the learning rate, at most 5 times; or continue. "
            f"{explain_default('on_divergence')}",
            **named("on_divergence", POLICIES),
        ),
    ] = None,
    out: Annotated[
        Path | None,
        output(
            "FOLDER",
            "Where to write the run; an earlier run there is replaced. [dim]\\[default: the "
            "first free of runs/DATASET, runs/DATASET-2, ...; with --resume that run][/dim]",
            parser=path,
        ),
    ] = None,
    resume: Annotated[
        Path | None,
        output(
            "RUN",
            "Finish this run if it was cut short; else go on where it ended. With its settings "
            "unless told otherwise.",
            parser=path,
        ),
    ] = None,
    checkpoint_every: Annotated[
        str | None,
        output(
            "EVERY",
            "How often to keep the run while it trains, such as 30s, 5min, '2 epochs' or 1000 "
            f"(steps); or off. {explain_default('checkpoint_every')}",
            callback=interval,
        ),
    ] = None,
    csv_log: Annotated[
        Path | None,
        output(
            "FILE", "Also write a line per epoch to this CSV file; --resume appends.", parser=path
        ),
    ] = None,
    data_dir: DataDir = None,
    no_download: NoDownload = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", metavar="", help="Print only errors and what is not kept."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Train a model and keep the run in a folder.

    The folder gets the model (model.safetensors), what happened (history.json), the settings
    (config.json) and a picture of the learning curves (curves.png). Until then it has checkpoints:
    after a kill, a reboot or a time limit, --resume finishes the run as if it had never stopped.
    Ctrl-C (or SIGTERM, or SIGHUP) stops early and keeps what was learnt; a second signal ends at
    once and leaves the last checkpoint, except that SIGHUP after SIGHUP counts as one. SIGUSR1
    writes a checkpoint and goes on.
    """
    options = TrainOptions(
        dataset=dataset, layers=layers, hidden=hidden, activation=activation, loss=loss,
        initializer=initializer, optimizer=optimizer, learning_rate=learning_rate,
        epochs=epochs, steps=steps, sampling=sampling, batch_size=batch_size,
        validation=validation, device=device, engine=engine, threads=threads, dtype=dtype,
        seed=seed, early_stopping=early_stopping, stop_on_plateau=stop_on_plateau,
        patience=patience, best_weights=best_weights, on_divergence=on_divergence, out=out,
        resume=resume,
        csv_log=None if csv_log is None else str(csv_log), checkpoint_every=checkpoint_every,
        target=target, task=task, test=test, drop=columns(drop), group=group, time=time,
        encoding=encoding, preset=preset, quantiles=quantiles, calibrated=calibrated,
        intervals=intervals,
        data_dir=data_dir, no_download=no_download, quiet=quiet,
    )  # fmt: skip
    if find_lr:
        from mlpx.cli.train.find_rate import run
    else:
        from mlpx.cli.train.run import run

    run(options)
