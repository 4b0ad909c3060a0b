"""A document for people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from gpu.document import Document, Row, cells, net_of, rows
from gpu.harness import Line
from gpu.plots import operations
from gpu.targets import targets
from mlpx.benchmark.report.units import figures, percent

AS_THEY_ARE = ("ceilings", "cluster", "epoch", "memory", "device_tests", "sanitizer", "crossover")
"""Sections whose rows are shown as they are."""
LONG = ("text", "said", "skips", "slowest", "rounds_ms")
"""What is no cell of a table."""
REACHED = {True: "yes", False: "**no**", None: "–"}


def text(document: Document, drawn: list[str]) -> str:
    """All of it; `drawn` are the names of drawings that lie beside."""
    lines: list[Line] = document["sections"]
    parts = [
        [f"# mlpx on {document['gpu']}, {document['when'][:10]}", "", *about(document)],
        *section("Targets", aims(document)),
        ["## Sections", "", *verdicts(lines)],
        *section("Kernels and products", kernels(lines)),
        *section("The GPU beside the CPU, step by step", parity(lines)),
        *section("Our steps", ours(lines)),
        *section("Beside peers", peers(lines)),
    ]
    for name in AS_THEY_ARE:
        parts += section(name.replace("_", " ").capitalize(), plain(list(rows(lines, name))))
    parts += section("Drawings", (f"![{name}]({name})" for name in drawn))
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def section(title: str, content: Iterable[str]) -> list[list[str]]:
    """Nothing where nothing was measured; rows that are not as expected cost their section only."""
    found = list[str]()
    try:
        found.extend(content)
    except Exception as error:
        found += ["", f"The rest cannot be told: {type(error).__name__}: {error}"]
    return [[f"## {title}", "", *found]] if found else []


def table(head: Iterable[str], body: Iterable[Iterable[Any]]) -> list[str]:
    """A Markdown table; empty without rows."""
    made = ["| " + " | ".join(cell(each) for each in row) + " |" for row in body]
    names = list(head)
    return ["| " + " | ".join(names) + " |", "|---" * len(names) + "|", *made] if made else []


def columns(names: dict[str, str], found: Iterable[Row]) -> list[str]:
    """A table of these columns, by what they are called in the rows."""
    return table(names, ([row.get(key) for key in names.values()] for row in found))


def cell(value: Any) -> str:
    """A value of JSON in a table."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "**no**"
    if isinstance(value, float):
        return figures(value) if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.1e}"
    if isinstance(value, list) and all(isinstance(each, int) for each in value):
        return "-".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key} {cell(each)}" for key, each in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")


def about(document: Document) -> Iterator[str]:
    """Where it comes from."""
    if document.get("note"):
        yield from (f"**{document['note']}**", "")
    if document["rehearsed"]:
        yield from ("**A rehearsal on a double of a GPU: no figure here means anything.**", "")
    yield f"- commit {document['commit']}"
    yield from (f"- {key}: {value}" for key, value in document["versions"].items())
    for name, part in document["parts"].items():
        seconds = f", {part['seconds']:.0f} s" if part["seconds"] else ""
        yield f"- part {name}: {part['gpu']}, {part['when']}{seconds}"


def aims(document: Document) -> Iterator[str]:
    yield from table(
        ("aim", "found", "reached"),
        ((each.aim, each.found, REACHED[each.reached]) for each in targets(document)),
    )


def verdicts(lines: list[Line]) -> list[str]:
    names = ("part", "section", "verdict", "seconds", "rows", "why")
    body = ([*map(line.get, names[:4]), len(line["rows"]), line.get("why", "")] for line in lines)
    return table(names, body)


def kernels(lines: list[Line]) -> Iterator[str]:
    """How many passed, the worst error, and what failed; the time of each file's compiling."""
    files = {
        "file": "file", "compiled in (s)": "seconds", "kernels": "kernels",
        "most registers": "most_registers", "passed": "passed",
    }  # fmt: skip
    yield from columns(files, rows(lines, "compiling", check="compiling"))
    for section, name in (("kernel_cases", "kernel"), ("products", "product")):
        found = list(rows(lines, section, check=name))
        if not found:
            continue
        passed = sum(row["passed"] for row in found)
        worst = max(row.get("worst_eps", row.get("worst_error")) or 0.0 for row in found)
        unit = "epsilons" if name == "kernel" else "of the norm"
        yield ""
        yield f"{passed} of {len(found)} {name} rows passed; worst {worst:.2g} {unit}."
        yield ""
        yield from (f"- {row.get('why')}" for row in found if not row["passed"])
        yield ""
    products = {
        "operation": "operation", "end": "epilogue", "precision": "precision",
        "shapes fused": "planned", "of": "of", "worst error": "worst_error",
    }  # fmt: skip
    yield from columns(products, rows(lines, "products", check="product"))


def parity(lines: list[Line]) -> Iterator[str]:
    """Differences of the losses from those of the interpreter on the CPU."""
    found = list(rows(lines, "parity"))
    measures = dict.fromkeys(row["measure"] for row in found if row.get("measure"))
    yield from (line for measure in measures for line in (measure, ""))
    yield from table(
        ("net", "arithmetic", "engine cuda", "interpreter on the GPU", "bound",
         "same bits twice", "same bits without graphs", "passed", "why"),
        (
            [row.get("name"), "float64" if row.get("dtype") == "float64" else row.get("precision"),
             *(row.get("differences", {}).get(k) for k in ("cuda", "interpreter on the GPU")),
             *(row.get(k) for k in ("bound", "same_bits_twice", "same_bits_launched", "passed")),
             row.get("why", "")]
            for row in found
        ),
    )  # fmt: skip


def ours(lines: list[Line]) -> Iterator[str]:
    """Steps in each way, then each operation."""
    ways = ("graph_steps", "lanes", "heads", "rows_ahead", "nodes", "step_us")
    names = ("steps a graph", "lanes", "head as one", "rows ahead", "nodes", "microseconds")
    yield from table(
        ("step", "measured", *names),
        (
            [net_of(row), row.get("by", "on the device"), *(row.get(key) for key in ways)]
            for row in rows(lines, "steps", what="step")
        ),
    )  # fmt: skip
    for net, row in operations(lines).items():
        yield from ("", f"{row['title']}, {net}; microseconds" + note(row), "")
        every = rows(lines, "steps", what="products of our own")
        own: dict[str, float] = next((each["us"] for each in every if net_of(each) == net), {})
        head = ["operation", "takes", *(["by our own kernel"] if own else [])]
        body = [[name, us, *([own.get(name)] if own else [])] for name, us in row["us"].items()]
        yield from table(head, body + ([["all", row["all_us"]]] if row.get("all_us") else []))


def note(row: Row) -> str:
    return f" ({row['note']})" if row.get("note") else ""


def peers(lines: list[Line]) -> Iterator[str]:
    """Each contender of each cell; what a peer takes over ours is its ratio."""
    body = []
    for name, together in cells(lines).items():
        mine = together["step_us"].get("mlpx/cuda")
        for who, us in together["step_us"].items():
            body.append([name, who, us, us / mine if mine else None, ""])
        shares = {k: v for k, v in together.items() if k.endswith("_floor_share")}
        if shares:
            floors = ", ".join(
                f"{k.removesuffix('_floor_share')} {percent(v)}" for k, v in shares.items()
            )
            body.append([name, "floors over mlpx/cuda", None, None, floors])
    for each in ("peers_small", "peers_large"):
        for row in rows(lines, each):
            if row.get("why"):
                body.append(
                    [row.get("cell"), row.get("contender"), row.get("step_us"), None, row["why"]]
                )
    yield from table(("cell", "contender", "microseconds a step", "over mlpx/cuda", "notes"), body)


def plain(every: list[Row]) -> Iterator[str]:
    """Rows as a table: all keys that any of them has."""
    names = list(dict.fromkeys(key for row in every for key in row if key not in LONG))
    yield from table(names, ([row.get(name, "") for name in names] for row in every))
