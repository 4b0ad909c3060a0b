"""Drawings of a document by Vega-Lite: each a file that stands alone."""

from __future__ import annotations

from collections import defaultdict

from gpu.document import Document, Row, cells, net_of, rows
from mlpx.benchmark.report.style import LIGHT, colour_of
from mlpx.benchmark.report.units import duration
from mlpx.benchmark.report.vega import CONFIG, ROUND, Spec, logarithmic, picture

WIDTH, HEIGHT, BAR = 620, 280, 24
"""Of what is drawn, without its numbers and names, and of a bar."""


def drawings(document: Document) -> dict[str, str]:
    """Each drawing by its name, of what was measured."""
    lines = document["sections"]
    found = {}
    for i, (cell, row) in enumerate(cells(lines).items(), 1):
        found[f"contenders-{i}"] = bar_chart(f"A training step: {cell}", row["step_us"])
    for i, (net, row) in enumerate(operations(lines).items(), 1):
        found[f"operations-{i}"] = bar_chart(f"{row['title']}: {net}", row["us"])
    for i, (net, points) in enumerate(crossing(lines).items(), 1):
        found[f"crossover-{i}"] = line_chart(f"A training step on CPU and GPU: {net}", points)
    return {name: picture(spec) for name, spec in found.items()}


def operations(lines: list[Row]) -> dict[str, Row]:
    """The times of a step's operations, of each net."""
    titles = {"operations": "Operations of a step", "profile": "Operations launched one by one"}
    return {
        net_of(row): row | {"title": titles[row["what"]]}
        for row in rows(lines, "steps")
        if row.get("what") in titles and row.get("us")
    }


def crossing(lines: list[Row]) -> dict[str, dict[str, list[tuple[int, float]]]]:
    """Batch sizes and microseconds of a step, by net and device."""
    found: dict[str, dict[str, list[tuple[int, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows(lines, "crossover"):
        for device in ("cpu", "cuda"):
            if row.get(f"{device}_us"):
                found[row["net"]][device].append((row["batch"], row[f"{device}_us"]))
    return found


def line_chart(title: str, points: dict[str, list[tuple[int, float]]]) -> Spec:
    """Microseconds against the batch size, a line for each device."""
    values = [
        {"device": device, "batch": batch, "us": us}
        for device, of in points.items()
        for batch, us in of
    ]
    sizes = sorted({row["batch"] for row in values})
    colours = [LIGHT["soft"] if device == "cpu" else colour_of("mlpx") for device in points]
    return alone(title, values) | {
        "width": WIDTH,
        "height": HEIGHT,
        "mark": {"type": "line", "point": {"size": 50}},
        "encoding": {
            "x": logarithmic("batch", title="batch size", values=sizes, grid=False),
            "y": logarithmic("us", title="microseconds a step", values=ROUND, format="~s"),
            "color": {
                "field": "device", "type": "nominal", "title": None,
                "scale": {"domain": list(points), "range": colours},
            },
        },
    }  # fmt: skip


def bar_chart(title: str, us: dict[str, float]) -> Spec:
    """Microseconds as bars from zero, by name."""
    values = [{"name": name, "us": each, "says": duration(each / 1e6)} for name, each in us.items()]
    colours = [colour_of(library if slash else "mlpx") for library, slash, _ in
               (name.partition("/") for name in us)]  # fmt: skip
    place = {
        "y": {
            "field": "name", "type": "nominal", "sort": None,
            "axis": {
                "title": None, "domain": False, "ticks": False, "labelPadding": 8,
                "labelLimit": 300,
            },
        },
        "x": {"field": "us", "type": "quantitative", "axis": None},
    }  # fmt: skip
    fill = {
        "field": "name", "type": "nominal", "legend": None,
        "scale": {"domain": list(us), "range": colours},
    }  # fmt: skip
    words = {"type": "text", "align": "left", "dx": 6, "fill": LIGHT["ink"], "fontSize": 12}
    return alone(title, values) | {
        "width": WIDTH,
        "height": {"step": BAR},
        "layer": [
            {"mark": {"type": "bar", "height": BAR - 6}, "encoding": {**place, "fill": fill}},
            {"mark": words, "encoding": {**place, "text": {"field": "says"}}},
        ],
    }


def alone(title: str, values: list[Row]) -> Spec:
    """What both kinds have."""
    return {
        "title": {"text": title, "offset": 12},
        "padding": 14,
        "config": CONFIG | {"aria": False},
        "data": {"values": values},
    }
