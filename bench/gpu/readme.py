"""``python -m gpu.readme``: the README's GPU table, made from the newest results."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

from gpu.document import Document, cells, rows, steps
from gpu.markdown import table
from mlpx.benchmark.report.units import duration

ROOT = Path(__file__).resolve().parents[2]
BEGIN, END = "<!-- gpu table: begin -->", "<!-- gpu table: end -->"
NAMES = {
    "mlpx/cuda": "mlpx", "torch/fused": "PyTorch eager", "torch/graph": "PyTorch, graph",
    "jax/scan": "JAX, `lax.scan`", "torch/whole": "`torch.compile`, all",
    "torch/compiled": "`torch.compile`",
}  # fmt: skip


def newest(folder: Path) -> tuple[Path, Document] | None:
    """The newest document that a GPU gave, in full sizes."""
    found = [(path, json.loads(path.read_text())) for path in folder.glob("gpu-*.json")]
    found = [each for each in found if not (each[1]["quick"] or each[1]["rehearsed"])]
    return max(found, key=lambda each: each[1]["when"], default=None)


def section(folder: Path) -> str:
    """What stands between the marks: measured figures, and nothing where there are none."""
    found = newest(folder)
    if found is None:
        return f"{BEGIN}\nNo GPU has measured anything yet.\n{END}"
    path, document = found
    commit = document["commit"][:7]
    said = f"{document['gpu']}, {document['when'][:10]}, commit {commit}: time of a training step"
    told = [*table(*steps_table(document)), *epochs(document)]
    place = path.with_suffix(".md")
    rest = f"`bench/results/{place.name}` has the rest."
    note = [f"{document['note']} {rest}" if document.get("note") else rest]
    return "\n".join([BEGIN, f"{said}.", "", *told, "", *note, END])


def steps_table(document: Document) -> tuple[list[str], list[list[str]]]:
    """A row for each net that was measured, a column for each contender that was; a peer's with how
    many times ours it takes.
    """
    found: dict[str, dict[str, float]] = {}
    for cell, row in cells(document["sections"]).items():
        found[cell] = row["step_us"]
    for cell, row in steps(document["sections"]).items():
        found.setdefault(cell, {"mlpx/cuda": row["step_us"]})
    there = [name for name in NAMES if any(name in times for times in found.values())]
    return (
        ["net, optimizer, batch, arithmetic", *(NAMES[name] for name in there)],
        [[", ".join(cell.split()), *(figure(times, name) for name in there)]
         for cell, times in found.items()],
    )  # fmt: skip


def figure(times: dict[str, float], name: str) -> str:
    """Such as `93 µs (2.2 x)`."""
    if not times.get(name):
        return ""
    text, ours = duration(times[name] / 1e6), times.get("mlpx/cuda")
    return f"{text} ({times[name] / ours:.1f} x)" if ours and name != "mlpx/cuda" else text


def epochs(document: Document) -> Iterator[str]:
    """What an epoch takes."""
    for row in rows(document["sections"], "epoch", what="an epoch"):
        if row.get("epoch_ms"):
            yield ""
            what = "A shuffled epoch of 784-50-10 on 60,000 images with metrics"
            yield f"{what}: {row['epoch_ms']:.1f} ms."


def rewrite(readme: Path = ROOT / "README.md", folder: Path = ROOT / "bench" / "results") -> str:
    """Puts the table into the README; says what it did."""
    text = readme.read_text()
    if text.count(BEGIN) != 1 or text.count(END) != 1:
        raise ValueError(f"{readme} has no place for the table: {BEGIN} and {END}, once each")
    made = re.sub(f"{BEGIN}.*?{END}", lambda _: section(folder), text, flags=re.DOTALL)
    if made == text:
        return f"{readme.name} is up to date"
    readme.write_text(made)
    return f"{readme.name} has a new GPU table"


if __name__ == "__main__":
    print(rewrite())
