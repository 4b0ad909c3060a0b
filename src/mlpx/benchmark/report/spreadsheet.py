"""The document as CSV."""

from __future__ import annotations

import csv
import io
from typing import Any

from mlpx.benchmark.report.document import CELL_KEYS, Document

COLUMNS = (
    *CELL_KEYS, "contender", "status", "reason", "step_s", "step_s_low", "step_s_high", "coverage",
    "rounds", "rejected_busy", "rejected_above_peak", "device_step_s", "samples_per_s",
    "steps_per_s", "gflops", "peak_fraction", "floor_fraction", "compile_s", "peak_host_bytes",
    "host_growth_bytes", "peak_device_bytes", "time_to_accuracy_s",
)  # fmt: skip


def to_csv(document: Document) -> str:
    """One line per result, with or without figures."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for cell in document["cells"]:
        for result in cell["results"]:
            flat = _flat(cell, result)
            writer.writerow([flat.get(name, "") for name in COLUMNS])
    return out.getvalue()


def _flat(cell: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
    step, rejected = result.get("step_s") or {}, result.get("rejected_rounds") or {}
    flat = {**{key: cell[key] for key in CELL_KEYS}, **result}
    flat |= {
        "step_s": step.get("median"),
        "step_s_low": step.get("low"),
        "step_s_high": step.get("high"),
        "coverage": step.get("coverage"),
        "rounds": step.get("rounds"),
        "rejected_busy": rejected.get("busy"),
        "rejected_above_peak": rejected.get("above_peak"),
        "device_step_s": (result.get("device_step_s") or {}).get("median"),
    }
    return {name: "" if value is None else value for name, value in flat.items()}
