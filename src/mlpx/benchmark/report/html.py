"""The document as one self-contained HTML page: it asks for nothing from outside."""

from __future__ import annotations

import json
from html import escape
from itertools import groupby

from mlpx.benchmark.report import answer
from mlpx.benchmark.report.answer import Cell, Rival
from mlpx.benchmark.report.document import Document, grouped, summary
from mlpx.benchmark.report.style import CSS
from mlpx.benchmark.report.tables import columns_of, conditions, heading, to_markdown
from mlpx.benchmark.report.throughput import chart
from mlpx.benchmark.report.units import duration, figures
from mlpx.benchmark.report.vega import inlined

POLICY = "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'"
"""No browser lets the page load anything; Vega compiles its expressions, hence `eval`."""
LEGEND = (
    "A library's name alone stands for its fastest mode at each batch size. A click on a name "
    "shows or hides its line; the pointer on a mark shows the figures. A red cross marks a "
    "contender that was wrong, failed or was rejected."
)
DRAW = """
for (const figure of document.querySelectorAll("figure")) {
  vegaEmbed(figure.querySelector("div"), JSON.parse(figure.querySelector("script").textContent),
    { mode: "vega-lite", renderer: "svg", actions: false, tooltip: { theme: "custom" } });
}
"""


def to_html(document: Document) -> str:
    """The page: the answer, a chart of each net, and the Markdown report.

    Raises MissingExtraError without vl-convert.
    """
    parts = [
        "<!doctype html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>mlpx benchmark</title><style>{CSS}</style></head><body>",
        "<h1>mlpx benchmark</h1>",
        f'<p class="soft">{_inline(conditions(document)[0].removeprefix("- "))}</p>',
        f'<p class="answer">{escape(answer.headline(document))}</p>',
        *_answer(document),
        *_charts(document),
        "<h2>How it was measured</h2>",
        *_markdown(to_markdown(document).splitlines()[1:]),
        "<h2>Who is who</h2>",
        _notes(document),
        "</body></html>",
    ]
    return "\n".join(parts) + "\n"


def _answer(document: Document) -> list[str]:
    """A table of each net and device: our time, then a line for each library, the strongest
    first.
    """
    lines = []
    several = len({cell["device"] for cell in document["cells"]}) > 1
    for cells in answer.tables(document):
        if not any(answer.fastest(cell) for cell in cells):
            continue
        device = f", {cells[0]['device']}" if several else ""
        sizes = "".join(f"<th>{cell['batch_size']}</th>" for cell in cells)
        lines += [
            f"<div><h3>{escape(heading(cells[0]) + device)}</h3>",
            '<div class="scroll"><table>',
            f"<tr><th>batch size</th><th>mean</th>{sizes}</tr>",
            f"<tr><td>mlpx, a step</td><td></td>{''.join(map(_time, cells))}</tr>",
            *(_line(library, mean, cells) for library, mean in answer.mean_gains(cells).items()),
            "</table></div></div>",
        ]
    if not lines:
        return []
    note = (
        "How many times as fast mlpx is as the fastest mode of each library; the mean is "
        "geometric. Under the pointer: the modes, the times and the interval."
    )
    return ['<div class="answers">', *lines, "</div>", f'<p class="soft">{note}</p>']


def _time(cell: Cell) -> str:
    ours = answer.fastest(cell).get(answer.OURS)
    if ours is None:
        return "<td></td>"
    step = summary(ours)
    told = f"{ours['contender']}: {duration(step.low)} to {duration(step.high)}"
    return f'<td title="{escape(told)}">{duration(step.median)}</td>'


def _line(library: str, mean: float, cells: list[Cell]) -> str:
    found = [answer.rivals(cell).get(library) for cell in cells]
    return (
        f"<tr><td>{escape(library)}</td>"
        f'<td class="mean {_side(mean)}">{figures(mean)}</td>{"".join(map(_gain, found))}</tr>'
    )


def _gain(rival: Rival | None) -> str:
    if rival is None:
        return "<td></td>"
    theirs, ours = (f"{r['contender']} {duration(summary(r).median)}"
                    for r in (rival.result, rival.ours))  # fmt: skip
    told = f"{theirs}, {ours}: {figures(rival.low)} to {figures(rival.high)} times"
    return f'<td class="{_side(rival.gain)}" title="{escape(told)}">{figures(rival.gain)}</td>'


def _side(gain: float) -> str:
    return "behind" if gain < 1 else "ahead"


def _charts(document: Document) -> list[str]:
    """A chart of each net that has figures, and what draws them."""
    charts = [_figure(cells, document) for cells in grouped(document).values() if columns_of(cells)]
    if not charts:
        return []
    return [
        "<h2>Samples a second</h2>",
        f'<p class="soft">{LEGEND}</p>',
        *charts,
        f'<script type="module">{inlined()}</script>',
        f'<script type="module">{DRAW}</script>',
    ]


def _figure(cells: list[Cell], document: Document) -> str:
    """A chart's specification and the place where it is drawn."""
    spec = json.dumps(chart(cells, document), ensure_ascii=False).replace("<", "\\u003c")
    return (
        f"<figure><figcaption>{escape(heading(cells[0]))}</figcaption><div></div>"
        f'<script type="application/json">{spec}</script></figure>'
    )


def _notes(document: Document) -> str:
    return _list([f"{name}: {facts['note']}" for name, facts in document["contenders"].items()])


def _list(lines: list[str]) -> str:
    return f"<ul>{''.join(f'<li>{_inline(line)}</li>' for line in lines)}</ul>"


def _markdown(lines: list[str]) -> list[str]:
    """The few forms of Markdown that the tables use: headings, lists, tables, paragraphs."""
    blocks: list[str] = []
    for kind, run in groupby(lines, key=_kind):
        of_it = list(run)
        if kind == "|":
            blocks.append(_table(of_it))
        elif kind == "- ":
            blocks.append(_list([line.removeprefix(kind) for line in of_it]))
        elif kind == "## ":
            blocks += [f"<h2>{_inline(line.removeprefix(kind))}</h2>" for line in of_it]
        else:
            blocks += [f"<p>{_inline(line)}</p>" for line in of_it if line]
    return blocks


def _kind(line: str) -> str:
    return next((start for start in ("|", "- ", "## ") if line.startswith(start)), "")


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
