"""What the report opens with: ours against the fastest mode of each library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlpx.benchmark.report.document import Document, grouped, measured, summary
from mlpx.benchmark.report.units import figures
from mlpx.benchmark.statistics import geometric_mean, ratio

Cell = dict[str, Any]
Result = dict[str, Any]
OURS = "mlpx"


@dataclass(frozen=True)
class Rival:
    """The fastest mode of a library in one cell, and how many times as fast ours is."""

    result: Result
    ours: Result
    gain: float
    low: float
    high: float


def library_of(result: Result) -> str:
    """The part of `library/mode` before the slash."""
    return str(result["contender"]).partition("/")[0]


def fastest(cell: Cell) -> dict[str, Result]:
    """The fastest result of each library with a figure."""
    found: dict[str, Result] = {}
    for result in sorted(measured(cell), key=lambda one: float(one["step_s"]["median"])):
        found.setdefault(library_of(result), result)
    return found


def rivals(cell: Cell) -> dict[str, Rival]:
    """Each other library's fastest mode against ours; none if we have no figure."""
    found = fastest(cell)
    ours = found.pop(OURS, None)
    if ours is None:
        return {}
    return {
        library: Rival(result, ours, *ratio(summary(result), summary(ours)))
        for library, result in found.items()
    }


def tables(document: Document) -> Iterator[list[Cell]]:
    """The cells of one net on one device, by batch size."""
    for cells in grouped(document).values():
        for device in dict.fromkeys(cell["device"] for cell in cells):
            yield sorted(
                (cell for cell in cells if cell["device"] == device),
                key=lambda cell: int(cell["batch_size"]),
            )


def mean_gains(cells: list[Cell]) -> dict[str, float]:
    """The geometric mean of our gain on each library, the strongest library first."""
    gains: dict[str, list[float]] = {}
    for cell in cells:
        for library, rival in rivals(cell).items():
            gains.setdefault(library, []).append(rival.gain)
    means = {library: geometric_mean(found) for library, found in gains.items()}
    return dict(sorted(means.items(), key=lambda item: item[1]))


def headline(document: Document) -> str:
    """One sentence: the geometric mean against the fastest peer of each cell, and where ours is
    behind.
    """
    strongest = [
        (cell, min(found.values(), key=lambda rival: rival.gain))
        for cell in document["cells"]
        if (found := rivals(cell))
    ]
    if not strongest:
        return "No cell has figures of mlpx and of another library."
    times = figures(geometric_mean([rival.gain for _, rival in strongest]))
    text = f"mlpx is {times} times as fast as the fastest other library"
    if len(strongest) == 1:
        cell, rival = strongest[0]
        return f"{text}: {_place(cell)}, {rival.result['contender']}."
    behind = [
        f"{_place(cell)} ({figures(rival.gain)} times {rival.result['contender']})"
        for cell, rival in strongest
        if rival.gain < 1
    ]
    return (
        f"{text}, in the geometric mean of {len(strongest)} cells, and behind in "
        + (f"{len(behind)}: {', '.join(behind)}" if behind else "none")
        + "."
    )


def _place(cell: Cell) -> str:
    return f"{cell['workload']} at {cell['batch_size']}"
