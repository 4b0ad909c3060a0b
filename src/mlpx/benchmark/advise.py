"""`--advise`: the fastest device, engine, batch size and threads for one net here, and what the
others cost.
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from mlpx.backend.cpu import usable_cores
from mlpx.benchmark.report.document import measured
from mlpx.benchmark.report.units import duration, rate, thread_text
from mlpx.benchmark.rounds import Rules
from mlpx.benchmark.session import Settings, Watcher, run
from mlpx.benchmark.workloads import Workload

ENOUGH = 0.9
"""A batch this near to the best throughput will do: a smaller one learns more from each row."""

Option = dict[str, Any]


def thread_counts(usable: int | None = None) -> list[int]:
    """1, 2, 4, ... and all processors that may be used."""
    most = usable or usable_cores()
    return sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most})


def survey(
    workload: Workload,
    *,
    devices: tuple[str, ...],
    batch_sizes: tuple[int, ...] | None,
    rules: Rules,
    watcher: Watcher,
    settings: Settings,
) -> list[Option]:
    """Measure every engine on every device, batch size and, on the CPU, thread count."""
    found: list[Option] = []
    for device in devices:
        counts = thread_counts() if device == "cpu" else [min(2, os.cpu_count() or 1)]
        for threads in counts:
            document = run(
                replace(
                    settings,
                    workloads=(workload,),
                    batch_sizes=batch_sizes,
                    devices=(device,),
                    threads=threads,
                    rules=rules,
                    peers=(),
                ),
                watcher=watcher,
            )
            found += _options(document)
    return found


def _options(document: dict[str, Any]) -> list[Option]:
    return [
        {
            "device": cell["device"],
            "engine": result["contender"].partition("/")[2],
            "batch_size": cell["batch_size"],
            "threads": cell["threads"],
            "samples_per_s": result["samples_per_s"],
            "step_s": result["step_s"]["median"],
        }
        for cell in document["cells"]
        for result in measured(cell)
        if not result["contender"].endswith(" fit")
    ]


def choose(options: list[Option]) -> Option:
    """The smallest batch, then the fewest threads, within ENOUGH of the fastest; of those the
    fastest.
    """
    best = max(option["samples_per_s"] for option in options)
    near = [option for option in options if option["samples_per_s"] >= ENOUGH * best]
    smallest = min(option["batch_size"] for option in near)
    near = [option for option in near if option["batch_size"] == smallest]
    return min(near, key=lambda option: (option["threads"], -option["samples_per_s"]))


def advice(options: list[Option]) -> str:
    """One line: what to use, and how many times as long the best of each alternative takes a
    row.
    """
    if not options:
        return "no figure could be measured: other processes took the processors"
    chosen = choose(options)
    others = [
        f"{label} {chosen['samples_per_s'] / option['samples_per_s']:.2f}x"
        for label, option in alternatives(options, chosen)
    ]
    line = (
        f"{label_of(chosen)}: {rate(chosen['samples_per_s'])} samples/s, "
        f"{duration(chosen['step_s'])} a step"
    )
    return line + (f"; the same rows would take {', '.join(others)}" if others else "")


def label_of(option: Option) -> str:
    """Device, engine, batch size and threads."""
    return (
        f"{option['device']}, {option['engine']}, batch {option['batch_size']}, "
        f"{thread_text(option['threads'])}"
    )


def alternatives(options: list[Option], chosen: Option) -> list[tuple[str, Option]]:
    """The best option for every other value of each choice, the chosen values kept elsewhere if
    measured.
    """
    found: list[tuple[str, Option]] = []
    for name, text in (
        ("device", "on {}"), ("engine", "with {}"), ("threads", "with {} threads"),
        ("batch_size", "at batch {}"),
    ):  # fmt: skip
        rest = [key for key in ("device", "engine", "threads", "batch_size") if key != name]
        for value in sorted({option[name] for option in options} - {chosen[name]}, key=str):
            rivals = [option for option in options if option[name] == value]
            same = [o for o in rivals if all(o[key] == chosen[key] for key in rest)]
            best = max(same or rivals, key=lambda option: float(option["samples_per_s"]))
            label = text.format(value)
            found.append((label.replace("1 threads", "1 thread"), best))
    return found
