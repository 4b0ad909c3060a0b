"""What a data set asks a network to learn: the loss, the classes, and notes on what looks odd."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import typer

from mlpx.cli.classes import Classes, holds_labels, holds_text, holds_whole
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.data import Dataset
    from mlpx.mlp import MLP

MANY_CLASSES = 100


@dataclass(frozen=True)
class Task:
    """`data` with labels as numbers of outputs, the loss to train with, the classes if there are
    any, and notes for the user.
    """

    data: Dataset
    loss: str
    classes: Classes | None = None
    notes: tuple[str, ...] = ()


def understand(data: Dataset, *, loss: str | None, layers: tuple[int, ...] | None) -> Task:
    """The task that `data` sets, with the given loss or one that suits its targets.

    Raises typer.BadParameter for an unsuitable loss, DataFormatError.
    """
    from mlpx.kernels.losses import Loss

    y = data.y_train
    chosen = loss or default_loss(y)
    kind = Loss.resolve(chosen).targets
    if kind == "values":
        if holds_text(y):
            raise _unsuitable(f"{chosen} needs numbers; y_train of {data.name} holds text")
        return Task(data, chosen, notes=() if loss else _notes_on_values(y, chosen))
    if not holds_labels(y):
        if kind == "classes" and y.ndim == 1:
            raise _unsuitable(
                f"{chosen} needs whole-number labels; y_train of {data.name} has others"
            )
        return Task(data, chosen)
    classes = Classes.of(data)
    if kind == "binary":
        classes = _two(classes, chosen, data.name)
    elif layers is not None and _numbered(classes, layers[-1]):
        classes = Classes(layers[-1])  # some classes have no row here
    return Task(classes.encoded(data), chosen, classes, _notes_on_classes(classes, len(y)))


def resumed(data: Dataset, model: MLP, config: dict[str, Any] | None) -> Task:
    """The task of a run on `data`; the run's settings name its classes.

    Raises DataFormatError for an unknown label, CheckpointError.
    """
    classes = Classes.kept(config, model=model) or Classes(model.d_out)
    return Task(classes.encoded(data), model.loss.name, classes)


def encode(config: dict[str, Any] | None, file: str, name: str, y: Array, *, model: MLP) -> Array:
    """Targets y as `model` takes them; `config` are the settings of its run, if any.

    Raises DataFormatError for an unknown label, CheckpointError.
    """
    return (Classes.kept(config, model=model) or Classes(0)).encode(file, name, y)


def default_loss(y: Array) -> str:
    """Text and whole numbers mean classes; floats and several columns mean values."""
    labels = holds_text(y) or (y.ndim == 1 and y.dtype.kind in "iub")
    return "softmax_cross_entropy" if labels else "mean_squared_error"


def _unsuitable(text: str) -> typer.BadParameter:
    return typer.BadParameter(text, param_hint="--loss")


def _two(classes: Classes, loss: str, name: str) -> Classes:
    if (classes.labels is None and classes.count <= 2) or classes.labels == (1,):
        return Classes(2)
    if classes.count != 2:
        raise _unsuitable(
            f"{loss} tells two classes apart; y_train of {name} has {classes.count}: {classes}"
        )
    return classes


def _numbered(classes: Classes, outputs: int) -> bool:
    """Whether the labels are numbers below `outputs`, the highest of them included."""
    labels = classes.labels or ()
    return bool(labels) and labels[-1] == outputs - 1 and labels[0] in range(outputs)


def _notes_on_values(y: Array, loss: str) -> tuple[str, ...]:
    if (y.ndim == 2 and y.shape[1] > 1) or not holds_whole(y):
        return ()
    few = len(np.unique(y))
    return (
        f"y_train has {few} distinct number{'s' if few != 1 else ''}, all of them whole, as "
        f"{y.dtype}{' in a column' if y.ndim == 2 else ''}: they are taken as values to predict, "
        f"--loss {loss}; if they are classes, add --loss softmax_cross_entropy",
    )


def _notes_on_classes(classes: Classes, n: int) -> tuple[str, ...]:
    if classes.count == 1:
        return (
            f"y_train has one class only, {classes}: the model will learn to answer that and "
            "nothing else",
        )
    if classes.count > MANY_CLASSES and 2 * classes.count > n:
        return (
            f"the {n:,} rows of y_train are of {classes.count:,} classes; if the labels are "
            "amounts, add --loss mean_squared_error",
        )
    return ()
