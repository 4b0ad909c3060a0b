"""What the machine is: GPU, driver, libraries, tools, processor, and which engines answer."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import mlpx
from gpu.faults import said
from gpu.section import Row, Setup
from mlpx.backend import diagnose
from mlpx.engines import PREFERENCE, Engine
from mlpx.engines.cuda import cublaslt

PACKAGES = ("numpy", "cupy-cuda13x", "cupy-cuda12x", "torch", "jax", "jaxlib", "scikit-learn")
TOOLS = ("git", "nvcc", "compute-sanitizer", "ncu", "nvidia-smi")
WANTED = (
    "multiProcessorCount", "clockRate", "memoryClockRate", "memoryBusWidth", "l2CacheSize",
    "sharedMemPerBlockOptin", "totalGlobalMem", "major", "minor",
)  # fmt: skip


def run(setup: Setup) -> Iterator[Row]:
    found = diagnose()
    yield {
        "what": "diagnosis",
        "passed": found.ok,
        "why": f"{found.message} {found.remedy}".strip(),
    }
    try:
        yield {"what": "device"} | device(setup.device)
    except Exception as error:
        yield {"what": "device", "passed": False, "why": said(error)}
    yield {"what": "machine"} | machine()
    for name, engine in Engine.table.items():
        missing = engine().missing()
        yield {"what": "engine", "engine": name, "missing": missing} | (
            {} if missing else {"is": engine().describe()}
        )
    yield {"what": "engine of the CPU", "engine": cpu_engine()}


def cpu_engine() -> str:
    """What stands for the CPU in every comparison: the native engine has to be built."""
    return next(each for each in PREFERENCE if "cpu" in each.devices and not each().missing()).name


def machine() -> Row:
    """The host's processor, packages and tools."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = None
    return {
        "cpu": mlpx.get_backend("cpu").name,
        "cpu_count": os.cpu_count(),
        "python": platform.python_version(),
        "mlpx": getattr(mlpx, "__version__", None),
        "packages": versions,
        "tools": {name: shutil.which(name) is not None for name in TOOLS},
    }


def device(name: str) -> Row:
    """The GPU as CUDA describes it, and cublasLt's version."""
    backend: Any = mlpx.get_backend(name)
    runtime = backend.xp.cuda.runtime
    properties = runtime.getDeviceProperties(backend.index)
    found: Row = {
        "gpu": backend.name,
        "cupy": backend.xp.__version__,
        "driver": runtime.driverGetVersion(),
        "runtime": runtime.runtimeGetVersion(),
        "properties": {key: properties[key] for key in WANTED if key in properties},
    }
    try:
        library = cublaslt.find(backend.xp)
        library.cublasLtGetVersion.restype = ctypes.c_size_t
        found["cublaslt"] = library.cublasLtGetVersion()
    except Exception as error:
        found["cublaslt"] = None
        found["why"] = said(error)
    return found
