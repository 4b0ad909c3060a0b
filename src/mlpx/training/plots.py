"""Plots of training runs and trained models, with matplotlib: `pip install 'mlpx[plot]'`.

Each function returns a matplotlib Figure and, with `path`, writes it there atomically as PNG. None
of them opens a window or changes the state of pyplot.
"""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from mlpx.errors import InputError, MissingExtraError
from mlpx.training.drawing import COLOURS, INK
from mlpx.training.drawing import finish_frame as _finish_frame
from mlpx.training.drawing import new_figure as _figure
from mlpx.training.drawing import written as _written
from mlpx.training.history import History
from mlpx.types import Array

LOG_RATIO = 30.0
"""A loss that falls by more than this factor is drawn on a logarithmic axis."""


def learning_curves(
    histories: History | Sequence[History] | Mapping[str, History],
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """A matplotlib Figure of loss and accuracy over the epochs; training solid, validation dashed.

    The keys of a mapping go into the legend. A fitted estimator stands for its last fit.

    Raises InputError without a history, MissingExtraError without matplotlib, CheckpointError if
    `path` cannot be written.
    """
    named = _named(histories)
    panels = [("loss", "loss")]
    if any("accuracy" in history or "val_accuracy" in history for history in named.values()):
        panels.append(("accuracy", "accuracy (%)"))
    figure, row = _figure(5.4 * len(panels), 3.9, columns=len(panels))
    for axes, (column, label) in zip(row, panels, strict=True):
        _draw(axes, named, column)
        _finish(axes, label)
    return _written(figure, path)


def _named(histories: Any) -> dict[str, History]:
    if isinstance(histories, Mapping):
        named = dict(histories)
    elif isinstance(histories, Sequence):
        named = {f"run {i + 1}": history for i, history in enumerate(histories)}
    else:
        named = {"": histories}
    named = {name: getattr(history, "history_", history) for name, history in named.items()}
    if not named:
        raise InputError("histories is empty; wanted at least one History")
    return {"": next(iter(named.values()))} if len(named) == 1 else named


def _draw(axes: Any, named: dict[str, History], column: str) -> None:
    """The lines of one panel: a colour for each history, or for each part of a single one."""
    if column == "loss" and list(named) == [""] and len(named[""]) < 2:
        _draw_steps(axes, named[""].step_loss)
        return
    factor = 100.0 if column == "accuracy" else 1.0
    for i, (name, history) in enumerate(named.items()):
        for part, (prefix, style) in enumerate((("", "-"), ("val_", "--"))):
            if prefix + column not in history:
                continue
            values = factor * np.array(history[prefix + column])
            epochs = history.first_epoch + 1 + np.arange(len(values))
            axes.plot(
                epochs,
                values,
                style if name else "-",
                color=COLOURS[(i if name else part) % len(COLOURS)],
                label=": ".join(filter(None, (name, ("training", "validation")[part]))),
                linewidth=1.8,
                marker="o" if len(values) < 12 else "",
                markersize=4,
            )
    axes.set_xlabel("epoch")


def _draw_steps(axes: Any, losses: Array) -> None:
    """The loss of each step, for a run too short for a curve over epochs."""
    steps = np.arange(1, len(losses) + 1)
    axes.plot(steps, losses, color=COLOURS[0], label="training, each step", linewidth=1.0)
    axes.set_xlabel("step")


def _finish(axes: Any, label: str) -> None:
    """Scale, grid and legend of one panel."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

    drawn = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    values = np.concatenate([np.zeros(0), *drawn])
    values = values[np.isfinite(values)]
    if label == "loss" and len(values) and 0 < LOG_RATIO * values.min() < values.max():
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_formatter(NullFormatter())
    steps = [1, 2, 5, 10]
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=steps))
    axes.set_ylabel(label, color=INK)
    _finish_frame(axes)
    if axes.lines:
        axes.legend(frameon=False, labelcolor=INK)


def confusion_matrix(
    estimator: Any, X: Any, y: Any, *, path: str | os.PathLike[str] | None = None
) -> Any:
    """The confusion matrix, true classes down and predicted ones across, as a matplotlib Figure.

    Drawn by scikit-learn's display. Raises MissingExtraError, CheckpointError, NotFittedError.
    """
    classes = len(estimator.classes_)
    side = max(3.6, 0.42 * classes + 1.6)
    figure, (axes,) = _figure(side + 0.8, side)
    display = _displays("a confusion matrix").ConfusionMatrixDisplay.from_estimator(
        estimator, X, y, ax=axes, cmap="Blues", colorbar=False,
        values_format="d", text_kw={"fontsize": 9 if classes < 12 else 6},
    )  # fmt: skip
    if max(len(str(label)) for label in estimator.classes_) * classes > 40:
        display.ax_.tick_params(axis="x", labelrotation=90)
    return _written(figure, path)


def calibration(
    estimators: Any, X: Any, y: Any, *, bins: int = 10,
    path: str | os.PathLike[str] | None = None,
) -> Any:  # fmt: skip
    """The calibration curve: observed frequency over predicted probability, as a matplotlib Figure.

    estimators: a binary classifier, or a mapping from names to several. Drawn by
    scikit-learn's display.
    Raises InputError if there are none, MissingExtraError, CheckpointError.
    """
    named = dict(estimators) if isinstance(estimators, Mapping) else {"": estimators}
    if not named:
        raise InputError("estimators is empty; wanted at least one fitted classifier")
    figure, (axes,) = _figure(4.8, 4.4)
    display = _displays("a calibration curve").CalibrationDisplay
    for (name, estimator), colour in zip(named.items(), itertools.cycle(COLOURS), strict=False):
        display.from_estimator(
            estimator, X, y, n_bins=bins, name=name or type(estimator).__name__, ax=axes,
            color=colour,
        )  # fmt: skip
    _finish_frame(axes)
    axes.set_aspect("equal")
    axes.set_xlabel("probability given")
    axes.set_ylabel("share that came true")
    axes.legend(frameon=False, labelcolor=INK, loc="best")
    return _written(figure, path)


def first_layer(
    model: Any, *, shape: tuple[int, int] | None = None, units: int = 25,
    path: str | os.PathLike[str] | None = None,
) -> Any:  # fmt: skip
    """The weights of the first hidden units as images, as a matplotlib Figure.

    model: an MLP or a fitted estimator. shape: of an image; None means square. Red is positive,
    blue negative, white zero, each unit on its own scale; units with the largest weights go first.

    Raises InputError if the inputs are not an image of that shape, MissingExtraError,
    CheckpointError.
    """
    network = getattr(model, "model_", model)
    name = min(key for key in network.parameters if key.endswith(".W"))
    W = np.asarray(network.backend.to_numpy(network.parameters[name]))
    side = math.isqrt(len(W))
    rows, columns = shape or (side, side)
    if rows * columns != len(W):
        raise InputError(
            f"the network has {len(W)} inputs, which are no image of {rows} by {columns}; "
            "give its shape=(rows, columns)"
        )
    chosen = np.argsort(-np.linalg.norm(W, axis=0), kind="stable")[:units]
    across = math.ceil(math.sqrt(len(chosen)))
    down = math.ceil(len(chosen) / across)
    figure, panels = _figure(1.15 * across, 1.15 * down, rows=down, columns=across)
    for axes in panels:
        axes.set_axis_off()
    for axes, unit in zip(panels, chosen, strict=False):
        image = W[:, unit].reshape(rows, columns)
        most = float(np.abs(image).max()) or 1.0
        axes.imshow(image, cmap="RdBu_r", vmin=-most, vmax=most)
    return _written(figure, path)


def decision_regions(
    model: Any, X: Any, y: Any, *, steps: int = 300, path: str | os.PathLike[str] | None = None
) -> Any:
    """The regions of the classes that a model of two columns predicts, as a matplotlib Figure.

    model: an MLP or a fitted classifier; X (n, 2) and labels y (n,) are drawn as points.
    Raises InputError if X has other columns, MissingExtraError, CheckpointError.
    """
    points, labels = np.asarray(X, dtype=float), np.asarray(y)
    if points.ndim != 2 or points.shape[1] != 2:
        raise InputError(f"X.shape = {points.shape}; decision regions are drawn for two columns")
    classes = getattr(model, "classes_", np.unique(labels))
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.08 * (high - low + (high == low))
    axis = [np.linspace(a, b, steps) for a, b in zip(low - margin, high + margin, strict=True)]
    grid = np.stack(np.meshgrid(*axis), axis=-1)
    predicted = np.asarray(model.predict(grid.reshape(-1, 2))).reshape(steps, steps)
    indices = np.searchsorted(classes, predicted)
    figure, (axes,) = _figure(5.0, 4.4)
    colours = [COLOURS[i % len(COLOURS)] for i in range(len(classes))]
    levels = np.arange(len(classes) + 1) - 0.5
    axes.contourf(*axis, indices, levels=levels, colors=colours, alpha=0.25)
    for label, colour in zip(classes, colours, strict=True):
        here = points[labels == label]
        axes.scatter(
            *here.T, s=14, color=colour, edgecolor="white", linewidth=0.4, label=str(label)
        )
    _finish_frame(axes)
    axes.legend(frameon=True, framealpha=0.9, edgecolor="none", labelcolor=INK)
    return _written(figure, path)


def _displays(what: str) -> Any:
    """scikit-learn's modules with its displays."""
    try:
        from sklearn.calibration import CalibrationDisplay
        from sklearn.metrics import ConfusionMatrixDisplay
    except ImportError as error:
        raise MissingExtraError("scikit-learn", "sklearn", what, error) from error
    return SimpleNamespace(
        CalibrationDisplay=CalibrationDisplay, ConfusionMatrixDisplay=ConfusionMatrixDisplay
    )
