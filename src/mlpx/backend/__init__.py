"""Devices: ``get_backend("cpu")``, ``get_backend("cuda:1")``, and the table they come from.

The one place, besides the CUDA engine, that names CuPy; it is imported when a CUDA device
is asked for, never before.
"""

from __future__ import annotations

import os
from typing import Any

from mlpx.backend.base import Backend, Memory
from mlpx.backend.cpu import CpuBackend
from mlpx.errors import InputTypeError, UnknownNameError

__all__ = ["BACKENDS", "Backend", "CpuBackend", "Memory", "array_backend", "get_backend"]

BACKENDS: dict[str, type[Backend]] = {"cpu": CpuBackend}

_open: dict[str, Backend] = {}


def get_backend(device: str | Backend | None = None) -> Backend:
    """The backend of a device; the same object for the same device."""
    if isinstance(device, Backend):
        return device
    name = device or os.environ.get("MLPX_DEVICE") or "cpu"
    if name == "auto":
        name = "cpu"
    if name not in BACKENDS:
        raise UnknownNameError("device", name, [*BACKENDS, "auto"])
    return _open.setdefault(name, BACKENDS[name]())


def array_backend(x: Any) -> Backend:
    """The backend of the device that holds ``x``."""
    for kind in BACKENDS.values():
        device = kind.owner(x)
        if device is not None:
            return get_backend(device)
    raise InputTypeError(f"{type(x).__name__} is not an array")
