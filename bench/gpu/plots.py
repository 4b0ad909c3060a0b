"""Drawings of a document: the benchmark's own, each a file that stands alone."""

from __future__ import annotations

from collections import defaultdict
from html import escape

from gpu.document import Document, Row, cells, net_of, rows
from mlpx.benchmark.report.style import CSS, DARK, LIGHT
from mlpx.benchmark.report.svg import HEIGHT, WIDE, Chart, Point, Series, draw, key
from mlpx.benchmark.report.units import duration

HEAD, BAR, NAMES, VALUES = 56, 24, 210, 90
"""The height of a title, that of a bar, and the widths for its name and its value."""
STYLE = (
    "svg {" + LIGHT + " color-scheme: light dark; background: var(--surface);"
    " font: 13px system-ui, sans-serif; }\n"
    "@media (prefers-color-scheme: dark) { svg {" + DARK + "} }\n"
    + CSS[CSS.index(".label") : CSS.index(".scroll")]
    + ".title { fill: var(--ink); font-size: 15px; font-weight: 600; } .bar { fill: var(--hue); }"
)  # fmt: skip


def drawings(document: Document) -> dict[str, str]:
    """Each drawing by its name, of what was measured."""
    lines = document["sections"]
    found = {}
    for i, (cell, row) in enumerate(cells(lines).items(), 1):
        bars = {name: (us, name.partition("/")[0]) for name, us in row["step_us"].items()}
        found[f"contenders-{i}"] = bar_chart(f"A training step: {cell}", bars)
    for i, (net, row) in enumerate(operations(lines).items(), 1):
        bars = {name: (us, "mlpx") for name, us in row["us"].items()}
        found[f"operations-{i}"] = bar_chart(f"{row['title']}: {net}", bars)
    for i, (net, points) in enumerate(crossing(lines).items(), 1):
        found[f"crossover-{i}"] = line_chart(f"A training step on CPU and GPU: {net}", points)
    return {name: svg for name, svg in found.items() if svg}


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


def line_chart(title: str, points: dict[str, list[tuple[int, float]]]) -> str:
    """Microseconds against the batch size, a line for each device."""
    series = tuple(
        Series(device, tuple(point(*at) for at in sorted(of)), "mlpx", i, device != "cpu")
        for i, (device, of) in enumerate(points.items())
    )
    chart = Chart(title, series, lambda us: duration(us / 1e6), wide=True)
    keys, x = [], 16
    for each in series:
        keys.append(key(each).replace("<svg", f'<svg x="{x}" y="32" width="34" height="14"', 1))
        keys.append(f'<text class="label" x="{x + 42}" y="44">{escape(each.name)}</text>')
        x += 60 + 8 * len(each.name)
    moved = draw(chart).replace("<svg", f'<svg y="{HEAD}" width="{WIDE}" height="{HEIGHT}"', 1)
    return alone(title, WIDE, HEIGHT, [*keys, moved])


def point(batch: int, us: float) -> Point:
    return Point(batch, us, us, us, f"batch {batch}, {duration(us / 1e6)}")


def bar_chart(title: str, bars: dict[str, tuple[float, str]]) -> str:
    """Microseconds as bars from zero: name to time and hue."""
    longest, room = max((us for us, _ in bars.values()), default=0.0), WIDE - NAMES - VALUES
    parts = []
    for i, (name, (us, hue)) in enumerate(bars.items()):
        y, wide = HEAD + BAR * i - 12, room * us / longest if longest else 0.0
        parts.append(
            f'<text class="label" x="{NAMES - 8}" y="{y + 16}" text-anchor="end">'
            f"{escape(name)}</text>"
            f'<rect class="bar" style="--hue: var(--{hue})" x="{NAMES}" y="{y + 3}" rx="2" '
            f'width="{wide:.1f}" height="{BAR - 6}"/>'
            f'<text class="note" x="{NAMES + wide + 6:.1f}" y="{y + 16}">'
            f"{duration(us / 1e6)}</text>"
        )
    return alone(title, WIDE, BAR * len(bars), parts)


def alone(title: str, width: int, height: int, parts: list[str]) -> str:
    """An SVG file with its own colours, light and dark."""
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height + HEAD}" '
            f'width="{width}" height="{height + HEAD}" role="img" aria-label="{escape(title)}">',
            f"<style>{STYLE}</style>",
            f'<text class="title" x="16" y="22">{escape(title)}</text>',
            *parts,
            "</svg>",
        ]
    )
