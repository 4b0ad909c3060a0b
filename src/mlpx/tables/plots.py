"""Pictures of what a model says about held-out rows: `pip install 'mlpx[plot]'`.

Each function returns a matplotlib Figure and, with `path`, writes it there atomically as PNG.
Raises MissingExtraError without matplotlib, CheckpointError if `path` cannot be written.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from mlpx.metrics.counting import confusion
from mlpx.tables.importances import Importance
from mlpx.training.drawing import COLOURS, GRID, INK, finish_frame, new_figure, written

MOST_CLASSES = 30
"""Classes of a confusion matrix: of more, those with the most mistakes are drawn."""
ROOMY = 4
COUNTED = 12
"""Classes up to which the cells have room for any count, and for one of four characters."""
MOST_COLUMNS = 20
LONGEST = 24
"""Characters of a name."""
POINTS = 3000
"""Rows up to which each is a point."""
Path = str | os.PathLike[str] | None


def confusion_matrix(
    y: np.ndarray, predicted: np.ndarray, *, labels: Sequence[object], path: Path = None
) -> Any:
    """How many rows of each class, down, were taken for each class, across.

    y, predicted (n,): numbers of the classes; labels: their names. A cell is the darker the larger
    its share of the true class's rows is. Of more than 30 classes, the 30 with the most mistakes
    are drawn, with one more column for the others.
    """
    cells = confusion(np, y, predicted, None, classes=len(labels))
    names, rest = [short(label) for label in labels], []
    total = len(names)
    if total > MOST_CLASSES:
        wrong = cells.sum(axis=1) - cells.diagonal()
        worst = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
        others = np.delete(cells[worst], worst, axis=1).sum(axis=1, keepdims=True)
        cells = np.hstack([cells[np.ix_(worst, worst)], others])
        names, rest = [names[i] for i in worst], ["others"]
    k = len(names)
    longest = max(map(len, names))
    side = max(2.6, (0.42 if k <= COUNTED else 0.3) * k)
    figure, (axes,) = new_figure(side + 1.2 + 0.07 * longest, side + 1.0)
    shares = cells / np.maximum(cells.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _write_cells(axes, cells, shares)
    axes.set_yticks(range(k), names)
    turned = longest * k > 30
    axes.set_xticks(range(k + len(rest)), names + rest, rotation=90 if turned else 0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true", color=INK)
    if rest:
        axes.set_title(
            f"{k} of {total} classes, those with the most mistakes", fontsize=10, color=INK
        )
    finish_frame(axes)
    axes.grid(False)
    axes.tick_params(labelsize=9 if k <= COUNTED else 7.5)
    return written(figure, path)


def short(label: object) -> str:
    """The name of a class or column, cut if it is long."""
    text = " ".join(str(label).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _write_cells(axes: Any, cells: np.ndarray, shares: np.ndarray) -> None:
    """The count in each cell that is not empty."""
    size = 9 if len(cells) <= COUNTED else 6
    for i, j in np.argwhere(cells > 0):
        colour = "white" if shares[i, j] > 0.55 else INK
        told = f"{cells[i, j]:,}" if len(cells) <= ROOMY else _brief(cells[i, j])
        axes.text(j, i, told, ha="center", va="center", color=colour, fontsize=size)


def _brief(count: int) -> str:
    """A count in at most four characters."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if count >= 10 * unit:
            return f"{count / unit:.0f}{letter}"
    return str(count)


def residuals(
    y: np.ndarray, predicted: np.ndarray, *, name: str = "value", path: Path = None
) -> Any:
    """True over predicted values (n,), and how the errors are spread."""
    figure, (left, right) = new_figure(9.0, 4.0, columns=2)
    ends = [min(y.min(), predicted.min()), max(y.max(), predicted.max())]
    if len(y) <= POINTS:
        left.scatter(predicted, y, s=9, color=COLOURS[0], alpha=0.45, linewidth=0)
    else:
        extent = (ends[0], ends[1], ends[0], ends[1])
        left.hexbin(
            predicted, y, gridsize=55, bins="log", cmap="Blues", mincnt=1, vmin=0.15,
            linewidths=0.1, extent=extent,
        )  # fmt: skip
    left.plot(ends, ends, color=COLOURS[1], linewidth=1.4, label="as predicted")
    left.set_xlabel(f"predicted {short(name)}")
    left.set_ylabel(f"true {short(name)}", color=INK)
    _draw_errors(right, predicted.astype(np.float64) - y)
    right.set_xlabel("predicted - true")
    for axes, place in ((left, "lower right"), (right, "upper right")):
        finish_frame(axes)
        axes.legend(frameon=False, labelcolor=INK, loc=place)
    return written(figure, path)


def _draw_errors(axes: Any, errors: np.ndarray) -> None:
    """A histogram, with the middle and where nine of ten errors are; the far ends are cut."""
    low, middle, high = np.percentile(errors, [5, 50, 95])
    reach = 2.5 * max(high - middle, middle - low) or 1.0
    near = errors[abs(errors - middle) <= reach]
    axes.hist(near, bins=51, range=(middle - reach, middle + reach), color=COLOURS[0])
    axes.axvline(low, color=COLOURS[1], linewidth=1.2, linestyle=":")
    axes.axvline(high, color=COLOURS[1], linewidth=1.2, linestyle=":", label="nine of ten rows")
    axes.axvline(middle, color=COLOURS[1], linewidth=1.4, label=f"median {middle:.3g}")
    axes.set_ylabel("rows", color=INK)
    if len(near) < len(errors):
        axes.set_title(f"{len(errors) - len(near):,} rows are outside", fontsize=9, color=INK)


def calibration(
    y: np.ndarray,
    p: np.ndarray,
    *,
    labels: Sequence[object],
    bins: int = 10,
    path: Path = None,
) -> Any:
    """How often what was predicted came true, over the probability given, with the rows below.

    y (n,) numbers of classes, p (n, k). Of two classes it is the probability of the second; of
    more, that of the class predicted. The bars are 95 % intervals (Wilson).
    """
    if p.shape[1] == 2:
        given, true, what = p[:, 1], y == 1, f"probability of {short(labels[1])}"
    else:
        given, true = p.max(axis=1), p.argmax(axis=1) == y
        what = "probability of the class predicted"
    figure, (top, bottom) = new_figure(
        4.8, 5.2, rows=2, sharex=True, gridspec_kw={"height_ratios": (3, 1)}
    )
    at = np.minimum((given * bins).astype(int), bins - 1)
    counts, hits, sums = (
        np.bincount(at, weights, minlength=bins) for weights in (None, true, given)
    )
    there = counts > 0
    counts_there, shares = counts[there], hits[there] / counts[there]
    low, high = _wilson(shares, counts_there)
    top.plot([0, 1], [0, 1], color="#999999", linewidth=1, linestyle="--", label="calibrated")
    top.errorbar(
        sums[there] / counts_there, shares, yerr=[shares - low, high - shares], color=COLOURS[0],
        marker="o", markersize=4, linewidth=1.6, elinewidth=1.1, label="this model",
    )  # fmt: skip
    top.set_ylabel("share that came true", color=INK)
    top.set_ylim(-0.02, 1.02)
    bottom.bar((np.arange(bins) + 0.5) / bins, counts, width=0.9 / bins, color=COLOURS[0])
    bottom.set_ylabel("rows", color=INK)
    bottom.set_xlabel(what)
    for axes in (top, bottom):
        finish_frame(axes)
    top.legend(frameon=False, labelcolor=INK)
    return written(figure, path)


def _wilson(share: np.ndarray, n: np.ndarray, z: float = 1.96) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the interval of a share of n rows.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", 1927.
    """
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return np.minimum(middle - half, share), np.maximum(middle + half, share)


def importances(found: Sequence[Importance], *, score: str = "log loss", path: Path = None) -> Any:
    """How much worse the `score` gets when a column is shuffled; the 20 most important ones."""
    shown = list(found[:MOST_COLUMNS])[::-1]
    figure, (axes,) = new_figure(6.4, max(1.8, 0.27 * len(shown) + 0.9))
    axes.barh(
        [short(each.column) for each in shown], [each.rise for each in shown],
        xerr=[each.spread for each in shown], color=COLOURS[0],
        error_kw={"ecolor": INK, "elinewidth": 1},
    )  # fmt: skip
    axes.set_xlabel(f"rise of the {score} when the column is shuffled")
    axes.set_ylim(-0.7, len(shown) - 0.3)
    left_out = len(found) - len(shown)
    if left_out:
        axes.set_title(f"and {left_out} columns with less", fontsize=9, color=INK)
    finish_frame(axes)
    axes.grid(False, axis="y")
    axes.axvline(0, color=GRID, linewidth=1)
    return written(figure, path)
