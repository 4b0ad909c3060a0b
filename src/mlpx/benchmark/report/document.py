"""The JSON document of a benchmark: its schema, the figures derived from all cells, its file.

docs/benchmark.md describes every field.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from math import exp, log
from pathlib import Path
from statistics import median
from typing import Any

from mlpx.benchmark.machine import ONE_CORE, RATES
from mlpx.benchmark.statistics import Summary
from mlpx.errors import DataFormatError, DataNotFoundError

SCHEMA = "mlpx-bench/2"
READABLE = ("mlpx-bench/1", SCHEMA)
"""Version 1 knows nothing of the machine, and rejected what was faster than a BLAS's products."""
TABLE_KEYS = ("workload", "phase", "dtype", "threads")
CELL_KEYS = (*TABLE_KEYS, "device", "batch_size")

Document = dict[str, Any]


def finish(document: Document) -> Document:
    """Add what needs several results: shares of the machine's peak and of the floor, time to
    accuracy, crossover batches, and what the machine can do over all cells.
    """
    for cell in document["cells"]:
        _add_peak_share(cell)
        _add_floor_share(cell, document["contenders"])
        _add_time_to_accuracy(cell, document.get("accuracy"))
    document["crossovers"] = [
        _crossover(key, cells) for key, cells in grouped(document).items() if _devices(cells) > 1
    ]
    document["machine"] = machine(document)
    return document


def machine(document: Document) -> dict[str, Any] | None:
    """The medians of the machine's ceilings over all cells, multiply-adds by dtype; None if none
    were measured. `one_core`: whether two processors seem to be threads of one core.
    """
    gauged = [(cell["dtype"], cell["machine"]) for cell in document["cells"] if cell.get("machine")]
    if not gauged:
        return None
    found: dict[str, Any] = {"isa": gauged[0][1]["isa"]}
    for name in RATES:
        if name.startswith("fma"):
            found[name] = {
                dtype: median(rates[name]["median"] for of, rates in gauged if of == dtype)
                for dtype in dict(gauged)
            }
        else:
            found[name] = median(rates[name]["median"] for _, rates in gauged)
    found["speedup"] = median(
        rates["fma_gflops"]["median"] / rates["fma_gflops_one_thread"]["median"]
        for _, rates in gauged
    )
    disturbed = any(rates["disturbed_rounds"] for _, rates in gauged)
    two = document["environment"]["threads"] == 2
    found["one_core"] = two and not disturbed and found["speedup"] < ONE_CORE
    return found


def measured(cell: dict[str, Any], *, floors: bool = False) -> list[dict[str, Any]]:
    """The results of a cell that have figures."""
    return [
        result
        for result in cell["results"]
        if result["status"] == "ok" and (floors or not result["contender"].startswith("gemm/"))
    ]


def summary(result: dict[str, Any]) -> Summary:
    """A result's time of a step, in seconds."""
    fields = {name: value for name, value in result["step_s"].items() if name != "all"}
    return Summary(**fields)


def grouped(document: Document) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """The cells by workload, phase, dtype and threads."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for cell in document["cells"]:
        groups.setdefault(tuple(cell[key] for key in TABLE_KEYS), []).append(cell)
    return groups


def _add_peak_share(cell: dict[str, Any]) -> None:
    rates = cell.get("machine") or {}
    peak = rates.get("fma_gflops", {}).get("median")
    for result in measured(cell, floors=True):
        known = peak and result["gflops"]  # moving parameters alone multiplies no matrices
        result["peak_fraction"] = result["gflops"] / peak if known else None


def _add_floor_share(cell: dict[str, Any], contenders: dict[str, Any]) -> None:
    medians = {r["contender"]: r["step_s"]["median"] for r in measured(cell, floors=True)}
    for result in measured(cell):
        floors = contenders[result["contender"]]["floors"]
        known = [medians[name] for name in floors if name in medians]
        result["floor_fraction"] = min(known) / medians[result["contender"]] if known else None


def _add_time_to_accuracy(cell: dict[str, Any], accuracy: dict[str, Any] | None) -> None:
    if not accuracy or cell["workload"] != "mnist" or cell["phase"] != "train":
        return
    steps = {climb["batch_size"]: climb["steps"] for climb in accuracy["climbs"]}
    taken = steps.get(cell["batch_size"])
    for result in measured(cell):
        result["time_to_accuracy_s"] = None if taken is None else taken * result["step_s"]["median"]


def _devices(cells: list[dict[str, Any]]) -> int:
    return len({cell["device"] for cell in cells})


def _crossover(key: tuple[Any, ...], cells: list[dict[str, Any]]) -> dict[str, Any]:
    """The smallest batch from which our best on another device stays ahead of our best on the
    CPU.
    """
    ours: dict[str, dict[int, float]] = {}
    for cell in cells:
        rates = [r["samples_per_s"] for r in measured(cell) if r["contender"].startswith("mlpx/")]
        if rates:
            ours.setdefault(cell["device"], {})[cell["batch_size"]] = max(rates)
    cpu = ours.pop("cpu", {})
    batches = {}
    for device, gpu in ours.items():
        shared = sorted(set(cpu) & set(gpu))
        batches[device] = crossing([(size, gpu[size] / cpu[size]) for size in shared])
    return {**dict(zip(TABLE_KEYS, key, strict=True)), "batch": batches}


def crossing(gains: list[tuple[int, float]]) -> dict[str, Any]:
    """Where the gain rises above one for good, from (batch, gain) in order of batch.

    "batch" is the first measured size of that stretch, "between" interpolates on log-log scales;
    both are None if the last size does not gain.
    """
    ahead = len(gains)
    while ahead and gains[ahead - 1][1] >= 1:
        ahead -= 1
    if ahead == len(gains):
        return {"batch": None, "between": None}
    if ahead == 0:
        return {"batch": gains[0][0], "between": None}
    (n, gain), (m, more) = gains[ahead - 1], gains[ahead]
    share = log(1 / gain) / log(more / gain)
    return {"batch": m, "between": exp(log(n) + share * log(m / n))}


def save(document: Document, path: Path) -> None:
    """Write the document, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n")
    os.replace(part, path)


def load(path: str | Path) -> Document:
    """Read a document.

    Raises DataNotFoundError, DataFormatError if it is not a benchmark document of this schema.
    """
    try:
        document = json.loads(Path(path).read_text())
    except FileNotFoundError:
        raise DataNotFoundError(f"{path} is not there; mlpx bench --out DIR writes one") from None
    except (OSError, ValueError) as error:
        raise DataFormatError(f"{path} cannot be read as JSON: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema not in READABLE:
        wanted = " and ".join(map(repr, READABLE))
        raise DataFormatError(f"{path}: schema is {schema!r}; this version reads {wanted}")
    return document  # type: ignore[no-any-return]


def results_by_key(document: Document) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Every result under (workload, phase, dtype, threads, device, batch size, contender)."""
    for cell in document["cells"]:
        for result in cell["results"]:
            yield (*(cell[key] for key in CELL_KEYS), result["contender"]), result


def best_peer(cell: dict[str, Any]) -> dict[str, Any] | None:
    """The fastest result of a library that is not ours."""
    peers = [r for r in measured(cell) if not r["contender"].startswith("mlpx/")]
    return min(peers, key=lambda r: float(r["step_s"]["median"]), default=None)
