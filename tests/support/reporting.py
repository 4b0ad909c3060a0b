"""A small document of a benchmark: what its report is made of."""

from __future__ import annotations

import pytest

from mlpx.benchmark.machine import RATES
from mlpx.benchmark.report import document as documents
from mlpx.benchmark.statistics import summarise

SIZES = (1, 32, 512)


def result(name, step_s, width=0.01, **more):
    values = [step_s * (1 + width * side) for side in (-1, -0.5, 0, 0, 0.5, 1)]
    return {
        "contender": name, "status": "ok", "reason": None, "check": None,
        "step_s": {**summarise(values).to_json(), "all": values}, "device_step_s": None,
        "rejected_rounds": {"busy": 0, "above_peak": 0}, "peak_host_bytes": 50 * 2**20,
        "peak_device_bytes": None, "compile_s": None, **more,
    }  # fmt: skip


def cell(size, device, *results):
    for one in results:
        if one["status"] == "ok":
            one["samples_per_s"] = size / one["step_s"]["median"]
            one["gflops"] = 2e-4 * one["samples_per_s"]
    return {
        "workload": "mnist", "layers": [784, 50, 10], "activation": "sigmoid", "optimizer": "sgd",
        "phase": "train", "dtype": "float32", "threads": 2, "device": device, "batch_size": size,
        "machine": None if device == "cuda" else machine(), "results": list(results),
    }  # fmt: skip


def machine(fma=400.0, alone=200.0):
    """The ceilings of a machine in one cell."""
    figures = (fma, alone, 40e9, 30e9, 300e9)
    rates = {name: summarise([figure] * 6) for name, figure in zip(RATES, figures, strict=True)}
    rates = {name: found.to_json() for name, found in rates.items()}
    return {"isa": "avx512", "disturbed_rounds": 0, **rates}


@pytest.fixture
def document():
    """Ours on a CPU and a GPU that overtakes it between 32 and 512, beside one peer."""
    cells = []
    for size in SIZES:
        cpu, gpu = 1e-6 * (5 + size), 1e-6 * (50 + size / 100)
        cells += [
            cell(
                size,
                "cpu",
                result("gemm/numpy", cpu / 2),
                result("mlpx/x", cpu),
                result("torch/eager", 3 * cpu),
                {
                    "contender": "jax/jit",
                    "status": "wrong",
                    "reason": "loss <differs>",
                    "check": None,
                },
            ),
            cell(size, "cuda", result("mlpx/x", gpu, peak_device_bytes=2**30)),
        ]
    contenders = {
        name: {"note": f"about {name}", "floors": ["gemm/numpy"]}
        for name in ("gemm/numpy", "mlpx/x", "torch/eager", "jax/jit")
    }
    climbs = [
        {"batch_size": n, "learning_rate": 0.1, "steps": s, "steps_taken": 900, "accuracy": 0.95}
        for n, s in ((1, 4000), (32, 1000), (512, None))
    ]
    environment = {
        "date": "2026-01-01T00:00:00+00:00", "machine": {"system": "Linux", "architecture": "x"},
        "cpu": {"model": "A <CPU>", "usable": 2}, "gpu": {"devices": ["A GPU"]}, "threads": 2,
        "blas": [{"name": "openblas", "version": "0.3"}], "python": "3.12.0",
        "versions": {"numpy": "2.4"}, "commit": {"hash": "a" * 40, "modified": False},
    }  # fmt: skip
    rules = {"foreign_share": 0.05, "accept_noise": False}
    return documents.finish({
        "schema": documents.SCHEMA, "command": ["mlpx", "bench"], "environment": environment,
        "settings": {"rules": rules}, "contenders": contenders, "versions": {"torch": "2.13.0"},
        "load": {"idle_before": 0.01, "idle_after": None}, "cells": cells,
        "accuracy": {"reason": None, "target": 0.95, "climbs": climbs},
    })  # fmt: skip
