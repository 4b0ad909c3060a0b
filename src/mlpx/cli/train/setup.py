"""What `mlpx train` trains: its settings with their defaults, the data split, and the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mlpx.cli.task import Task
from mlpx.errors import DataFormatError, InputError, InputTypeError
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.data import Dataset
    from mlpx.mlp import MLP

HIDDEN = (100,)
RECIPES: dict[str, dict[str, Any]] = {
    "digits": {"hidden": (200,), "epochs": 60},
    "mnist": {"hidden": (256,), "batch_size": 128, "epochs": 10},
    "fashion-mnist": {"hidden": (256,), "batch_size": 128, "epochs": 15},
}
"""Settings of a data set that differ from the defaults below."""
OF_THE_MODEL = ("layers", "hidden", "activation", "loss", "initializer", "dtype", "seed")
"""Settings that a model which is trained further already has."""


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

    @classmethod
    def choose(cls, options: dict[str, Any], before: dict[str, Any] | None = None) -> Settings:
        """What was given, else what the run before or the data set's recipe has, else the default.

        Raises typer.BadParameter for options that exclude each other.
        """
        names = {entry.name for entry in fields(cls)}
        given = {k: v for k, v in options.items() if k in names and v is not None}
        for one, other in (("epochs", "steps"), ("layers", "hidden")):
            if one in given and other in given:
                raise typer.BadParameter(f"--{one} and --{other} exclude each other; give one")
        recipe = RECIPES.get(given.get("dataset", ""), {})
        if before is not None:
            _refuse_changes(given, before)
            recipe = {k: v for k, v in before.items() if k in names}
            recipe |= {k: tuple(recipe[k]) for k in ("layers", "hidden") if recipe.get(k)}
        if "steps" in given or "epochs" in given:
            recipe = {**recipe, "epochs": None, "steps": None}  # one replaces the other
        if "optimizer" in given:
            recipe = {**recipe, "learning_rate": None}  # it was the other optimizer's
            if _takes_all_rows(given["optimizer"]):
                recipe["batch_size"] = None
            elif recipe.get("batch_size", 0) is None:
                del recipe["batch_size"]
        return cls(**{**recipe, **given})

    def config(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def _takes_all_rows(optimizer: str) -> bool:
    from mlpx.optimizers import Optimizer

    return Optimizer.resolve(optimizer).full_batch


def _refuse_changes(given: dict[str, Any], before: dict[str, Any]) -> None:
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


def explain_default(name: str) -> str:
    """The default of a setting, and of data sets that differ, for a help text."""
    usual = next(entry.default for entry in fields(Settings) if entry.name == name)
    if name == "hidden":
        usual = HIDDEN
    differing = {k: v[name] for k, v in RECIPES.items() if name in v}
    texts = [_text(usual), *(f"{key}: {_text(value)}" for key, value in differing.items())]
    return f"[dim]\\[default: {'; '.join(texts)}][/dim]"


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@dataclass(frozen=True)
class Split:
    """Training data, what is held out of it for validation, and test data; (x, y) each or None."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array] | None
    test: tuple[Array, Array] | None = field(default=None)


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
    """Of n rows those that are trained on and the `share` that is held out, each in order."""
    from mlpx.training.sampling import hold_out

    return hold_out(seed, n, round(share * n))


def build_model(settings: Settings, task: Task) -> MLP:
    """An untrained model for the task, which scales stored values itself.

    Raises typer.BadParameter if `--layers` does not fit the data.
    """
    from mlpx.layers import Dense, Rescale
    from mlpx.mlp import MLP

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
    """Have the arrays of `data` looked through by the names and the rows that the user knows.

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
            f"{_text(widths)} does not fit {data.name}, whose rows have {d} numbers and whose "
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
    """The columns each epoch reports, which callbacks can watch."""
    from mlpx.metrics import default_metrics

    names = ("loss", *(metric.name for metric in default_metrics(model.loss.targets)))
    return (*names, *(f"val_{name}" for name in names)) if validated else names


def resolved_dataset(name: str) -> str:
    """The name by which another command, run elsewhere, finds the data set again."""
    return str(Path(name).expanduser().resolve()) if name.endswith(".npz") else name
