"""`mlpx train` on a table: how its rows are divided, and what is told of its columns and scores."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpx.cli import tables
from mlpx.cli.classes import Classes
from mlpx.cli.task import Task
from mlpx.cli.train import sureness
from mlpx.cli.train.settings import Settings
from mlpx.data import Dataset
from mlpx.errors import InputError
from mlpx.files import write_atomically
from mlpx.untrusted import one_line

if TYPE_CHECKING:
    from mlpx.kernels.losses import Loss
    from mlpx.mlp import MLP
    from mlpx.optimizers import Optimizer
    from mlpx.tables.dividing import Divided
    from mlpx.tables.presets import Preset
    from mlpx.tables.saved import TableModel
    from mlpx.tables.target import Target
    from mlpx.training.run import Callback

MOST_COLUMNS = 40
"""Columns of the table that are told of one by one."""
SCORES = "scores.json"
BESIDE = (SCORES, "confusion.png", "calibration.png", "residuals.png", "importances.png")
"""What is written of the scores on the test rows."""
SOME = 5


@dataclass(frozen=True, eq=False)
class TableRun:
    """A table that was read for a run, the network, and how it is trained.

    `settings` have the choices that the preset made; `options` are its arguments of `fit`.
    """

    settings: Settings
    divided: Divided
    made: TableModel
    options: dict[str, Any]

    @classmethod
    def of(cls, settings: Settings, model: MLP | None, *, digest: str | None = None) -> TableRun:
        """The table that the settings name; `model` is that of a run that goes on, or None, and
        `digest` what its division was.

        Raises typer.BadParameter, MlpxError.
        """
        from mlpx.tables.saved import TableModel

        before = None if model is None else TableModel.of(model)
        divided = read_divided(settings, before, digest=digest)
        sureness.check(settings, divided)
        preset = _preset(settings, before).for_rows(len(divided.train))
        if before is None:
            made = TableModel.new(
                divided.encoder, divided.target, preset, x=divided.train.x, seed=settings.seed,
                device=settings.device, dtype=settings.dtype, loss=_loss(settings, divided.target),
            )  # fmt: skip
        else:
            made = replace(before, preset=preset, temperature=1.0, conformal=None)
            made.describe()
        options = preset.options(
            made.model.layers, target=divided.target, validated=divided.validation is not None
        )
        return cls(_settled(settings, preset, options), divided, made, options)

    @property
    def rule(self) -> Optimizer:
        """The preset's optimizer, unless the settings name another."""
        rule: Optimizer = self.options["optimizer"]
        return rule if rule.name == self.settings.optimizer else self.settings.rule

    @property
    def task(self) -> Task:
        """What the network learns, as the other data sets say it."""
        train, test, target = self.divided.train, self.divided.test, self.divided.target
        x_test, y_test = (None, None) if test is None else (test.x, test.y)
        name = Path(self.settings.dataset).name
        data = Dataset(name, train.x, train.y, x_test, y_test, None, None, 1.0)
        classes = Classes(len(target.classes)) if target.classes else None
        return Task(data, self.made.model.loss.name, classes, self.divided.notes)

    @property
    def parts(self) -> list[Any]:
        """x and y of the rows to train on, to validate and to test; None for no rows."""
        divided = self.divided
        parts = divided.train, divided.validation, divided.test
        return [None if part is None else (part.x, part.y) for part in parts]

    @property
    def callbacks(self) -> list[Callback]:
        """Those of the preset, unless the settings say when to stop or which epoch to keep."""
        settings = self.settings
        told = settings.early_stopping, settings.best_weights, settings.stop_on_plateau or None
        return list(self.options.get("callbacks", ())) if told == (None, None, None) else []

    def announce(self) -> None:
        """Print what was done to each column."""
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        rows = self.divided.encoder.report()
        made = Table(box=None, pad_edge=False)
        for title, most in (("column", 24), ("kind", None), ("what is done", None)):
            made.add_column(title, max_width=most, overflow="fold")
        for row in rows[:MOST_COLUMNS]:
            made.add_row(*(Text(one_line(part)) for part in row))
        Console(highlight=False).print(made)
        if len(rows) > MOST_COLUMNS:
            typer.echo(f"... and {len(rows) - MOST_COLUMNS:,} columns more")
        typer.echo(f"target: {one_line(self.settings.target or '')}, {self.divided.target.says()}")

    def surer(self) -> TableRun:
        """The run, trained, with what its validation rows tell, if the settings ask for it.

        Raises InputError.
        """
        made = sureness.surer(self.settings, self.made, self.divided.validation)
        return replace(self, made=made)

    def tested(self) -> dict[str, float] | None:
        """The scores on the test rows, None without any."""
        from mlpx.tables.assessment import scores_on

        if self.divided.test is None:
            return None
        found = scores_on(self.made, self.divided.test)
        return {name: score.value for name, score in found.items()}

    def tell(self, folder: Path, *, quiet: bool) -> list[str]:
        """Write the scores beside those of simple models, with pictures, into `folder`, and print
        them unless `quiet`; returns the names of the files.

        Raises CheckpointError.
        """
        from mlpx.tables.assessment import Assessment

        found = Assessment.of(self.made, self.divided)
        write_atomically(folder / SCORES, (json.dumps(found.as_dict(), indent=1) + "\n").encode())
        pictures, trouble = found.draw(folder)
        if not quiet:
            print_scores(found.titles, found.rows(), rows=f"{len(found.y):,} rows to test")
            assert self.divided.test is not None
            told = sureness.told(self.made, self.divided.test)
            for note in (*told, *found.notes, *([f"no pictures: {trouble}"] if trouble else [])):
                typer.echo(one_line(note))
        return [SCORES, *pictures]


def print_scores(titles: list[str], lines: list[tuple[str, list[str]]], *, rows: str) -> None:
    """Print a table of scores on these rows."""
    from rich.console import Console
    from rich.table import Table

    made = Table(box=None, pad_edge=False)
    made.add_column(f"on {rows}", min_width=14)
    for i, title in enumerate(titles):
        made.add_column(title, justify="right", no_wrap=i < 2, overflow="fold")
    for name, cells in lines:
        made.add_row(name, *cells)
    Console(highlight=False).print(made)


def _share(text: str) -> float | None:
    """The share of rows that --test asks for, None if it names a file."""
    try:
        return float(text)
    except ValueError:
        return None


def read_divided(
    settings: Settings, before: TableModel | None, *, digest: str | None = None
) -> Divided:
    """The table that the settings name, in parts; `before` is the model of a run that goes on, and
    `digest` what its division was, if that is known.

    Raises typer.BadParameter, MlpxError; InputError if the division is another now.
    """
    from mlpx.tables.columns.values import is_text
    from mlpx.tables.dividing import divide
    from mlpx.tables.presets import preset_of

    texts = [] if before is None else tables.texts_of(before)
    whole = tables.read(settings.dataset, encoding=settings.encoding, texts=texts)
    if settings.target is None:
        names = ", ".join(map(one_line, whole.column_names[-SOME:]))
        raise typer.BadParameter(
            f"which column is to be predicted? The last of the {len(whole.column_names)} of "
            f"{settings.dataset} are {names}",
            param_hint="--target",
        )
    test = None
    if _share(settings.test) is None:
        texts = [name for name in whole.column_names if is_text(whole[name].type)]
        test = tables.read(settings.test, encoding=settings.encoding, texts=texts)
    known = None if before is None else (before.encoder, before.target)
    preset = preset_of(settings.preset) if before is None else before.preset
    divided = divide(whole, rule_of(settings), test=test, known=known, one_hot=preset.one_hot)
    if digest not in (None, divided.digest):
        raise InputError(
            f"{settings.dataset} is not what it was when the run was trained, so it is not known "
            "which rows the run has learnt from; evaluate another file, or train anew"
        )
    return divided


def _preset(settings: Settings, before: TableModel | None) -> Preset:
    """The preset, with what the settings say otherwise.

    Raises typer.BadParameter for settings that a preset decides.
    """
    from mlpx.tables.presets import preset_of

    for name, usual in (("layers", None), ("activation", "relu"), ("initializer", None)):
        if before is None and getattr(settings, name) != usual:
            raise typer.BadParameter(
                f"--{name} is decided by the preset of a table; --hidden gives the widths"
            )
    own = preset_of(settings.preset) if before is None else before.preset
    given: dict[str, Any] = {
        "hidden_layer_sizes": settings.hidden, "epochs": settings.epochs,
        "batch_size": settings.batch_size, "learning_rate": settings.learning_rate,
    }  # fmt: skip
    return replace(own, **{name: value for name, value in given.items() if value is not None})


def _loss(settings: Settings, target: Target) -> Loss | None:
    """The loss that the settings name, None for the preset's.

    Raises typer.BadParameter for one that does not suit the target.
    """
    from mlpx.kernels.losses import Loss, Quantile

    if settings.quantiles is not None:
        return Quantile(settings.quantiles)
    if settings.loss is None:
        return None
    loss: Loss = Loss.resolve(settings.loss)
    wanted = f"{len(target.classes)} classes" if target.classes else "values"
    suits = (loss.targets == "values") != bool(target.classes)
    if loss.name == "poisson":
        raise typer.BadParameter(
            "poisson wants counts as they are, and the values of a table are brought to mean 0 and "
            "deviation 1; leave it out",
            param_hint="--loss",
        )
    if not suits or (loss.targets == "binary" and len(target.classes) > 2):
        raise typer.BadParameter(
            f"{loss.name} does not suit the target {one_line(target.name)}, which has {wanted}; "
            "leave it out, or see --task",
            param_hint="--loss",
        )
    return loss


def _settled(settings: Settings, preset: Preset, options: dict[str, Any]) -> Settings:
    """The settings with the choices of the preset."""
    rule: Optimizer = options["optimizer"]
    own = rule.name == settings.optimizer
    return replace(
        settings,
        hidden=preset.hidden_layer_sizes,
        epochs=None if settings.steps is not None else preset.epochs,
        batch_size=preset.batch_size,
        learning_rate=preset.learning_rate if own else settings.learning_rate,
        sampling=options.get("sampling", settings.sampling),
    )


def rule_of(settings: Settings) -> Any:
    """How the settings divide a table.

    Raises typer.BadParameter for a share that is none.
    """
    from mlpx.tables.dividing import Rule

    share = _share(settings.test)
    if share is not None and not 0 <= share < 1:
        raise typer.BadParameter(
            f"{settings.test}; wanted a share of the rows below 1, or a file", param_hint="--test"
        )
    if not 0 <= settings.validation < 1:
        raise typer.BadParameter(
            f"{settings.validation:g}; wanted a share of the rows below 1",
            param_hint="--validation",
        )
    return Rule(
        target=str(settings.target), task=settings.task, drop=settings.drop, group=settings.group,
        time=settings.time, test=share or 0.0, validation=settings.validation, seed=settings.seed,
    )  # fmt: skip
