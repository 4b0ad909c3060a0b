"""What `mlpx train` prepares before the first step: data, model and callbacks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpx.cli.options import open_backend, read_dataset
from mlpx.cli.streams import noted
from mlpx.cli.tables import is_table
from mlpx.cli.task import Task, resumed, understand
from mlpx.cli.train.earlier import Earlier
from mlpx.cli.train.settings import HIDDEN, OFF, Settings, TrainOptions, in_commas
from mlpx.cli.train.table import TableRun
from mlpx.errors import DataFormatError, InputError, InputTypeError
from mlpx.mlp import MLP
from mlpx.training.callbacks import BestWeights, CSVLog, EarlyStopping, StopOnPlateau
from mlpx.training.history import History
from mlpx.training.run import Callback
from mlpx.training.run_folder import run_folder
from mlpx.training.settings import SETTINGS
from mlpx.types import Array
from mlpx.untrusted import brief

if TYPE_CHECKING:
    from mlpx.data import Dataset
    from mlpx.optimizers import Optimizer


@dataclass(frozen=True)
class Experiment:
    """Everything that is known before the first step."""

    settings: Settings
    task: Task
    parts: Split
    model: MLP
    before: History | None
    callbacks: list[Callback]
    quiet: bool
    unfinished: Path | None = None
    """The folder with the checkpoint of the run to finish, if it was cut short."""
    table: TableRun | None = None
    """The table that the rows are of, if they are of one."""

    @property
    def rule(self) -> Optimizer:
        """The optimizer."""
        return self.settings.rule if self.table is None else self.table.rule

    def tested(self) -> dict[str, float] | None:
        """The loss and the metrics on the test data, None if there is none."""
        if self.table is not None:
            return self.table.tested()
        return None if self.parts.test is None else self.model.evaluate(*self.parts.test)


def prepare(options: TrainOptions) -> Experiment:
    """Settings, data, model and callbacks for the options.

    Raises typer.BadParameter, MlpxError, OSError.
    """
    earlier = None if options.resume is None else Earlier.of(run_folder(options.resume))
    before = None if earlier is None else earlier.config
    if options.dataset is None and "dataset" not in (before or {}):
        raise typer.BadParameter(
            "which data set? for example: mlpx train digits", param_hint="DATASET"
        )
    settings = Settings.choose(options, before)
    _refuse_unreadable(settings)
    if earlier is not None and options.csv_log is None:
        _refuse_new_log(settings.csv_log, earlier.file.parent)
    open_backend(settings.device)
    import safetensors.numpy  # noqa: F401 - what the model is saved by, while it can be loaded

    model = None if earlier is None else MLP.load(earlier.file, device=settings.device)
    history, finishes, table = None, False, None
    if earlier is not None:
        settings, history, finishes = _going_on(earlier, settings, options)
    if is_table(settings.dataset):
        table = TableRun.of(settings, model, digest=(before or {}).get("digest"))
        settings, model, task, parts = _of_table(table)
    else:
        task = _task(options, settings, before, model)
        model = build_model(settings, task) if model is None else model
        check(model, task.data)
        parts = split(task.data, share=settings.validation, seed=settings.seed)
    watched = monitors(model, validated=parts.validation is not None)
    callbacks = make_callbacks(settings, watched, append=earlier is not None)
    if table is not None:
        callbacks += table.callbacks
    for note in () if options.quiet else task.notes:
        typer.echo(noted(note), err=True)
    unfinished = earlier.file.parent if earlier is not None and finishes else None
    return Experiment(
        settings, task, parts, model, history, callbacks, options.quiet, unfinished, table
    )


def _going_on(
    earlier: Earlier, settings: Settings, options: TrainOptions
) -> tuple[Settings, History | None, bool]:
    """The settings, what came before, and whether this finishes a run that was cut short."""
    finishes = earlier.finished_by(settings)
    settings = earlier.whole_plan(settings, options) if finishes else settings
    return settings, earlier.history(finishes), finishes


def _of_table(table: TableRun) -> tuple[Settings, MLP, Task, Split]:
    return table.settings, table.made.model, table.task, Split(*table.parts)


def _task(
    options: TrainOptions, settings: Settings, before: dict[str, Any] | None, model: MLP | None
) -> Task:
    """The task that a data set of arrays sets."""
    data = read_dataset(settings.dataset, options.data_dir, options.no_download)
    if model is None:
        return understand(data, loss=settings.loss, layers=settings.layers)
    return resumed(data, model, before)


def _refuse_unreadable(settings: Settings) -> None:
    """Raise InputError for a name with which the run, once it is written, could not be read."""
    for name, value in (
        ("dataset", resolved_dataset(settings.dataset)),
        ("csv_log", resolved_log(settings.csv_log)),
    ):
        if not SETTINGS[name].fits(value):
            raise InputError(f"{name} = {value!r}; wanted {SETTINGS[name].text}")


def _refuse_new_log(log: str | None, folder: Path) -> None:
    """Raise InputError if the settings of the run in `folder` name a log outside of it that is not
    there: somebody else's run could so have a file made anywhere.
    """
    if log is None or Path(os.path.realpath(log)).is_relative_to(os.path.realpath(folder)):
        return
    if not os.path.isfile(log) or not os.path.getsize(log):
        raise InputError(
            f"{folder} is a run whose log, {brief(log)}, is outside of it and is not there, or is "
            "empty; to begin a log, name it with --csv-log"
        )


@dataclass(frozen=True)
class Split:
    """Training data, rows held out of it for validation, and test data; (x, y) each, or None."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array] | None
    test: tuple[Array, Array] | None = None


def split(data: Dataset, *, share: float, seed: int) -> Split:
    """`data` with `share` of its training rows held out: the same rows for the same seed.

    Raises typer.BadParameter if either part would be empty.
    """
    x, y = data.x_train, data.y_train
    test = None if data.x_test is None else (data.x_test, data.y_test)
    if share == 0:
        return Split((x, y), None, test)
    kept, out = held_out(len(x), share=share, seed=seed)
    if not len(out) or not len(kept):
        raise typer.BadParameter(
            f"{share:g} of {len(x)} rows is {len(out)}; leave some to train and some to validate, "
            "or use 0 for no validation",
            param_hint="--validation",
        )
    return Split((x[kept], y[kept]), (x[out], y[out]), test)


def held_out(n: int, *, share: float, seed: int) -> tuple[Array, Array]:
    """Indices of the rows to train on and of the `share` held out, out of n; each in order."""
    from mlpx.training.sampling import hold_out

    return hold_out(seed, n, round(share * n))


def build_model(settings: Settings, task: Task) -> MLP:
    """An untrained model for the task; it scales stored values itself.

    Raises typer.BadParameter if `--layers` does not fit the data.
    """
    from mlpx.layers import Dense, Rescale

    widths = _widths(settings, task)
    hidden = [Dense(n, activation=settings.activation, initializer=settings.initializer)
              for n in widths[1:-1]]  # fmt: skip
    scaling = [Rescale(task.data.scale)] if task.data.scale != 1 else []
    return MLP(
        [widths[0], *scaling, *hidden, Dense(widths[-1], initializer=settings.initializer)],
        loss=task.loss,
        dtype=settings.dtype,
        seed=settings.seed,
        device=settings.device,
    )


def check(model: MLP, data: Dataset) -> None:
    """Check the arrays of `data`; errors use the names and rows that the user knows.

    Raises DataFormatError for what `model` cannot take.
    """
    check_part(model, data.name, "train", data.x_train, data.y_train)
    if data.x_test is not None and data.y_test is not None:
        check_part(model, data.name, "test", data.x_test, data.y_test)


def check_part(model: MLP, file: str, part: str, x: Array, y: Array) -> None:
    """Raises DataFormatError if `model` cannot take x and y, the `part` of a file."""
    from mlpx.program.data import check_data

    try:
        check_data(model, x, y, suffix=f"_{part}")
    except (InputError, InputTypeError) as error:
        raise DataFormatError(f"{file}: {error}") from None


def dense_widths(model: MLP) -> list[int]:
    """The widths that `--layers` would give: the input's and those of the dense layers."""
    from mlpx.layers import Dense

    return [model.d_in, *(layer.units for layer in model.layers if isinstance(layer, Dense))]


def _widths(settings: Settings, task: Task) -> tuple[int, ...]:
    data = task.data
    d, k = data.x_train.shape[1], _outputs(task)
    if settings.layers is None:
        return (d, *(HIDDEN if settings.hidden is None else settings.hidden), k)
    widths = settings.layers
    if len(widths) < 2 or widths[0] != d or widths[-1] != k:
        fitting = ",".join(map(str, (d, *(widths[1:-1] or HIDDEN), k)))
        raise typer.BadParameter(
            f"{in_commas(widths)} does not fit {data.name}, whose rows have {d} numbers and whose "
            f"targets need {k} outputs; for example --layers {fitting}",
            param_hint="--layers",
        )
    return widths


def _outputs(task: Task) -> int:
    from mlpx.kernels.losses import Loss

    y = task.data.y_train
    if task.classes is not None and Loss.resolve(task.loss).targets == "classes":
        return task.classes.count
    return int(y.shape[1]) if y.ndim == 2 else 1


def monitors(model: MLP, *, validated: bool) -> tuple[str, ...]:
    """The names of what each epoch reports, which callbacks can watch."""
    from mlpx.metrics import default_metrics

    names = ("loss", *(metric.name for metric in default_metrics(model.loss.targets)))
    return (*names, *(f"val_{name}" for name in names)) if validated else names


def make_callbacks(settings: Settings, watched: tuple[str, ...], *, append: bool) -> list[Callback]:
    """The callbacks that the settings ask for; a log is appended to.

    Raises typer.BadParameter for a metric that the run does not report.
    """
    made: list[Callback] = []
    waits: dict[str, Any] = {} if settings.patience is None else {"patience": settings.patience}
    if settings.early_stopping not in (None, OFF):
        made.append(
            EarlyStopping(_watched(settings.early_stopping, "--early-stopping", watched), **waits)
        )
    if settings.stop_on_plateau:
        made.append(StopOnPlateau(**waits))
    if waits and not made and settings.early_stopping != OFF:
        raise typer.BadParameter(
            "needs --early-stopping METRIC or --stop-on-plateau", param_hint="--patience"
        )
    if settings.best_weights not in (None, OFF):
        made.append(BestWeights(_watched(settings.best_weights, "--best-weights", watched)))
    if settings.csv_log is not None:
        made.append(CSVLog(settings.csv_log, append=append))
    return made


def _watched(metric: str | None, option: str, watched: tuple[str, ...]) -> str:
    name = str(metric).strip().lower().replace("-", "_")
    if name not in watched:
        hint = " (--validation 0 leaves no validation data)" if name.startswith("val_") else ""
        raise typer.BadParameter(
            f"{metric!r} is nothing this run reports{hint}; it reports {', '.join(watched)}",
            param_hint=option,
        )
    return name


def resolved_log(name: str | None) -> str | None:
    """The path by which a command run in another folder finds the log again."""
    return name and os.path.abspath(name)


def resolved_dataset(name: str) -> str:
    """The name by which a command run in another folder finds the data set again."""
    file = name.endswith(".npz") or is_table(name)
    return str(Path(os.path.expanduser(name)).resolve()) if file else name
