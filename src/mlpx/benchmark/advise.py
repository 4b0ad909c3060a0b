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
from mlpx.benchmark.session import SessionOptions, Watcher, run
from mlpx.benchmark.workloads import Workload

ENOUGH = 0.9
"""A batch this near to the best throughput will do: a smaller one learns more from each row."""

Choice = dict[str, Any]


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
    options: SessionOptions,
) -> list[Choice]:
    """Measure every engine on every device, batch size and, on the CPU, thread count."""
    choices: list[Choice] = []
    for device in devices:
        counts = thread_counts() if device == "cpu" else [min(2, os.cpu_count() or 1)]
        for threads in counts:
            document = run(
                replace(
                    options,
                    workloads=(workload,),
                    batch_sizes=batch_sizes,
                    devices=(device,),
                    threads=threads,
                    rules=rules,
                    peers=(),
                ),
                watcher=watcher,
            )
            choices += _choices(document)
    return choices


def _choices(document: dict[str, Any]) -> list[Choice]:
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


def choose(choices: list[Choice]) -> Choice:
    """The smallest batch, then the fewest threads, within ENOUGH of the fastest; of those the
    fastest.
    """
    best = max(choice["samples_per_s"] for choice in choices)
    near = [choice for choice in choices if choice["samples_per_s"] >= ENOUGH * best]
    smallest = min(choice["batch_size"] for choice in near)
    near = [choice for choice in near if choice["batch_size"] == smallest]
    return min(near, key=lambda choice: (choice["threads"], -choice["samples_per_s"]))


def advice(choices: list[Choice]) -> str:
    """One line: what to use, and how many times as long the best of each alternative takes a
    row.
    """
    if not choices:
        return "no figure could be measured: other processes took the processors"
    chosen = choose(choices)
    others = [
        f"{label} {chosen['samples_per_s'] / choice['samples_per_s']:.2f}x"
        for label, choice in alternatives(choices, chosen)
    ]
    line = (
        f"{label_of(chosen)}: {rate(chosen['samples_per_s'])} samples/s, "
        f"{duration(chosen['step_s'])} a step"
    )
    return line + (f"; the same rows would take {', '.join(others)}" if others else "")


def label_of(choice: Choice) -> str:
    """Device, engine, batch size and threads."""
    return (
        f"{choice['device']}, {choice['engine']}, batch {choice['batch_size']}, "
        f"{thread_text(choice['threads'])}"
    )


def alternatives(choices: list[Choice], chosen: Choice) -> list[tuple[str, Choice]]:
    """For each device, engine, thread count and batch size that was not chosen, the best choice
    with it: one that shares everything else with the chosen one, if such was measured.
    """
    labelled: list[tuple[str, Choice]] = []
    for name, text in (
        ("device", "on {}"), ("engine", "with {}"), ("threads", "with {} threads"),
        ("batch_size", "at batch {}"),
    ):  # fmt: skip
        rest = [key for key in ("device", "engine", "threads", "batch_size") if key != name]
        for value in sorted({choice[name] for choice in choices} - {chosen[name]}, key=str):
            rivals = [choice for choice in choices if choice[name] == value]
            same = [c for c in rivals if all(c[key] == chosen[key] for key in rest)]
            best = max(same or rivals, key=lambda choice: float(choice["samples_per_s"]))
            label = text.format(value)
            labelled.append((label.replace("1 threads", "1 thread"), best))
    return labelled
