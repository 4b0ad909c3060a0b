"""One whole benchmark: every cell built, checked, timed and written into the document."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mlpx.benchmark import load
from mlpx.benchmark.check import Judge, Verdict
from mlpx.benchmark.contenders.base import Contender, modes
from mlpx.benchmark.environment import describe
from mlpx.benchmark.processes import ContenderError, Process, device_environment
from mlpx.benchmark.reference import Arrays
from mlpx.benchmark.report.document import SCHEMA, finish
from mlpx.benchmark.report.results import cell_record, machine_record, refusal, result_record
from mlpx.benchmark.rounds import Gauge, Rules, Seat, Table
from mlpx.benchmark.workloads import ARITHMETIC, Phase, Task, Workload, make_problem
from mlpx.engines import Engine
from mlpx.errors import UnknownNameError


@dataclass(frozen=True)
class SessionOptions:
    """What to measure."""

    workloads: tuple[Workload, ...]
    batch_sizes: tuple[int, ...] | None = None
    """None: each workload's own."""
    phases: tuple[Phase, ...] = ("train",)
    dtypes: tuple[str, ...] = ("float32",)
    """Names of `ARITHMETIC`."""
    devices: tuple[str, ...] = ("cpu",)
    peers: tuple[str, ...] = ()
    engines: tuple[str, ...] | None = None
    """None: every engine."""
    threads: int = 1
    seed: int = 0
    rules: Rules = field(default_factory=Rules)
    accuracy_s: float = 0.0
    """Budget for each batch size of the search for the steps to a target accuracy; 0 leaves it
    out.
    """

    def tables(self) -> Iterator[list[Task]]:
        """The tasks that share their processes: one list for each workload and device."""
        for workload in self.workloads:
            for device in self.devices:
                task = Task(workload, 1, device=device, threads=self.threads, seed=self.seed)
                yield [
                    replace(task, batch_size=size, phase=phase, dtype=array, precision=precision)
                    for array, precision in (ARITHMETIC[dtype] for dtype in self.dtypes)
                    for phase in self.phases
                    for size in self.batch_sizes or workload.batch_sizes
                ]


class Watcher(Protocol):
    """Receives the progress of a benchmark."""

    def cell(self, task: Task, names: list[str]) -> None:
        """A cell begins."""

    def says(self, task: Task, name: str, text: str) -> None:
        """Something about one contender: "building", "wrong: ..."."""

    def rounds(self, task: Task, seats: list[Seat], peak_gflops: float | None) -> None:
        """A round is done; the machine's peak so far, if it is measured."""


def roster(options: SessionOptions) -> list[type[Contender]]:
    """The contenders that take part: our engines, the floors, and every mode of the peers that
    runs on one of the devices.

    Raises UnknownNameError for an unknown peer or engine.
    """
    for engine in options.engines or ():
        if engine not in Engine.table:
            raise UnknownNameError("engine", engine, Engine.table)
    ours = [
        kind
        for kind in modes("mlpx")
        if options.engines is None or getattr(kind, "engine", options.engines[0]) in options.engines
    ]
    theirs = [kind for library in options.peers for kind in modes(library)]
    wanted = {floor for kind in [*ours, *theirs] for floor in kind.floors}
    floors = [kind for kind in modes("gemm") if kind.name() in wanted]
    kinds = [*floors, *ours, *theirs]
    return [kind for kind in kinds if any(map(kind.runs_on, options.devices))]


def others_than(phase: Phase, kinds: list[type[Contender]]) -> list[type[Contender]]:
    """The modes without this phase whose library has it in another mode: not worth a message."""
    able = {kind.library for kind in kinds if phase in kind.phases()}
    return [kind for kind in kinds if phase not in kind.phases() and kind.library in able]


def run(
    options: SessionOptions,
    *,
    watcher: Watcher,
    command: Iterable[str] = (),
    keep: Callable[[dict[str, Any]], None] = lambda document: None,
) -> dict[str, Any]:
    """Measure everything; returns the document (see `document`).

    `keep` receives the document so far, before the first cell and after each.
    """
    contenders = roster(options)
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "complete": False,
        "command": list(command),
        "environment": describe(options.threads),
        "settings": _plain(options),
        "contenders": {
            kind.name(): {"note": kind.note, "floors": list(kind.floors)} for kind in contenders
        },
        "versions": {},
        "load": {
            "idle_before": load.idle_share(options.threads, seconds=1.0), "idle_after": None
        },
        "cells": [],
        "accuracy": None,
    }  # fmt: skip
    keep(finish(document))
    for tasks in options.tables():
        with Bench(tasks, contenders, options.rules, watcher) as bench:
            for task in tasks:
                document["cells"].append(bench.cell(task))
                document["versions"] |= bench.versions
                keep(finish(document))
    document["load"]["idle_after"] = load.idle_share(options.threads, seconds=1.0)
    document["accuracy"] = _accuracy(options)
    document["complete"] = True
    return finish(document)


def _plain(options: SessionOptions) -> dict[str, Any]:
    return {
        "workloads": [w.name for w in options.workloads],
        "batch_sizes": options.batch_sizes,
        "phases": options.phases,
        "dtypes": options.dtypes,
        "devices": options.devices,
        "peers": options.peers,
        "threads": options.threads,
        "seed": options.seed,
        "rules": asdict(options.rules),
    }


def _accuracy(options: SessionOptions) -> dict[str, Any] | None:
    """Steps to the target accuracy of the mnist workload at each batch size."""
    wanted = [w for w in options.workloads if w.name == "mnist"]
    if not wanted or not options.accuracy_s or "train" not in options.phases:
        return None
    from mlpx.benchmark.accuracy import TARGET, climb, load_images
    from mlpx.errors import DataError

    try:
        arrays = load_images()
    except DataError as error:
        return {"reason": f"MNIST is not here: {error}", "climbs": []}
    sizes = options.batch_sizes or wanted[0].batch_sizes
    climbs = [climb(size, arrays, budget_s=options.accuracy_s).to_json() for size in sizes]
    return {"reason": None, "target": TARGET, "climbs": climbs}


class Bench:
    """The processes of one workload and device, through all phases, dtypes and batch sizes."""

    def __init__(
        self, tasks: list[Task], kinds: list[type[Contender]], rules: Rules, watcher: Watcher
    ) -> None:
        self.rules, self.watcher = rules, watcher
        self.versions: dict[str, str] = {}
        self.kinds = [kind for kind in kinds if kind.runs_on(tasks[0].device)]
        self.processes: dict[str, Process] = {}
        self.scratch = tempfile.TemporaryDirectory(prefix="mlpx-bench-")

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.close()
        self.scratch.cleanup()

    def cell(self, task: Task) -> dict[str, Any]:
        """Build and check every contender, let them take turns, and write down what came out."""
        started_s = time.perf_counter()
        record = cell_record(task)
        unasked = others_than(task.phase, self.kinds)
        self.watcher.cell(task, [kind.name() for kind in self.kinds if kind not in unasked])
        judge = Judge(task, make_problem(task))
        seats: list[Seat] = []
        for kind in self.kinds:
            result = self._admit(kind, task, judge, seats)
            record["results"].append(result)
            if result["status"] != "ok" and kind not in unasked:
                self.watcher.says(task, kind.name(), f"{result['status']}: {result['reason']}")
        del judge
        ready_s = time.perf_counter()
        threads, gauge = None if task.on_gpu else task.threads, self._gauge(task)
        table = Table(seats, threads=threads, rules=self.rules, gauge=gauge)
        table.measure(lambda seats, peak: self.watcher.rounds(task, seats, peak))
        self._write(record, seats, task)
        record["foreign_share"] = max(table.foreign, default=None)
        record["machine"] = machine_record(gauge)
        record["preparing_s"] = ready_s - started_s
        record["measuring_s"] = time.perf_counter() - ready_s
        return record

    def _gauge(self, task: Task) -> Gauge | None:
        """What measures the machine beside this task; None where nothing here can: on a GPU, for
        rounded factors, or without the native library.
        """
        if task.on_gpu or task.precision != "float32":
            return None
        process = self._process("machine", task, {})
        gauge = Gauge(process, task.dtype, task.workload.flops(task.batch_size, task.phase))
        try:
            first = gauge.measure(task.threads, seconds=self.rules.round_s)
            return None if "refused" in first else gauge
        except ContenderError:
            self._drop("machine")
            return None

    def _write(self, record: dict[str, Any], seats: list[Seat], task: Task) -> None:
        by_name = {seat.name: seat for seat in seats}
        for result in record["results"]:
            seat = by_name.get(result["contender"])
            if seat is not None:
                memory = {} if seat.error else self._ask(seat, "memory")
                result_record(result, seat, task, memory)

    def _ask(self, seat: Seat, do: str) -> dict[str, Any]:
        try:
            return seat.process.ask(do)
        except ContenderError as error:
            seat.error = str(error)
            return {}

    def _admit(
        self, kind: type[Contender], task: Task, judge: Judge, seats: list[Seat]
    ) -> dict[str, Any]:
        """Build, check and warm up one contender; it takes a seat if all is well."""
        reason = kind.refuses(task)
        if reason:
            return refusal(kind, "absent" if "not installed" in reason else "unsupported", reason)
        self.watcher.says(task, kind.name(), "building")
        try:
            process = self._process(kind.name(), task, kind.environment)
            built = process.ask("build", task=task.to_json(), contender=kind.name())
            if "refused" in built:
                return refusal(kind, "unsupported", built["refused"])
            verdict = None if kind.library == "gemm" else self._check(process, kind, judge)
            if verdict is not None and verdict.reason:
                return refusal(kind, "wrong", verdict.reason, verdict)
            warm = process.ask("warm", seconds=self.rules.warm_s, round_s=self.rules.round_s)
        except ContenderError as error:
            self._drop(kind.name())
            return refusal(kind, "failed", str(error))
        process.settle()
        self.versions |= built["versions"]
        overhead_s = built["facts"].get("call_overhead_s", 0.0)
        seat = Seat(kind.name(), process, warm["steps"], overhead_s)
        seat.compile_s = warm["compile_s"] if kind.compiles else None
        seats.append(seat)
        return refusal(kind, "ok", None, verdict)

    def _process(self, name: str, task: Task, environment: dict[str, str]) -> Process:
        if name not in self.processes:
            self.processes[name] = Process(
                name,
                threads=task.host_threads,
                pinned=not task.on_gpu,
                environment={**device_environment(task.device), **environment},
            )
        return self.processes[name]

    def _drop(self, name: str) -> None:
        """End a process that failed; the next cell starts a fresh one."""
        self.processes.pop(name).close()

    def _check(self, process: Process, kind: type[Contender], judge: Judge) -> Verdict:
        file = Path(self.scratch.name) / "outcome.npz"
        process.ask("check", file=str(file))
        with np.load(file) as arrays:
            outcome: Arrays = [arrays[f"a{i}"] for i in range(len(arrays.files))]
        return judge.verdict(outcome, epsilon=kind.epsilon)
