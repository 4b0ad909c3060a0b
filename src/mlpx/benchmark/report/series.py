"""Which lines a chart of one net has, and what it says of each point."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlpx.benchmark.report.answer import OURS, Cell, Result, fastest
from mlpx.benchmark.report.document import measured, summary
from mlpx.benchmark.report.tables import columns_of
from mlpx.benchmark.report.units import duration, figures, gigaflops, megabytes, percent

TOLD = (
    "contender",
    "batch size",
    "samples/s",
    "a step",
    "status",
    "GFLOP/s",
    "of peak",
    "memory",
)
"""The fields of a point that are for reading."""


@dataclass(frozen=True)
class Series:
    """A line: a library's fastest mode at each batch size, or one mode."""

    name: str
    library: str
    device: str
    variant: int
    """0: the fastest; else the place of a mode among its library's."""
    results: tuple[tuple[Cell, Result], ...]

    @property
    def is_shown(self) -> bool:
        """Whether it is drawn before anyone asks for it."""
        return self.variant == 0


def all_series(cells: list[Cell]) -> list[Series]:
    """First the fastest of each library, ours in front, then the modes and the floors."""
    several = len({cell["device"] for cell in cells}) > 1
    columns = sorted(columns_of(cells), key=lambda column: column[1].startswith("gemm/"))
    best: dict[tuple[str, str], list[tuple[Cell, Result]]] = {}
    modes: dict[tuple[str, str], list[tuple[Cell, Result]]] = {column: [] for column in columns}
    for cell in sorted(cells, key=lambda cell: int(cell["batch_size"])):
        for library, result in fastest(cell).items():
            best.setdefault((cell["device"], library), []).append((cell, result))
        for result in measured(cell, floors=True):
            modes[cell["device"], result["contender"]].append((cell, result))
    found = [
        Series(_label(library, device, several), library, device, 0, tuple(results))
        for (device, library), results in best.items()
    ]
    found.sort(key=lambda one: one.library != OURS)
    places: dict[tuple[str, str], int] = {}
    for (device, name), results in modes.items():
        library = name.partition("/")[0]
        places[device, library] = place = places.get((device, library), 0) + 1
        found.append(Series(_label(name, device, several), library, device, place, tuple(results)))
    return found


def _label(name: str, device: str, several: bool) -> str:
    return f"{name}, {device}" if several else name


def name_of(cell: Cell, result: Result) -> str:
    """A contender, and its device if that is no CPU."""
    return _label(result["contender"], cell["device"], cell["device"] != "cpu")


def points(series: list[Series]) -> list[dict[str, Any]]:
    """A row for each figure; ours last, so that it is drawn on top."""
    return [
        _point(one, cell, result)
        for one in sorted(series, key=lambda one: one.library == OURS)
        for cell, result in one.results
    ]


def _point(series: Series, cell: Cell, result: Result) -> dict[str, Any]:
    step, n = summary(result), cell["batch_size"]
    return {
        "series": series.name, "variant": series.variant, "batch": n,
        "rate": n / step.median, "low": n / step.high, "high": n / step.low,
        "contender": name_of(cell, result),
        "batch size": f"{n}",
        "samples/s": f"{figures(n / step.median, 4)} "
        f"[{figures(n / step.high, 4)} to {figures(n / step.low, 4)}]",
        "a step": f"{duration(step.median)} [{duration(step.low)} to {duration(step.high)}]",
        "status": _status(result, step.rounds),
        "GFLOP/s": gigaflops(result.get("gflops")),
        "of peak": percent(result.get("peak_fraction")),
        "memory": megabytes(result.get("peak_device_bytes") or result.get("peak_host_bytes")),
    }  # fmt: skip


def _status(result: Result, rounds: int) -> str:
    rejected = sum((result.get("rejected_rounds") or {}).values())
    return f"{result['status']}, {rounds} rounds" + (f", {rejected} rejected" if rejected else "")
