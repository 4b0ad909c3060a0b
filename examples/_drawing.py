"""What the examples' pictures share: their look, their folder and their arguments."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("agg")  # files only: no display is needed
import matplotlib.pyplot as plt
from matplotlib.figure import Figure

INK, FAINT = "#22303c", "#d9dee3"
BLUE, ORANGE, GREEN, RED, PURPLE, GREY = (
    "#3366aa", "#e07b27", "#3a9d5d", "#c8373f", "#8656a8", "#8a949e",
)  # fmt: skip
COLOURS = (BLUE, ORANGE, GREEN, RED, PURPLE, "#2aa5b5", "#b0843a", "#d05a9c", "#6b7f2a", GREY)

mpl.rcParams |= {
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.prop_cycle": mpl.cycler(color=COLOURS),
    "axes.axisbelow": True,
    "grid.color": FAINT,
    "legend.frameon": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
}


def arguments(description: str | None, **more: dict[str, Any]) -> argparse.Namespace:
    """The command line: --out, --quick, and what else an example asks for."""
    parser = argparse.ArgumentParser(description=(description or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("runs/examples"), help="picture's folder")
    parser.add_argument("--quick", action="store_true", help="a short run, as in the tests")
    for name, options in more.items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    return parser.parse_args()


def panels(rows: int, columns: int, size: tuple[float, float], **grid: Any) -> tuple[Figure, Any]:
    """A figure of rows x columns axes, `size` inches."""
    return plt.subplots(rows, columns, figsize=size, **grid)


def save(figure: Figure, folder: Path, name: str) -> Path:
    """Write the picture and say where."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    figure.savefig(path)
    plt.close(figure)
    print(f"picture: {path}")
    return path
