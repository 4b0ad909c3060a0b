"""The records of a cell and of a contender's result in it."""

from __future__ import annotations

from typing import Any

from mlpx.benchmark.check import Verdict
from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.machine import RATES
from mlpx.benchmark.rounds import LEAST_KEPT, Gauge, Seat
from mlpx.benchmark.statistics import summarise
from mlpx.benchmark.workloads import Task


def cell_record(task: Task) -> dict[str, Any]:
    """What is measured in one cell."""
    workload = task.workload
    return {
        "workload": workload.name,
        "layers": list(workload.layers),
        "activation": workload.activation,
        "optimizer": workload.optimizer,
        "phase": task.phase,
        "device": task.device,
        "dtype": task.arithmetic,
        "threads": task.threads,
        "batch_size": task.batch_size,
        "flops": workload.flops(task.batch_size, task.phase),
        "parameters": workload.parameter_count,
        "results": [],
    }


def refusal(
    kind: type[Contender], status: str, reason: str | None, verdict: Verdict | None = None
) -> dict[str, Any]:
    """A result without figures (yet): status "ok", "wrong", "absent", "failed" or "unsupported"."""
    return {
        "contender": kind.name(),
        "status": status,
        "reason": reason,
        "check": None if verdict is None else verdict.to_json(),
    }


def result_record(result: dict[str, Any], seat: Seat, task: Task, memory: dict[str, Any]) -> None:
    """Add a seat's figures to its result, or why there are none."""
    result["rejected_rounds"] = {"busy": seat.busy, "above_peak": seat.above_peak}
    result["disturbed_rounds"] = seat.disturbed
    result["steps_a_round"] = seat.steps
    result["compile_s"] = seat.compile_s
    if seat.error:
        result.update(status="failed", reason=seat.error)
        return
    if len(seat.step_s) < LEAST_KEPT:
        result.update(status="rejected", reason=_why_rejected(seat))
        return
    steps = summarise(seat.step_s)
    result["step_s"] = {**steps.to_json(), "all": seat.step_s}
    result["device_step_s"] = (
        {**summarise(seat.device_step_s).to_json(), "all": seat.device_step_s}
        if seat.device_step_s
        else None
    )
    result["steps_per_s"] = 1 / steps.median
    result["samples_per_s"] = task.batch_size / steps.median
    result["gflops"] = task.workload.flops(task.batch_size, task.phase) / steps.median / 1e9
    result["processors_used"] = summarise(seat.cpu_share).median
    result["peak_host_bytes"] = memory.get("peak_host_bytes")
    result["host_growth_bytes"] = _growth(memory)
    result["peak_device_bytes"] = memory.get("peak_device_bytes")


def machine_record(gauge: Gauge | None) -> dict[str, Any] | None:
    """The machine's ceilings over all rounds, and its instruction set; None if there are none."""
    if gauge is None or not gauge.rates:
        return None
    found = {name: [rates[name] for rates in gauge.rates] for name in RATES}
    return {
        "isa": gauge.isa,
        "disturbed_rounds": gauge.disturbed,
        **{name: {**summarise(all_).to_json(), "all": all_} for name, all_ in found.items()},
    }


def _why_rejected(seat: Seat) -> str:
    reasons = []
    if seat.busy:
        reasons.append(f"other processes took the processors in {seat.busy} rounds")
    if seat.above_peak:
        reasons.append(f"{seat.above_peak} rounds were faster than this machine can multiply")
    return "; ".join(reasons) or "too few rounds"


def _growth(memory: dict[str, Any]) -> int | None:
    peak, before = memory.get("peak_host_bytes"), memory.get("before_bytes")
    return None if peak is None or before is None else max(0, peak - before)
