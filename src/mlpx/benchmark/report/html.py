"""The document as one self-contained HTML page: no scripts, no fonts, nothing external."""

from __future__ import annotations

from html import escape
from typing import Any

from mlpx.benchmark.report import charts
from mlpx.benchmark.report.document import Document, grouped
from mlpx.benchmark.report.style import CSS
from mlpx.benchmark.report.svg import Chart, Series, draw, key
from mlpx.benchmark.report.tables import accuracy_lines, conditions, heading, left_out, step_lines


def to_html(document: Document) -> str:
    """The page."""
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>mlpx benchmark</title><style>{CSS}</style></head><body>",
        "<h1>mlpx benchmark</h1>",
        _list(conditions(document)),
    ]
    for cells in grouped(document).values():
        parts += _group(cells, document)
    parts += _markdown(accuracy_lines(document))
    parts += ["<h2>Left out</h2>", _list(left_out(document) or ["- Nothing."])]
    parts += ["<h2>Who is who</h2>", _notes(document), "</body></html>"]
    return "\n".join(parts) + "\n"


def _list(lines: list[str]) -> str:
    items = "".join(f"<li>{_inline(line.removeprefix('- '))}</li>" for line in lines)
    return f'<ul class="plain">{items}</ul>'


def _notes(document: Document) -> str:
    return _list([f"{name}: {facts['note']}" for name, facts in document["contenders"].items()])


def _group(cells: list[dict[str, Any]], document: Document) -> list[str]:
    """The charts of one workload, one legend for all of them, and the table of times."""
    shown = [
        charts.throughput(cells, document),
        charts.floor_share(cells),
        charts.memory(cells, "peak_host_bytes", "Peak memory of the process"),
        charts.memory(cells, "peak_device_bytes", "Peak memory on the device"),
    ]
    accuracy = document.get("accuracy") or {}
    if accuracy.get("target"):
        shown.append(charts.time_to_accuracy(cells, accuracy["target"]))
    return [
        f"<h2>{escape(heading(cells[0]))}</h2>",
        _legend(shown[0].series),
        '<div class="charts">',
        *(_figure(chart) for chart in shown if chart.series),
        "</div>",
        "<details open=''><summary>As numbers</summary>",
        *_markdown(step_lines(cells)),
        "</details>",
    ]


def _legend(series: tuple[Series, ...]) -> str:
    items = "".join(f"<li>{key(one)}{escape(one.name)}</li>" for one in series)
    return f'<ul class="legend">{items}</ul>'


def _figure(chart: Chart) -> str:
    kind = ' class="wide"' if chart.wide else ""
    return f"<figure{kind}><h3>{escape(chart.title)}</h3>{draw(chart)}</figure>"


def _markdown(lines: list[str]) -> list[str]:
    """The few forms of Markdown that the tables use: headings, tables, paragraphs."""
    blocks: list[str] = []
    table: list[str] = []
    for line in [*lines, ""]:
        if line.startswith("|"):
            table.append(line)
            continue
        if table:
            blocks.append(_table(table))
            table = []
        if line.startswith("## "):
            blocks.append(f"<h2>{_inline(line[3:])}</h2>")
        elif line:
            blocks.append(f"<p>{_inline(line)}</p>")
    return blocks


def _table(lines: list[str]) -> str:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, body = rows[0], rows[2:]
    text = "<tr>" + "".join(f"<th>{_inline(cell)}</th>" for cell in head) + "</tr>"
    for row in body:
        text += "<tr>" + "".join(f"<td>{_inline(cell)}</td>" for cell in row) + "</tr>"
    return f'<div class="scroll"><table>{text}</table></div>'


def _inline(text: str) -> str:
    """Escaped, with `code` and **bold**."""
    safe = escape(text)
    for mark, tag in (("**", "b"), ("`", "code")):
        parts = safe.split(mark)
        if len(parts) % 2 == 0:
            continue
        safe = "".join(
            part if i % 2 == 0 else f"<{tag}>{part}</{tag}>" for i, part in enumerate(parts)
        )
    return safe
