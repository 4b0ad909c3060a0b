"""Samples a second against the batch size, as Vega-Lite specifications."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from mlpx.benchmark.report.answer import OURS, Cell
from mlpx.benchmark.report.document import TABLE_KEYS, Document, grouped, measured
from mlpx.benchmark.report.series import TOLD, Series, all_series, name_of, points
from mlpx.benchmark.report.style import LIGHT, colour_of
from mlpx.benchmark.report.tables import heading
from mlpx.benchmark.report.vega import CONFIG, ROUND, Spec, logarithmic, picture

SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right")
DASHES = ([1, 0], [7, 4], [2, 3], [9, 3, 2, 3], [12, 4], [4, 2])
TROUBLE = ("wrong", "failed", "rejected")
"""What is marked at the foot of a chart; the tables list all that was left out."""
PANELS = 2
"""Charts beside each other in a picture."""

NOTHING: Spec = {"title": "No figures", "data": {"values": []}, "mark": "point"}


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
        "data": {"values": points(series)},
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
        "data": {"values": points(series)},
        "layer": _layers(together, cells, legend=legend),
    }


def _layers(series: list[Series], cells: list[Cell], *, legend: Spec) -> list[Spec]:
    """Intervals, lines and marks of the points; the legend shows the marks."""
    names = [one.name for one in series]
    hues = [colour_of(one.library) for one in series]
    variants = sorted({one.variant for one in series})
    dashes = {
        "field": "variant", "type": "nominal", "legend": None,
        "scale": {"domain": variants, "range": [DASHES[i % len(DASHES)] for i in variants]},
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
                "tooltip": _told(TOLD),
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
                    "contender": name_of(cell, result),
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
