"""The look that all pictures share, and how one is written."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

from mlpx.errors import MissingExtraError
from mlpx.files import write_atomically

COLOURS = ("#1f6fb4", "#d9622b", "#2a8a57", "#8b5fbf", "#b8932f", "#4a4a4a")
INK, GRID = "#333333", "#e3e3e3"


def new_figure(
    width: float, height: float, *, rows: int = 1, columns: int = 1, **grid: Any
) -> tuple[Any, Any]:
    """A figure of `width` by `height` inches, and its panels, row by row."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "a picture", error) from error
    figure = Figure(figsize=(width, height), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, figure.subplots(rows, columns, squeeze=False, **grid).reshape(-1)


def written(figure: Any, path: str | os.PathLike[str] | None) -> Any:
    """`figure`, written atomically as PNG if there is a `path`. Raises CheckpointError."""
    if path is not None:
        content = io.BytesIO()
        figure.savefig(content, format="png")
        write_atomically(Path(path), content.getvalue())
    return figure


def finish_frame(axes: Any) -> None:
    """Colours, grid and spines of one panel."""
    axes.xaxis.label.set_color(INK)
    axes.grid(True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0, which="both")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color("#bbbbbb")
