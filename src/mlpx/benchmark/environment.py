"""Where the figures were made: machine, processor, GPU, BLAS, versions, commit, threads."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlpx.backend import BACKENDS, diagnose, get_backend
from mlpx.backend.cpu import CpuBackend, cpu_model, usable_cores
from mlpx.benchmark.processes import thread_environment
from mlpx.errors import MlpxError

RECORDED = ("numpy", "mlpx", "threadpoolctl", "cupy-cuda12x", "cupy-cuda13x", "cupy")
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")


def describe(threads: int) -> dict[str, Any]:
    """Everything known about this machine and installation, as JSON values."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {
            "system": f"{platform.system()} {platform.release()}",
            "architecture": platform.machine(),
            "memory_bytes": CpuBackend().memory().total_bytes,
        },
        "cpu": {
            "model": cpu_model(),
            "processors": os.cpu_count(),
            "usable": usable_cores(),
            "governor": _read(GOVERNOR),
        },
        "gpu": _gpu(),
        "blas": blas(),
        "python": sys.version.split()[0],
        "versions": {name: installed for name in RECORDED if (installed := _version(name))},
        "commit": commit(),
        "threads": threads,
        "thread_variables": thread_environment(threads),
    }


def blas() -> list[dict[str, Any]]:
    """The BLAS libraries loaded into this process; from NumPy's build if threadpoolctl is
    absent.
    """
    import numpy as np

    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        config: Any = np.show_config(mode="dicts")
        built_with = config.get("Build Dependencies", {}).get("blas", {})
        return [{"name": built_with.get("name", "unknown"), "version": built_with.get("version")}]
    return [
        {
            "name": pool["internal_api"],
            "version": pool["version"],
            "architecture": pool.get("architecture"),
            "threading": pool.get("threading_layer"),
        }
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]


def _gpu() -> dict[str, Any]:
    diagnosis = diagnose()
    facts: dict[str, Any] = {
        "status": diagnosis.status,
        "message": diagnosis.message,
        "devices": [],
    }
    if diagnosis.ok:
        backend: Any = get_backend("cuda")
        runtime = backend.xp.cuda.runtime
        facts["driver_cuda"] = runtime.driverGetVersion()
        facts["runtime_cuda"] = runtime.runtimeGetVersion()
        facts["driver"] = _nvidia_driver()
        facts["devices"] = [get_backend(f"cuda:{i}").name for i in range(runtime.getDeviceCount())]
    return facts


def _nvidia_driver() -> str | None:
    return _output(["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"])


def devices_here() -> list[str]:
    """The kinds of device that can be used here."""
    devices = []
    for kind in BACKENDS:
        try:
            get_backend(kind)
        except MlpxError:
            continue
        devices.append(kind)
    return devices


def commit() -> dict[str, Any] | None:
    """The commit of the checkout mlpx was imported from, None if it was installed otherwise."""
    here = Path(__file__).resolve().parent
    if not any((parent / ".git").exists() for parent in here.parents):
        return None
    head = _output(["git", "-C", str(here), "rev-parse", "HEAD"])
    changed = _output(["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"])
    return None if head is None else {"hash": head, "modified": bool(changed)}


def _output(command: list[str]) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
