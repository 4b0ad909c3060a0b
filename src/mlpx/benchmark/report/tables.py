"""The document as Markdown."""

from __future__ import annotations

from collections.abc import Callable, Container
from functools import partial
from statistics import median
from typing import Any

from mlpx.benchmark.machine import RATES
from mlpx.benchmark.report.document import (
    Document,
    best_peer,
    grouped,
    measured,
    summary,
)
from mlpx.benchmark.report.units import (
    duration,
    figures,
    gigaflops,
    megabytes,
    percent,
    rate,
    thread_text,
    waiting,
    widths_text,
)
from mlpx.benchmark.statistics import geometric_mean, ratio


def to_markdown(document: Document) -> str:
    """Conditions, a table for each workload, and what was left out."""
    parts = ["# mlpx benchmark", "", *conditions(document), ""]
    for cells in grouped(document).values():
        parts += _group(cells)
    parts += accuracy_lines(document)
    parts += ["## Left out", "", *(left_out(document) or ["Nothing."]), ""]
    return "\n".join(parts)


def conditions(document: Document) -> list[str]:
    """Where and how the figures were made, as a Markdown list."""
    made, settings = document["environment"], document["settings"]
    rules, commit = settings["rules"], made["commit"]
    blas = ", ".join(f"{b['name']} {b.get('version') or ''}".strip() for b in made["blas"])
    idle = [percent(document["load"][name]) for name in ("idle_before", "idle_after")]
    gpu = ", ".join(made["gpu"]["devices"]) or "none"
    lines = [
        f"- {made['date']}: {made['cpu']['model']}, {made['cpu']['usable']} processors usable, "
        f"{thread_text(made['threads'])} pinned; GPU: {gpu}; {made['machine']['system']}",
        f"- Python {made['python']}, NumPy {made['versions'].get('numpy')} with {blas}; "
        + ", ".join(f"{name} {v}" for name, v in sorted(document["versions"].items())),
        f"- commit {commit['hash'][:12]}{' (modified)' if commit['modified'] else ''}"
        if commit
        else "- not from a checkout",
        f"- processors busy with others: {idle[0]} before, {idle[1]} after; rounds with more than "
        f"{percent(rules['foreign_share'])} were "
        + ("kept (noise was accepted)" if rules["accept_noise"] else "rejected"),
        *machine_lines(document),
        "- medians with a 95 % interval; every step gathers its shuffled rows; each contender was "
        "checked against a float64 reference first",
    ]
    if not document.get("complete", True):  # older documents lack it
        lines.append("- interrupted before all cells were measured")
    if document["command"]:
        lines.append(f"- made by `{' '.join(document['command'])}`")
    return lines


def machine_lines(document: Document) -> list[str]:
    """What the machine can do at most, as Markdown; nothing if it was not measured."""
    found = document.get("machine")
    if not found:
        return []
    fused = ", ".join(
        f"{dtype} {figures(gflops)} GFLOP/s ({figures(alone)} on one thread)"
        for (dtype, gflops), alone in zip(
            found["fma_gflops"].items(), found["fma_gflops_one_thread"].values(), strict=True
        )
    )
    read, triad, l2 = (
        figures(found[name] / 1e9)
        for name in ("read_bytes_per_s", "triad_bytes_per_s", "l2_bytes_per_s")
    )
    lines = [
        f"- the machine's peak: fused multiply-adds ({found['isa']}) in {fused}; memory {read} "
        f"GB/s read, {triad} GB/s triad; second-level caches {l2} GB/s read"
    ]
    if found["one_core"]:
        both, alone = (next(iter(found[name].values())) for name in RATES[:2])
        lines.append(
            f"- the two processors seem to be threads of one core: {figures(both)} GFLOP/s of "
            f"multiply-adds on both, {figures(alone)} on one"
        )
    return lines


def heading(cell: dict[str, Any]) -> str:
    """What a group of cells measures."""
    layers = widths_text(cell["layers"])
    named = "" if cell["workload"] == layers else f"{cell['workload']}: "
    return (
        f"{named}{layers}, {cell['activation']}, {cell['optimizer']}, "
        f"{cell['phase']}, {cell['dtype']}, {thread_text(cell['threads'])}"
    )


def _group(cells: list[dict[str, Any]]) -> list[str]:
    lines = [f"## {heading(cells[0])}", ""]
    if not columns_of(cells):
        return [*lines, "No figures; what was left out says why.", ""]
    lines += step_lines(cells)
    for text, field, show in (
        ("GFLOP/s of the matrix products", "gflops", gigaflops),
        ("Share of the machine's peak", "peak_fraction", percent),
        ("Share of the BLAS's products in a step", "floor_fraction", percent),
        ("Compiling before the first step", "compile_s", waiting),
        ("Peak memory of the process", "peak_host_bytes", megabytes),
    ):
        having = {
            (cell["device"], result["contender"])
            for cell in cells
            for result in measured(cell, floors=True)
            if show(result.get(field)) != "–"
        }
        if having:
            table = _table(cells, partial(_shown, field, show), rows=having)
            lines += [f"{text}:", "", *table, ""]
    return lines


def _step(result: dict[str, Any]) -> str:
    step = summary(result)
    return f"{duration(step.median)} (±{100 * step.relative_width:.0f})"


def _shown(field: str, show: Callable[[Any], str], result: dict[str, Any]) -> str:
    return show(result.get(field))


def step_lines(cells: list[dict[str, Any]]) -> list[str]:
    """Times of a step and samples a second, as Markdown."""
    lines = ["Time of a step (half the interval in per cent):", ""]
    lines += _table(cells, _step, bold=True)
    gain = gain_line(cells)
    lines += ["", gain] if gain else []
    return [*lines, "", "Samples a second:", "",
            *_table(cells, lambda r: rate(r["samples_per_s"]), bold=True), ""]  # fmt: skip


def gain_line(cells: list[dict[str, Any]]) -> str:
    """How many times as fast ours is as the best peer, over all cells; empty without peers."""
    gains = {
        (cell["device"], cell["batch_size"]): gain[0]
        for cell in cells
        if (gain := against_best_peer(cell)) is not None
    }
    if not gains:
        return ""
    (_, size), least = min(gains.items(), key=lambda item: item[1])
    return (
        f"Ours against the best peer, geometric mean: {figures(geometric_mean([*gains.values()]))} "
        f"times; least {figures(least)}, at batch {size}."
    )


def compile_line(cells: list[dict[str, Any]]) -> str:
    """How long each contender compiles in a cell, the longest first; empty if none does."""
    taken: dict[str, list[float]] = {}
    for cell in cells:
        for result in measured(cell):
            if result.get("compile_s") is not None:
                taken.setdefault(result["contender"], []).append(result["compile_s"])
    longest = sorted(((median(all_s), name) for name, all_s in taken.items()), reverse=True)
    shown = ", ".join(f"{name} {waiting(typical_s)}" for typical_s, name in longest)
    return f"Compiling before the first step, at each batch size: {shown}." if shown else ""


def against_best_peer(cell: dict[str, Any]) -> tuple[float, float, float] | None:
    """How many times as fast our best is as the best peer, with an interval; None without peers."""
    ours = [r for r in measured(cell) if r["contender"].startswith("mlpx/")]
    peer = best_peer(cell)
    if not ours or peer is None:
        return None
    best = min(ours, key=lambda r: float(r["step_s"]["median"]))
    return ratio(summary(peer), summary(best))


def columns_of(cells: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(device, contender) pairs with figures in any of the cells, in the document's order."""
    columns: dict[tuple[str, str], None] = {}
    for cell in cells:
        for result in measured(cell, floors=True):
            columns[cell["device"], result["contender"]] = None
    return list(columns)


def _table(
    cells: list[dict[str, Any]],
    show: Any,
    *,
    bold: bool = False,
    rows: Container[tuple[str, str]] | None = None,
) -> list[str]:
    """Rows are devices and contenders, these if given, columns batch sizes; the fastest of each
    column in bold if asked for.
    """
    sizes = sorted({cell["batch_size"] for cell in cells})
    devices = {cell["device"] for cell in cells}
    lines = [
        "| | " + " | ".join(map(str, sizes)) + " |",
        "|---|" + "---:|" * len(sizes),
    ]
    for device, name in columns_of(cells):
        if rows is not None and (device, name) not in rows:
            continue
        shown = [_entry(cells, device, name, size, show, bold) for size in sizes]
        label = name if len(devices) == 1 else f"{name}, {device}"
        lines.append(f"| {label} | " + " | ".join(shown) + " |")
    return lines


def _entry(
    cells: list[dict[str, Any]], device: str, name: str, size: int, show: Any, bold: bool
) -> str:
    results = [
        (cell["device"], result)
        for cell in cells
        if cell["batch_size"] == size
        for result in measured(cell, floors=True)
    ]
    rivals = [r["step_s"]["median"] for _, r in results if not r["contender"].startswith("gemm/")]
    for where, result in results:
        if (where, result["contender"]) == (device, name):
            best = bool(rivals) and result["step_s"]["median"] == min(rivals)
            return f"**{show(result)}**" if bold and best else str(show(result))
    return ""


def accuracy_lines(document: Document) -> list[str]:
    """Steps and time to the target accuracy, as Markdown; nothing if it was not measured."""
    accuracy = document.get("accuracy")
    if not accuracy:
        return []
    lines = ["## Time to accuracy on MNIST", ""]
    if accuracy["reason"]:
        return [*lines, accuracy["reason"], ""]
    lines += [
        f"Steps to {percent(accuracy['target'])} of the test images, and that many steps at each "
        "contender's own speed.",
        "",
        "| batch | learning rate | steps | accuracy | " + " | ".join(_timed(document)) + " |",
        "|---:|---:|---:|---:|" + "---:|" * len(_timed(document)),
    ]
    for climb in accuracy["climbs"]:
        steps = str(climb["steps"]) if climb["steps"] else f"not in {climb['steps_taken']}"
        times = [_time(document, name, climb["batch_size"]) for name in _timed(document)]
        lines.append(
            f"| {climb['batch_size']} | {climb['learning_rate']:g} | {steps} | "
            f"{climb['accuracy']:.4f} | " + " | ".join(times) + " |"
        )
    return [*lines, ""]


def _timed(document: Document) -> list[str]:
    """The contenders that have a time to accuracy in any cell."""
    labels: dict[str, None] = {}
    for cell in document["cells"]:
        for result in measured(cell):
            if result.get("time_to_accuracy_s") is not None:
                labels[f"{result['contender']}, {cell['device']}"] = None
    return list(labels)


def _time(document: Document, label: str, size: int) -> str:
    for cell in document["cells"]:
        for result in measured(cell):
            taken = result.get("time_to_accuracy_s")
            same = f"{result['contender']}, {cell['device']}" == label
            if same and cell["batch_size"] == size and taken is not None:
                return duration(taken)
    return "–"


def left_out(document: Document) -> list[str]:
    """Every contender without a figure, and why; those with the same reasons share a line. A mode
    that lacks the phase is not worth a word where another mode of its library has it.
    """
    places: dict[tuple[str, ...], list[str]] = {}
    for cell in document["cells"]:
        there = {r["contender"].partition("/")[0] for r in measured(cell, floors=True)}
        for result in cell["results"]:
            lacks = str(result["reason"]).startswith("has no phase")
            if result["status"] != "ok" and not (
                lacks and result["contender"].partition("/")[0] in there
            ):
                key = (result["contender"], result["status"], str(result["reason"]))
                places.setdefault(key, []).append(f"{cell['workload']} {cell['batch_size']}")
    alike: dict[tuple[str, ...], list[str]] = {}
    for (name, *why), where in places.items():
        alike.setdefault((*why, *where), []).append(name)
    cells = len(document["cells"])
    return [
        f"- {', '.join(names)}, {status}: {reason}"
        + (f" (in {', '.join(dict.fromkeys(where))})" if len(where) < cells else "")
        for (status, reason, *where), names in alike.items()
    ]
