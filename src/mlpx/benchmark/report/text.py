"""The document as text: tables that fit a terminal, or a line for every contender in every cell."""

from __future__ import annotations

from collections.abc import Container, Iterable
from textwrap import wrap
from typing import Any

from mlpx.benchmark.report.document import CELL_KEYS, Document, grouped, measured, summary
from mlpx.benchmark.report.tables import (
    compile_line,
    conditions,
    gain_line,
    heading,
    left_out,
)
from mlpx.benchmark.report.units import counted, duration, figures, percent, rate

ROOMY = 72
"""Columns of a terminal that has room for samples a second too."""
FIELDS = (
    *CELL_KEYS, "status", "step_us", "half_%", "samples_per_s", "gflops", "peak_%", "compile_s",
    "contender",
)  # fmt: skip
"""The columns of `to_lines`; the contender comes last, since its name may have spaces."""
ASCII = str.maketrans({"µ": "u", "±": "+-", "–": "-"})


def aligned(rows: list[list[str]], *, left: Container[int] = ()) -> list[str]:
    """Rows of cells as lines: columns two spaces apart, on the right but for those in `left`."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if i in left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def to_text(document: Document, *, width: int) -> str:
    """Tables of at most `width` columns (60 or more): at each batch size the best mode of each
    library.
    """
    lines = _prose(conditions(document), width)
    for cells in grouped(document).values():
        notes = [line for line in (gain_line(cells), compile_line(cells)) if line]
        lines += ["", *_prose([heading(cells[0])], width), "", *_table(cells, width)]
        lines += ["", *_prose(notes, width)] if notes else []
    lines += _accuracy(document)
    lines += ["", "Left out:", *_prose(left_out(document), width)] if left_out(document) else []
    return "\n".join(lines)


def _prose(lines: Iterable[str], width: int) -> list[str]:
    return [
        part
        for line in lines
        for part in wrap(line, width, subsequent_indent="  ", break_on_hyphens=False)
    ]


def _table(cells: list[dict[str, Any]], width: int) -> list[str]:
    shown = {
        "device": len({cell["device"] for cell in cells}) > 1,
        "samples/s": width >= ROOMY,
        "peak": any(cell.get("machine") for cell in cells),
        "x ours": any(map(_ours_s, cells)),
    }
    names = ["batch", "device", "contender", "a step", "95 %", "samples/s", "peak", "x ours"]
    columns = [i for i, name in enumerate(names) if shown.get(name, True)]
    rows = [names]
    for cell in sorted(cells, key=lambda cell: (cell["batch_size"], cell["device"])):
        rows += _rows(cell)
    left = {columns.index(i) for i in (1, 2) if i in columns}
    if len(rows) == 1:
        return ["No figures; what was left out says why."]
    return aligned([[row[i] for i in columns] for row in rows], left=left)


def _rows(cell: dict[str, Any]) -> list[list[str]]:
    """The best mode of each library, the fastest first, and how many other modes there are."""
    results = sorted(measured(cell, floors=True), key=_median_s)
    best: dict[str, dict[str, Any]] = {}
    for result in results:
        best.setdefault(result["contender"].partition("/")[0], result)
    rows = [["", "", *_figures(cell, result)] for result in best.values()]
    more = len(results) - len(best)
    if more:
        rows.append(["", "", counted(more, "slower mode"), *[""] * 5])
    if rows:
        rows[0][:2] = [str(cell["batch_size"]), cell["device"]]
    return rows


def _figures(cell: dict[str, Any], result: dict[str, Any]) -> list[str]:
    step, ours_s = summary(result), _ours_s(cell)
    is_ours = result["contender"].startswith("mlpx/")
    return [
        result["contender"],
        duration(step.median),
        f"±{100 * step.relative_width:.0f} %",
        rate(result["samples_per_s"]),
        percent(result.get("peak_fraction")),
        "" if is_ours or not ours_s else figures(step.median / ours_s),
    ]


def _median_s(result: dict[str, Any]) -> float:
    return float(result["step_s"]["median"])


def _ours_s(cell: dict[str, Any]) -> float | None:
    """The time of a step of our fastest mode."""
    ours = [result for result in measured(cell) if result["contender"].startswith("mlpx/")]
    return min(map(_median_s, ours), default=None)


def _accuracy(document: Document) -> list[str]:
    """Steps to the target accuracy, and the contender that is there first."""
    accuracy = document.get("accuracy")
    if not accuracy:
        return []
    if accuracy["reason"]:
        return ["", f"Time to accuracy on MNIST: {accuracy['reason']}"]
    rows = [["batch", "rate", "steps", "first", "after"]]
    for climb in accuracy["climbs"]:
        steps = str(climb["steps"]) if climb["steps"] else f"not in {climb['steps_taken']}"
        size, rate_ = climb["batch_size"], climb["learning_rate"]
        rows.append([str(size), f"{rate_:g}", steps, *_first(document, size)])
    title = f"Time to {percent(accuracy['target'])} of the test images of MNIST"
    return ["", title, "", *aligned(rows, left={3})]


def _first(document: Document, size: int) -> tuple[str, str]:
    taken = [
        (result["time_to_accuracy_s"], result["contender"])
        for cell in document["cells"]
        for result in measured(cell)
        if cell["batch_size"] == size and result.get("time_to_accuracy_s")
    ]
    seconds, name = min(taken, default=(None, ""))
    return name, "" if seconds is None else duration(seconds)


def to_lines(document: Document) -> str:
    """A line for each contender in each cell, plain ASCII; what is no figure begins with #."""
    rows = [list(FIELDS)]
    for cell in document["cells"]:
        for result in cell["results"]:
            if result["status"] not in ("absent", "unsupported"):
                rows.append([_field(cell, result, name) for name in FIELDS])
    left = {i for i, name in enumerate(FIELDS) if name in (*CELL_KEYS, "status", "contender")}
    lines = [*conditions(document), *aligned(rows, left=left), *left_out(document)]
    text = "\n".join(f"#{line[1:]}" if line.startswith("- ") else line for line in lines)
    return text.translate(ASCII).encode("ascii", "replace").decode()


def _field(cell: dict[str, Any], result: dict[str, Any], name: str) -> str:
    """A value without its unit; a dash if unknown."""
    if name in CELL_KEYS:
        return str(cell[name])
    if name in ("status", "contender"):
        return str(result[name])
    if result["status"] != "ok":
        return "-"
    step = summary(result)
    value, unit, places = {
        "step_us": (step.median, 1e6, 2),
        "half_%": (step.relative_width, 1e2, 1),
        "samples_per_s": (result["samples_per_s"], 1, 0),
        "gflops": (result["gflops"], 1, 2),
        "peak_%": (result.get("peak_fraction"), 1e2, 1),
        "compile_s": (result.get("compile_s"), 1, 1),
    }[name]
    return "-" if value is None else f"{value * unit:.{places}f}"
