"""Accuracy and time of table models on real data, ours and others, on the same rows.

    python -m bench.tables --data-dir DIR --out FILE.jsonl [--seeds 5] [--only NAME,...]

A line of JSON for each method, table and seed, written as it is known; what is in the file already
is not run again. Methods take turns within each seed, so that a machine that gets slower harms all.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from bench.tables.data import READERS, Table, load
from bench.tables.methods import METHODS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", help="tables and methods, with commas; a part of a name will do")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    wanted = (given.only or "").split(",")
    tables = _chosen(READERS, wanted)
    methods = _chosen(METHODS, wanted)
    for name in tables:
        for seed in range(given.seeds):
            table = load(name, given.data_dir, seed)
            for method in methods:
                if (method, name, seed) not in _done(given.out):
                    _append(given.out, run(method, table, seed, given.threads))


def _chosen(known: Any, wanted: list[str]) -> list[str]:
    """The names that have a wanted part; all if none has."""
    found = [name for name in known if any(part and part in name for part in wanted)]
    return found or list(known)


def _done(path: Path) -> set[tuple[str, str, int]]:
    if not path.exists():
        return set()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {(line["method"], line["table"], line["seed"]) for line in lines}


def _append(path: Path, line: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")
    print(*(f"{value:.4g}" if isinstance(value, float) else value for value in line.values()))


def run(method: str, table: Table, seed: int, threads: int) -> dict[str, Any]:
    """One method on one table from one seed."""
    predicted, fit_s, predict_s = METHODS[method](table, seed, threads)
    y = table.y[table.test]
    if table.has_classes:
        score, value = "accuracy", float((predicted == y).mean())
    else:
        score, value = "rmse", float(np.sqrt(((predicted - y) ** 2).mean()))
    return {
        "method": method, "table": table.name, "seed": seed, "score": score, "value": value,
        "fit_s": fit_s, "predict_s": predict_s, "threads": threads,
        "processor": _processor(),
    }  # fmt: skip


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
