"""Which lines the report draws, from the cells of one workload."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mlpx.benchmark.report.document import TABLE_KEYS, Document, measured, summary
from mlpx.benchmark.report.svg import Chart, Point, Series
from mlpx.benchmark.report.tables import columns_of
from mlpx.benchmark.report.units import duration, megabytes, percent, rate

Cell = dict[str, Any]
Result = dict[str, Any]


def throughput(cells: list[Cell], document: Document) -> Chart:
    """Samples a second against the batch size, with intervals and the crossover."""

    def point(cell: Cell, result: Result) -> Point:
        step, n = summary(result), cell["batch_size"]
        text = f"batch {n}, {rate(n / step.median)} samples/s, {duration(step.median)} a step"
        return Point(n, n / step.median, n / step.high, n / step.low, text)

    return Chart(
        "Samples a second",
        _series(cells, point, floors=True),
        rate,
        marks=_crossovers(cells, document),
        wide=True,
    )


def floor_share(cells: list[Cell]) -> Chart:
    """The share of a step that its matrix products take."""

    def point(cell: Cell, result: Result) -> Point | None:
        share, step = result.get("floor_fraction"), summary(result)
        if share is None:
            return None
        text = f"batch {cell['batch_size']}, {percent(share)} of the floor"
        low, high = share * step.median / step.high, share * step.median / step.low
        return Point(cell["batch_size"], share, low, high, text)

    return Chart(
        "Share of the matrix-product floor",
        _series(cells, point),
        percent,
        log_y=False,
        reference=1.0,
    )


def memory(cells: list[Cell], field: str, title: str) -> Chart:
    """Peak memory against the batch size."""

    def point(cell: Cell, result: Result) -> Point | None:
        size_bytes = result.get(field)
        if not size_bytes:
            return None
        text = f"batch {cell['batch_size']}, {megabytes(size_bytes)}"
        return Point(cell["batch_size"], size_bytes, size_bytes, size_bytes, text)

    return Chart(title, _series(cells, point), megabytes)


def time_to_accuracy(cells: list[Cell], target: float) -> Chart:
    """Seconds to the target accuracy against the batch size."""

    def point(cell: Cell, result: Result) -> Point | None:
        taken = result.get("time_to_accuracy_s")
        if not taken:
            return None
        step = summary(result)
        low, high = taken * step.low / step.median, taken * step.high / step.median
        return Point(
            cell["batch_size"], taken, low, high, f"batch {cell['batch_size']}, {duration(taken)}"
        )

    return Chart(f"Time to {percent(target)} on MNIST", _series(cells, point), duration)


def _series(
    cells: list[Cell], point: Callable[[Cell, Result], Point | None], *, floors: bool = False
) -> tuple[Series, ...]:
    series = []
    several = len({cell["device"] for cell in cells}) > 1
    for device, name in columns_of(cells):
        if name.startswith("gemm/") and not floors:
            continue
        points = [
            made
            for cell in sorted(cells, key=lambda cell: int(cell["batch_size"]))
            if cell["device"] == device
            for result in measured(cell, floors=True)
            if result["contender"] == name and (made := point(cell, result)) is not None
        ]
        label = f"{name}, {device}" if several else name
        hue, variant = name.partition("/")[0], _variant(cells, name)
        if points:
            series.append(Series(label, tuple(points), hue, variant, device != "cpu"))
    return tuple(series)


def _variant(cells: list[Cell], name: str) -> int:
    """The place of a mode among its library's."""
    library = name.partition("/")[0]
    names = [r["contender"] for r in cells[0]["results"]]
    return [n for n in names if n.partition("/")[0] == library].index(name)


def _crossovers(cells: list[Cell], document: Document) -> tuple[tuple[float, str], ...]:
    marks = []
    for crossover in document["crossovers"]:
        if all(crossover[key] == cells[0][key] for key in TABLE_KEYS):
            for device, where in crossover["batch"].items():
                at = where["between"] or where["batch"]
                if at is not None:
                    marks.append((at, f"{device} is ahead from batch {at:.0f}"))
    return tuple(marks)
