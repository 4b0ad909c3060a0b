"""What was aimed at, and whether it is reached."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gpu.document import Document, Row, cells, rows
from gpu.harness import Line

SMALL = "784-50-10 sgd 100 float32"
WIDE = "784-512-512-10 adam 128 float32"
DEEP = "1024-4096-4096-1024 adam 8192"
EPOCH_MS, NETS = 15, 4
UNMEASURED = "not measured"


class Target(NamedTuple):
    """An aim; `reached` is None where it was not measured."""

    aim: str
    found: str
    reached: bool | None


def targets(document: Document) -> Iterator[Target]:
    """All of them, in the order of the project's list."""
    lines: list[Line] = document["sections"]
    known = cells(lines)
    small, wide = known.get(SMALL, {}), known.get(WIDE, {})
    eager, graph = small.get("eager_over_ours"), small.get("best_graph_over_ours")
    yield least("784-50-10, SGD, 100: 5 times PyTorch eager", eager, 5.0)
    yield least("the same: 1.5 times the best peer with graphs", graph, 1.5)
    yield epoch(lines)
    yield least("784-512-512-10, Adam, 128: 1.2 times the best peer", best_peer(wide), 1.2)
    for precision in ("float32", "tf32", "bf16"):
        share = known.get(f"{DEEP} {precision}", {}).get("gemm_floor_share")
        yield least(
            f"1024-4096-4096-1024, 8192, {precision}: 0.85 of its products' floor", share, 0.85
        )
    for what, section in (("every kernel case", "kernel_cases"), ("every parity row", "parity")):
        found = green(what, lines, section)
        if document.get("partial") and found.reached:
            found = Target(found.aim, f"{found.found}; by another script", None)
        yield found
    yield crossovers(lines)


def least(aim: str, found: float | None, bound: float) -> Target:
    """At least so much."""
    if found is None:
        return Target(aim, UNMEASURED, None)
    return Target(aim, f"{found:.2f}", found >= bound)


def best_peer(cell: Row) -> float | None:
    """How many times as long as ours the fastest peer's step takes."""
    found = [cell[key] for key in ("eager_over_ours", "best_graph_over_ours") if cell.get(key)]
    return min(found, default=None)


def epoch(lines: list[Line]) -> Target:
    """Of the engine that was forced."""
    aim = f"a shuffled MNIST epoch with metrics in under {EPOCH_MS:.0f} ms"
    row = next(rows(lines, "epoch", what="an epoch"), {})
    if not row.get("epoch_ms"):
        return Target(aim, row.get("why", UNMEASURED), None)
    reached = row.get("passed") is not False and row["epoch_ms"] < EPOCH_MS
    return Target(aim, f"{row['epoch_ms']:.1f} ms", reached)


def green(aim: str, lines: list[Line], section: str) -> Target:
    """All rows passed, and the section came to its end."""
    verdicts = [line["verdict"] for line in lines if line["section"] == section]
    found = [row["passed"] for row in rows(lines, section) if "passed" in row]
    if not found:
        return Target(f"{aim} passes", UNMEASURED, None)
    text = f"{sum(found)} of {len(found)} rows, {verdicts[-1]}"
    return Target(f"{aim} passes", text, all(found) and verdicts == ["passed"])


def crossovers(lines: list[Line]) -> Target:
    """The batch from which the GPU is the faster, of each net."""
    found = list(rows(lines, "crossover", what="crossover"))
    text = "; ".join(f"{row['net']}: {row['batch'] or 'none'}" for row in found)
    aim = f"the crossover batch of each of the {NETS} nets"
    return Target(aim, text or UNMEASURED, len(found) >= NETS if found else None)
