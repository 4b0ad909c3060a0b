"""The records of a cell and of a contender's result in it."""

from __future__ import annotations

from typing import Any

from mlpx.benchmark.check import Verdict
from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.rounds import Seat
from mlpx.benchmark.statistics import summarise
from mlpx.benchmark.workloads import Task

LEAST_KEPT = 3
"""Fewer rounds than this and there is no figure."""


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
    result["rejected_rounds"] = {"busy": seat.busy, "below_floor": seat.below_floor}
    result["disturbed_rounds"] = seat.disturbed
    result["steps_a_round"] = seat.steps
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


def _why_rejected(seat: Seat) -> str:
    reasons = []
    if seat.busy:
        reasons.append(f"other processes took the processors in {seat.busy} rounds")
    if seat.below_floor:
        reasons.append(f"{seat.below_floor} rounds were faster than their matrix products alone")
    return "; ".join(reasons) or "too few rounds"


def _growth(memory: dict[str, Any]) -> int | None:
    peak, before = memory.get("peak_host_bytes"), memory.get("before_bytes")
    return None if peak is None or before is None else max(0, peak - before)
