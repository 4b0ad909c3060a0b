"""Line charts as SVG that takes its colours from the page, so one drawing serves light and dark."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log, log10

from mlpx.benchmark.report.units import compact

WIDTH, WIDE, HEIGHT = 640, 1100, 340
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 14, 44
MARK = 4.5
HIT = 11
DASHES = ("", "7 4", "2 3", "9 3 2 3")


@dataclass(frozen=True)
class Point:
    """One figure: x, y, its interval, and the text under the pointer."""

    x: float
    y: float
    low: float
    high: float
    text: str


@dataclass(frozen=True)
class Series:
    """A line: `hue` names a colour of the page, `variant` a dash and a mark; hollow marks for
    GPUs.
    """

    name: str
    points: tuple[Point, ...]
    hue: str
    variant: int = 0
    hollow: bool = False


@dataclass(frozen=True)
class Scale:
    """Maps values to pixels, on a logarithmic or a linear scale."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = True

    def __call__(self, value: float) -> float:
        low, high, value = (
            map(log, (self.low, self.high, value)) if self.log else (self.low, self.high, value)
        )
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)


@dataclass(frozen=True)
class Chart:
    """What a drawing shows; `show` writes a value of the y axis; `marks` are vertical lines (x,
    text).
    """

    title: str
    series: tuple[Series, ...]
    show: Callable[[float], str]
    log_y: bool = True
    x_label: str = "batch size"
    marks: tuple[tuple[float, str], ...] = ()
    reference: float | None = None
    """A horizontal line, such as 1 for the floor."""
    wide: bool = False

    @property
    def width(self) -> int:
        return WIDE if self.wide else WIDTH


def draw(chart: Chart) -> str:
    """The chart as an SVG element; empty if there is nothing to draw."""
    points = [point for series in chart.series for point in series.points]
    if not points:
        return ""
    x = Scale(*_span([p.x for p in points], 1.25), LEFT, chart.width - RIGHT)
    y = Scale(*_y_range(chart, points), HEIGHT - BOTTOM, TOP, log=chart.log_y)
    parts = [
        f'<svg viewBox="0 0 {chart.width} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">',
        *_grid(chart, x, y, sorted({p.x for p in points})),
        *_marks(chart, x),
        *(element for series in _ours_last(chart.series) for element in _line(series, x, y)),
        "</svg>",
    ]
    return "\n".join(parts)


def _ours_last(series: tuple[Series, ...]) -> list[Series]:
    """Ours last, so that it is drawn on top."""
    return sorted(series, key=lambda one: one.hue == "mlpx")


def _span(values: list[float], room: float) -> tuple[float, float]:
    return min(values) / room, max(values) * room


def _y_range(chart: Chart, points: list[Point]) -> tuple[float, float]:
    if chart.log_y:
        return _span([v for p in points for v in (p.low, p.high)], 1.4)
    highest = max([p.y for p in points] + [chart.reference or 0.0])  # intervals may be cut
    return 0.0, 1.08 * highest


def ticks(scale: Scale) -> list[float]:
    """Round values inside the scale: decades, with 2 and 5 between if there are few."""
    if not scale.log:
        return _even_ticks(scale)
    decades = range(floor(log10(scale.low)), ceil(log10(scale.high)) + 1)
    steps = (1,) if len(decades) > 4 else (1, 2, 5)
    values = [step * 10.0**decade for decade in decades for step in steps]
    inside = [value for value in values if scale.low <= value <= scale.high]
    return inside if len(inside) > 1 else _even_ticks(scale)


def _even_ticks(scale: Scale) -> list[float]:
    """Evenly spaced round values, for a scale too short for decades."""
    step = nice_step(scale.high - scale.low)
    first, last = ceil(scale.low / step), floor(scale.high / step)
    return [i * step for i in range(first, last + 1)]


def nice_step(high: float) -> float:
    """1, 2 or 5 times a power of ten, such that four to eight of them reach `high`."""
    size = 10.0 ** floor(log10(high / 4))
    return max(step * size for step in (1, 2, 5) if high / (step * size) >= 4 or step == 1)


def _grid(chart: Chart, x: Scale, y: Scale, sizes: list[float]) -> Iterable[str]:
    left, right, bottom = LEFT, chart.width - RIGHT, HEIGHT - BOTTOM
    for value in ticks(y):
        at = y(value)
        yield f'<line class="grid" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'
        yield _text(left - 8, at + 4, compact(chart.show(value)), "end")
    last = -100.0
    for size in sizes:
        at = x(size)
        yield f'<line class="tick" x1="{at:.1f}" x2="{at:.1f}" y1="{bottom}" y2="{bottom + 5}"/>'
        if at - last >= 34:  # closer numbers would touch
            yield _text(at, bottom + 18, f"{size:g}", "middle")
            last = at
    yield f'<line class="axis" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>'
    yield _text((left + right) / 2, HEIGHT - 6, chart.x_label, "middle")
    if chart.reference is not None:
        at = y(chart.reference)
        yield f'<line class="reference" x1="{left}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "label") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
    )


def _marks(chart: Chart, x: Scale) -> Iterable[str]:
    for value, text in chart.marks:
        at = x(value)
        side, anchor = (-6, "end") if at > chart.width / 2 else (6, "start")
        yield (
            f'<line class="crossover" x1="{at:.1f}" x2="{at:.1f}" '
            f'y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        )
        yield _text(at + side, TOP + 12, text, anchor, "note")


def _line(series: Series, x: Scale, y: Scale) -> Iterable[str]:
    """Intervals, the line, and the marks with their texts for the pointer."""
    style = f'style="--hue: var(--{series.hue})"'
    yield f'<g class="series {series.hue}" {style}>'
    path = " ".join(f"{x(p.x):.1f},{y(p.y):.1f}" for p in series.points)
    yield f'<polyline points="{path}" stroke-dasharray="{DASHES[series.variant % 4]}"/>'
    for p in series.points:
        at = x(p.x)
        yield (
            f"<g><title>{escape(f'{series.name}: {p.text}')}</title>"
            f'<path class="interval" d="{_interval(at, y(p.low), y(p.high))}"/>'
            f"{mark(at, y(p.y), series)}"
            f'<circle class="hit" cx="{at:.1f}" cy="{y(p.y):.1f}" r="{HIT}"/></g>'
        )
    yield "</g>"


def _interval(x: float, low: float, high: float) -> str:
    """An error bar with caps."""
    a, b = x - 3, x + 3
    return f"M{x:.1f} {low:.1f}V{high:.1f}M{a:.1f} {low:.1f}H{b:.1f}M{a:.1f} {high:.1f}H{b:.1f}"


def mark(x: float, y: float, series: Series) -> str:
    """A circle, square, triangle or diamond."""
    kind = "hollow" if series.hollow else "solid"
    r = MARK
    shape = series.variant % 4
    if shape == 0:
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{r}"/>'
    corners = {
        1: [(-r, -r), (r, -r), (r, r), (-r, r)],
        2: [(0, -r - 1), (r + 1, r), (-r - 1, r)],
        3: [(0, -r - 1.5), (r + 1.5, 0), (0, r + 1.5), (-r - 1.5, 0)],
    }[shape]
    points = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in corners)
    return f'<polygon class="{kind}" points="{points}"/>'


def key(series: Series) -> str:
    """The line and mark of a series, small, for a legend."""
    return (
        f'<svg class="key" viewBox="0 0 34 14"><g class="series" '
        f'style="--hue: var(--{series.hue})"><polyline points="1,7 33,7" '
        f'stroke-dasharray="{DASHES[series.variant % 4]}"/>{mark(17, 7, series)}</g></svg>'
    )
