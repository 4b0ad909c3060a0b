"""Pictures of training runs. They need matplotlib: `pip install 'mlpx[plot]'`."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlpx.checkpoint import write_atomically
from mlpx.errors import InputError, MissingExtraError
from mlpx.types import Array

if TYPE_CHECKING:
    from mlpx.history import History

COLOURS = ("#1f6fb4", "#d9622b", "#2a8a57", "#8b5fbf", "#b8932f", "#4a4a4a")
LOG_RATIO = 30.0
"""A loss that falls by more than this factor is drawn on a logarithmic axis."""
INK, GRID = "#333333", "#e3e3e3"


def learning_curves(
    histories: History | Sequence[History] | Mapping[str, History],
    path: str | os.PathLike[str] | None = None,
) -> Any:
    """A matplotlib Figure of loss and accuracy over the epochs; training solid, validation dashed.

    A mapping names its histories in the legend. With `path` the figure is also written there as
    PNG, whole or not at all. pyplot is not touched: no window, no global state, nothing to close.

    Raises InputError without a history, MissingExtraError without matplotlib, CheckpointError if
    `path` cannot be written.
    """
    named = _named(histories)
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "a picture of the learning curves") from error
    panels = [("loss", "loss")]
    if any("accuracy" in history or "val_accuracy" in history for history in named.values()):
        panels.append(("accuracy", "accuracy (%)"))
    figure = Figure(figsize=(5.4 * len(panels), 3.9), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    for axes, (column, label) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        _draw(axes, named, column)
        _finish(axes, label)
    if path is not None:
        content = io.BytesIO()
        figure.savefig(content, format="png")
        write_atomically(Path(path), content.getvalue())
    return figure


def _named(histories: Any) -> dict[str, History]:
    if isinstance(histories, Mapping):
        named = dict(histories)
    elif isinstance(histories, Sequence):
        named = {f"run {i + 1}": history for i, history in enumerate(histories)}
    else:
        named = {"": histories}
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
    """The loss of each step: for a run too short for a curve of epochs."""
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
    axes.xaxis.label.set_color(INK)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, which="both")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")
    if axes.lines:
        axes.legend(frameon=False, labelcolor=INK)
