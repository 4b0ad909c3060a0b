"""Charts by Vega-Lite, which the package vl-convert-python brings: live in a page, or drawn once.

A specification takes its colours from `style.LIGHT`; `style.drawn_dark` turns them dark.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from mlpx.benchmark.report.style import LIGHT, drawn_dark
from mlpx.errors import MissingExtraError

Spec = dict[str, Any]

FONT = "Helvetica, Arial, sans-serif"
CONFIG: Spec = {
    "background": LIGHT["surface"],
    "font": FONT,
    "view": {"stroke": None},
    "title": {
        "color": LIGHT["ink"], "subtitleColor": LIGHT["soft"], "anchor": "start", "fontSize": 14,
        "subtitleFontSize": 12, "frame": "group",
    },
    "axis": {
        "labelColor": LIGHT["soft"], "titleColor": LIGHT["soft"], "titleFontWeight": "normal",
        "labelFontSize": 12, "titleFontSize": 12, "gridColor": LIGHT["line"],
        "domainColor": LIGHT["axis"], "tickColor": LIGHT["axis"],
    },
    "legend": {
        "labelColor": LIGHT["ink"], "labelFontSize": 12.5, "labelLimit": 220, "symbolSize": 70,
        "symbolStrokeWidth": 2, "unselectedOpacity": 0.5,
    },
}  # fmt: skip
ROUND = [step * 10**decade for decade in range(13) for step in (1, 2, 5)]
"""Where a logarithmic axis may have a number."""


def logarithmic(field: str, **axis: Any) -> Spec:
    """A quantity on a logarithmic axis, with room at both ends."""
    return {
        "field": field, "type": "quantitative", "axis": axis,
        "scale": {"type": "log", "nice": False, "padding": 14},
    }  # fmt: skip


def library() -> ModuleType:
    """vl-convert.

    Raises MissingExtraError.
    """
    try:
        import vl_convert
    except ImportError as error:
        purpose = "the report of a benchmark"
        raise MissingExtraError("vl-convert-python", "bench", purpose, error) from error
    return vl_convert


def inlined() -> str:
    """Vega and Vega-Lite for a page: JavaScript that defines `vegaEmbed`.

    Raises MissingExtraError.
    """
    return str(library().javascript_bundle()).replace("</script", "<\\/script")


def picture(spec: Spec) -> str:
    """An SVG file that stands alone, in the colours its reader prefers.

    Raises MissingExtraError.
    """
    svg: str = library().vegalite_to_svg(spec)
    end = svg.index(">") + 1
    return f"{svg[:end]}<style>{drawn_dark()}</style>{svg[end:]}\n"
