"""Samples a second against the batch size, as Vega-Lite specifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from mlpx.benchmark.report.answer import OURS, Cell, Result, fastest
from mlpx.benchmark.report.document import TABLE_KEYS, Document, grouped, measured, summary
from mlpx.benchmark.report.style import LIGHT, colour_of
from mlpx.benchmark.report.tables import columns_of, heading
from mlpx.benchmark.report.units import duration, figures, gigaflops, megabytes
from mlpx.benchmark.report.vega import CONFIG, ROUND, Spec, logarithmic, picture

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right")
DASHES = ([1, 0], [7, 4], [2, 3], [9, 3, 2, 3], [12, 4], [4, 2])
TOOLTIP = ("contender", "batch size", "samples/s", "a step", "status", "GFLOP/s", "memory")
TROUBLE = ("wrong", "failed", "rejected")
"""What is marked at the foot of a chart; the tables list all that was left out."""
PANELS = 2
"""Charts beside each other in a picture."""

NOTHING: Spec = {"title": "No figures", "data": {"values": []}, "mark": "point"}


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


def chart(cells: list[Cell], document: Document) -> Spec:
    """All lines of one net; a click on the legend shows or hides one."""
    series = all_series(cells)
    shown = {
        "name": "shown",
        "select": {"type": "point", "fields": ["series"], "toggle": "true"},
        "bind": "legend",
        "value": [{"series": one.name} for one in series if one.is_shown],
    }
    layers = _layers(series, cells, legend=_legend(series))
    layers[-1]["params"] = [shown]
    layers = [
        {**layer, "transform": [{"filter": {"param": "shown", "empty": False}}]} for layer in layers
    ]
    return {
        "width": "container", "height": 380, "autosize": {"type": "fit-x", "contains": "padding"},
        "config": CONFIG | {"background": None},
        "data": {"values": _points(series)},
        "layer": [*layers, *_troubles(cells), *_crossovers(cells, document)],
    }  # fmt: skip


def _legend(series: list[Series]) -> Spec:
    """Below the chart, in as many columns as the page has room for."""
    entry = 28 + 6.5 * max(len(one.name) for one in series)
    # The chart's own width depends on the legend's height: by it, an entry might be cut off.
    room = "(containerSize()[0] || width)"
    columns = {"expr": f"clamp(floor({room} / {entry}), 1, {len(series)})"}
    return {"orient": "bottom", "title": None, "columns": columns}


def to_svg(document: Document) -> str:
    """A picture of all nets, a panel each: ours and the fastest mode of each library.

    Raises MissingExtraError without vl-convert.
    """
    return picture(panels(document))


def panels(document: Document) -> Spec:
    """The specification of that picture."""
    every = [
        (cells, [one for one in all_series(cells) if one.is_shown])
        for cells in grouped(document).values()
    ]
    drawn = [(cells, series) for cells, series in every if series]
    together = list({one.name: one for _, series in drawn for one in series}.values())
    made = document["environment"]
    return {
        "title": {
            "text": "Samples a second by batch size: mlpx and the fastest mode of each library",
            "subtitle": f"{made['cpu']['model']}, {str(made['date'])[:10]}",
            "offset": 14,
        },
        "padding": 12,
        "config": CONFIG | {"aria": False},  # a README has a text for the whole picture
        "columns": PANELS,
        "spacing": {"column": 20, "row": 24},
        "resolve": {"scale": {"stroke": "shared", "fill": "shared", "shape": "shared"}},
        "concat": [_panel(cells, series, together) for cells, series in drawn] or [NOTHING],
    }


def _panel(cells: list[Cell], series: list[Series], together: list[Series]) -> Spec:
    title, _, subtitle = heading(cells[0]).partition(", ")
    legend = {"orient": "top", "title": None, "direction": "horizontal", "columns": 8}
    return {
        "title": {"text": title, "subtitle": subtitle, "fontSize": 13},
        "width": 335,
        "height": 210,
        "data": {"values": _points(series)},
        "layer": _layers(together, cells, legend=legend),
    }


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


def _on_gpu(cell: Cell) -> bool:
    return bool(cell["device"] != "cpu")


def _points(series: list[Series]) -> list[dict[str, Any]]:
    """A row for each figure; ours last, so that it is drawn on top."""
    return [
        _point(one, cell, result)
        for one in sorted(series, key=lambda one: one.library == OURS)
        for cell, result in one.results
    ]


def _point(series: Series, cell: Cell, result: Result) -> dict[str, Any]:
    step, n = summary(result), cell["batch_size"]
    return {
        "series": series.name, "variant": series.variant % len(DASHES), "batch": n,
        "rate": n / step.median, "low": n / step.high, "high": n / step.low,
        "contender": _label(result["contender"], cell["device"], _on_gpu(cell)),
        "batch size": f"{n}",
        "samples/s": f"{figures(n / step.median, 4)} "
        f"[{figures(n / step.high, 4)} to {figures(n / step.low, 4)}]",
        "a step": f"{duration(step.median)} [{duration(step.low)} to {duration(step.high)}]",
        "status": _status(result, step.rounds),
        "GFLOP/s": gigaflops(result.get("gflops")),
        "memory": megabytes(result.get("peak_device_bytes") or result.get("peak_host_bytes")),
    }  # fmt: skip


def _status(result: Result, rounds: int) -> str:
    rejected = sum((result.get("rejected_rounds") or {}).values())
    return f"{result['status']}, {rounds} rounds" + (f", {rejected} rejected" if rejected else "")


def _layers(series: list[Series], cells: list[Cell], *, legend: Spec) -> list[Spec]:
    """Intervals, lines and marks of the points; the legend shows the marks."""
    names = [one.name for one in series]
    hues = [colour_of(one.library) for one in series]
    dashes = {
        "field": "variant", "type": "nominal", "legend": None,
        "scale": {"domain": list(range(len(DASHES))), "range": DASHES},
    }  # fmt: skip
    shapes = [SHAPES[one.variant % len(SHAPES)] for one in series]
    # Hollow marks for a GPU.
    fills = [LIGHT["surface"] if one.device != "cpu" else colour_of(one.library) for one in series]

    def by_series(values: list[Any], **more: Any) -> Spec:
        scale = {"domain": names, "range": values}
        return {"field": "series", "type": "nominal", "scale": scale, **more}

    stroke = by_series(hues, legend=legend)
    place = {"x": _batches(cells), "y": _rates("rate", cells)}
    ours = {"test": f"indexof(datum.contender, '{OURS}/') == 0", "value": 3}
    return [
        {
            "mark": {"type": "rule", "strokeWidth": 1.5},
            "encoding": {
                "x": _batches(cells), "y": _rates("low", cells), "y2": {"field": "high"},
                "stroke": stroke,
            },
        },
        {
            "mark": {"type": "line"},
            "encoding": {
                **place, "stroke": stroke,
                "strokeDash": dashes,
                "strokeWidth": {"condition": ours, "value": 2},
            },
        },
        {
            "mark": {"type": "point", "size": 55, "strokeWidth": 1.8, "opacity": 1},
            "encoding": {
                **place, "stroke": stroke, "fill": by_series(fills, legend=legend),
                "shape": by_series(shapes, legend=legend),
                "tooltip": _told(TOOLTIP),
            },
        },
    ]  # fmt: skip


def _batches(cells: list[Cell]) -> Spec:
    sizes = sorted({cell["batch_size"] for cell in cells})
    return logarithmic(
        "batch", title="batch size", values=sizes, format="d", grid=False, labelOverlap="greedy"
    )


def _rates(field: str, cells: list[Cell]) -> Spec:
    found = [r["samples_per_s"] for cell in cells for r in measured(cell, floors=True)]
    # Less than a decade may have one round number in it, or none.
    numbers = {"values": ROUND, "labelOverlap": True} if max(found) > 10 * min(found) else {}
    return logarithmic(field, title=None, format="~s", **numbers)


def _told(fields: tuple[str, ...]) -> list[Spec]:
    return [{"field": field, "type": "nominal"} for field in fields]


def _troubles(cells: list[Cell]) -> Iterator[Spec]:
    """A cross at the foot of the chart for each contender that was to have a figure, and has
    none.
    """
    crossed = Counter[int]()
    rows = []
    for cell in cells:
        for result in cell["results"]:
            if result["status"] in TROUBLE:
                n = cell["batch_size"]
                rows.append({
                    "batch": n, "batch size": f"{n}", "place": crossed[n],
                    "contender": _label(result["contender"], cell["device"], _on_gpu(cell)),
                    "status": f"{result['status']}: {result['reason']}",
                })  # fmt: skip
                crossed[n] += 1
    if rows:
        yield {
            "data": {"values": rows},
            "mark": {
                "type": "text", "text": "×", "fontSize": 15, "color": LIGHT["bad"],
                "yOffset": {"expr": "-7 - 11 * datum.place"},
            },
            "encoding": {
                "x": _batches(cells), "y": {"value": "height"},
                "tooltip": _told(("contender", "batch size", "status")),
            },
        }  # fmt: skip


def _crossovers(cells: list[Cell], document: Document) -> Iterator[Spec]:
    """Where a GPU overtakes the CPU, as a line and a word."""
    rows = [
        {"batch": at, "says": f"{device} is ahead from batch {at:.0f}"}
        for crossover in document["crossovers"]
        if all(crossover[key] == cells[0][key] for key in TABLE_KEYS)
        for device, where in crossover["batch"].items()
        if (at := where["between"] or where["batch"]) is not None
    ]
    if rows:
        x, data = {"x": _batches(cells)}, {"values": rows}
        line = {"type": "rule", "stroke": LIGHT["soft"], "strokeDash": [5, 4]}
        far = "scale('x', datum.batch) > width / 2"
        word = {
            "type": "text", "fill": LIGHT["ink"], "fontSize": 12,
            "align": {"expr": f"{far} ? 'right' : 'left'"}, "dx": {"expr": f"{far} ? -6 : 6"},
        }  # fmt: skip
        yield {"data": data, "mark": line, "encoding": x}
        yield {
            "data": data, "mark": word,
            "encoding": {**x, "y": {"value": 8}, "text": {"field": "says"}},
        }  # fmt: skip
