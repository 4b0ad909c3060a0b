"""The options of `mlpx train`, and the settings of a run that are made from them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpx.cli.tables import is_table

if TYPE_CHECKING:
    from mlpx.optimizers import Optimizer

HIDDEN = (100,)
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"hidden": (200,), "epochs": 60},
    "mnist": {"hidden": (256,), "batch_size": 128, "epochs": 10},
    "fashion-mnist": {"hidden": (256,), "batch_size": 128, "epochs": 15},
}
"""Settings of a data set that differ from the defaults below."""
FOR_TABLES: dict[str, Any] = {
    "preset": "auto",
    "optimizer": "adamw",
    "epochs": None,
    "batch_size": None,
}
"""The same, for files of tables; None is as the preset has it."""
OF_THE_MODEL = ("layers", "hidden", "activation", "loss", "initializer", "dtype", "seed")
"""Settings that a resumed model already has."""
OF_THE_TABLE = (
    "target", "task", "test", "drop", "group", "time", "encoding", "preset", "quantiles",
)  # fmt: skip
"""Settings that say what is learnt from which rows of a table; a resumed run keeps them."""
FOR_A_TABLE = (*OF_THE_TABLE, "calibrated", "intervals")
"""All settings that other data does not have."""
OF_THE_RUN = ("optimizer", "learning_rate", "sampling", "batch_size")
"""Settings with which a run cut short can be finished only as they were; with others its model is
trained anew.
"""
EXCLUSIVE = (("epochs", "steps"), ("layers", "hidden"), ("loss", "quantiles"))
SEVERAL = ("layers", "hidden", "drop", "quantiles")
OFF = "off"
"""Instead of a metric or an interval: none."""


@dataclass(frozen=True)
class TrainOptions:
    """What the command line says; None for a setting that it does not mention."""

    dataset: str | None = None
    layers: tuple[int, ...] | None = None
    hidden: tuple[int, ...] | None = None
    activation: str | None = None
    loss: str | None = None
    initializer: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    epochs: int | None = None
    steps: int | None = None
    sampling: str | None = None
    batch_size: int | None = None
    validation: float | None = None
    device: str | None = None
    engine: str | None = None
    threads: int | None = None
    dtype: str | None = None
    seed: int | None = None
    early_stopping: str | None = None
    stop_on_plateau: bool | None = None
    patience: int | None = None
    best_weights: str | None = None
    on_divergence: str | None = None
    csv_log: str | None = None
    checkpoint_every: str | None = None
    target: str | None = None
    task: str | None = None
    test: str | None = None
    drop: tuple[str, ...] | None = None
    group: str | None = None
    time: str | None = None
    encoding: str | None = None
    preset: str | None = None
    quantiles: tuple[float, ...] | None = None
    calibrated: bool | None = None
    intervals: bool | None = None

    out: Path | None = None
    resume: Path | None = None
    data_dir: Path | None = None
    no_download: bool = False
    quiet: bool = False


@dataclass(frozen=True)
class Settings:
    """What a run is made from; the same names as the options of `mlpx train`."""

    dataset: str
    layers: tuple[int, ...] | None = None
    hidden: tuple[int, ...] | None = None
    activation: str = "relu"
    loss: str | None = None
    initializer: str | None = None
    optimizer: str = "adam"
    learning_rate: float | None = None
    epochs: int | None = 30
    steps: int | None = None
    sampling: str = "shuffle"
    batch_size: int | None = 32
    validation: float = 0.1
    device: str | None = None
    engine: str = "auto"
    threads: int | None = None
    dtype: str = "float32"
    seed: int = 0
    early_stopping: str | None = None
    stop_on_plateau: bool = False
    patience: int | None = None
    best_weights: str | None = None
    on_divergence: str = "stop"
    csv_log: str | None = None
    checkpoint_every: str = "30s"
    target: str | None = None
    task: str = "auto"
    test: str = "0.2"
    drop: tuple[str, ...] = ()
    group: str | None = None
    time: str | None = None
    encoding: str = "utf-8"
    preset: str | None = None
    quantiles: tuple[float, ...] | None = None
    calibrated: bool = False
    intervals: bool = False

    @classmethod
    def choose(cls, options: TrainOptions, before: dict[str, Any] | None = None) -> Settings:
        """From the options, else from the run `before` or the data set's recipe, else the default.

        Raises typer.BadParameter for options that exclude each other.
        """
        names = cls.names()
        given = {name: getattr(options, name) for name in names}
        given = {name: value for name, value in given.items() if value is not None}
        for one, other in EXCLUSIVE:
            if one in given and other in given:
                raise typer.BadParameter(f"--{one} and --{other} exclude each other; give one")
        dataset = given.get("dataset", "")
        recipe = FOR_TABLES if is_table(dataset) else RECIPES.get(dataset, {})
        if before is not None:
            _refuse_changes(given, before)
            recipe = {k: v for k, v in before.items() if k in names}
            recipe |= {k: tuple(recipe[k]) for k in SEVERAL if recipe.get(k)}
        if "steps" in given or "epochs" in given:
            recipe = {**recipe, "epochs": None, "steps": None}  # one replaces the other
        if "optimizer" in given:
            recipe = {**recipe, "learning_rate": None}  # it was the other optimizer's
            if _takes_all_rows(given["optimizer"]):
                recipe["batch_size"] = None
            elif recipe.get("batch_size", 0) is None:
                del recipe["batch_size"]
        _refuse_columns(given, is_table({**recipe, **given}.get("dataset", "")))
        return cls(**{**recipe, **given})

    @classmethod
    def names(cls) -> list[str]:
        """The names of the settings."""
        return [entry.name for entry in fields(cls)]

    @property
    def rule(self) -> Optimizer:
        """The optimizer, at the rate that is given."""
        from mlpx.optimizers import Optimizer

        rule: Optimizer = Optimizer.resolve(self.optimizer)
        return (
            rule if self.learning_rate is None else replace(rule, learning_rate=self.learning_rate)
        )

    def config(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        return values if self.target else {k: values[k] for k in values if k not in FOR_A_TABLE}


def _takes_all_rows(optimizer: str) -> bool:
    from mlpx.optimizers import Optimizer

    return Optimizer.resolve(optimizer).full_batch


def _refuse_changes(given: dict[str, Any], before: dict[str, Any]) -> None:
    for name in OF_THE_TABLE:
        if given.get(name, before.get(name)) != before.get(name):
            raise typer.BadParameter(
                f"--{name} says what the run learns from which rows, and --resume goes on with "
                f"{in_commas(before.get(name))}; leave it out"
            )
    for name in OF_THE_MODEL:
        if name in given:
            raise typer.BadParameter(
                f"--{name} belongs to the model, which --resume takes as it is; leave it out"
            )
    held_out = before.get("validation", given.get("validation"))
    if given.get("validation", held_out) != held_out:
        raise typer.BadParameter(
            f"{given['validation']:g}, and the run held out {held_out:g}, which stays: rows that "
            "it learnt from cannot validate it; leave it out",
            param_hint="--validation",
        )


def _refuse_columns(given: dict[str, Any], of_table: bool) -> None:
    for name in FOR_A_TABLE:
        if name in given and not of_table:
            raise typer.BadParameter(
                f"--{name} is for tables, in .csv, .tsv, .parquet or .feather files or a folder of "
                f"them; {given.get('dataset') or 'the run'} is none"
            )


def explain_default(name: str) -> str:
    """The default of a setting, and of data sets that differ, for a help text."""
    usual = next(entry.default for entry in fields(Settings) if entry.name == name)
    if name == "hidden":
        usual = HIDDEN
    differing = {k: v[name] for k, v in RECIPES.items() if name in v}
    texts = [in_commas(usual), *(f"{key}: {in_commas(value)}" for key, value in differing.items())]
    return f"[dim]\\[default: {'; '.join(texts)}][/dim]"


def in_commas(value: Any) -> str:
    """A setting as its option takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
