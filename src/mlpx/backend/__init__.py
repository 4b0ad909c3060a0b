"""Devices: ``get_backend("cpu")``, ``get_backend("cuda:1")``, and the table they come from.

The one place, besides the CUDA engine, that names CuPy; it is imported only when a CUDA device
is asked for.
"""

from __future__ import annotations

import os
import re
from typing import Any, NamedTuple

from mlpx.backend.base import Backend, Memory
from mlpx.backend.cpu import CpuBackend
from mlpx.backend.cuda import CudaBackend
from mlpx.backend.diagnosis import Diagnosis, diagnose
from mlpx.errors import InputTypeError, UnknownNameError

__all__ = [
    "BACKENDS",
    "Backend",
    "Choice",
    "CpuBackend",
    "CudaBackend",
    "Diagnosis",
    "Memory",
    "array_backend",
    "choose_device",
    "diagnose",
    "get_backend",
    "leaves_choice",
]

BACKENDS: dict[str, type[Backend]] = {"cpu": CpuBackend, "cuda": CudaBackend}
"""Every kind of device: adding one is a subclass of Backend and a line here."""

_NAME = re.compile(r"([a-z]+)(?::([0-9]+))?")
_MEANT_CUDA = frozenset({"gpu", "nvidia", "cupy", "cuda0"})
_opened: dict[str, Backend] = {}


class Choice(NamedTuple):
    """What ``"auto"`` means on this machine, and why."""

    device: str
    reason: str


def get_backend(device: str | Backend | None = None) -> Backend:
    """The backend of a device; the same object for the same device.

    ``device``: ``"cpu"``, ``"cuda"`` (the first CUDA device), ``"cuda:1"``, ``"auto"`` (CUDA if
    a usable device answers, else the CPU; :func:`choose_device` says why), a Backend, or None:
    the environment variable ``MLPX_DEVICE``, and ``"cpu"`` if that is not set.

    Raises:
        UnknownNameError: no such kind of device; suggests one.
        DeviceError: the device is not there or not usable; says why and what to do.
        InputTypeError: ``device`` is not a string.
    """
    if isinstance(device, Backend):
        return device
    asked, called = _asked(device)
    if asked in _opened:
        return _here(_opened[asked])
    kind, index = _parse(asked, called)
    name = f"{kind}:{index}" if kind != "cpu" else kind
    if name not in _opened:
        _opened[name] = BACKENDS[kind].open(index)
    return _here(_opened[name])


def _here(backend: Backend) -> Backend:
    """The backend, if it works in this process."""
    backend.check_process()
    return backend


Backend.by_name = staticmethod(get_backend)


def array_backend(x: Any) -> Backend:
    """The backend of the device that holds ``x``; lists and the like are on the CPU.

    Raises:
        InputTypeError: ``x`` is not an array, tensor or list.
    """
    for kind in BACKENDS.values():
        device = kind.owner(x)
        if device is not None:
            return get_backend(device)
    raise InputTypeError(
        f"{type(x).__name__} is not an array; wanted NumPy, CuPy, a DLPack tensor, "
        "__cuda_array_interface__, __array__ or a list of numbers"
    )


def choose_device() -> Choice:
    """The device that ``"auto"`` takes here: the first CUDA device if it is usable."""
    diagnosis = diagnose()
    if diagnosis.ok:
        return Choice("cuda:0", diagnosis.message)
    return Choice("cpu", f"{diagnosis.message}; {diagnosis.remedy}")


def leaves_choice(device: str | Backend | None) -> bool:
    """Whether ``device`` asks for ``"auto"``."""
    return not isinstance(device, Backend) and _asked(device)[0].strip().lower() == "auto"


def _asked(device: object) -> tuple[str, str]:
    """(device name, what to call it in a message)."""
    if device is None:
        asked = os.environ.get("MLPX_DEVICE")
        return (asked, "device (set by MLPX_DEVICE)") if asked else ("cpu", "device")
    if not isinstance(device, str):
        raise InputTypeError(
            f"device is a {type(device).__name__}; wanted a string such as 'cpu' or 'cuda:0'"
        )
    return device, "device"


def _parse(name: str, called: str) -> tuple[str, int]:
    text = name.strip().lower()
    if text == "auto":
        text = choose_device().device
    match = _NAME.fullmatch(text)
    if match is None or match[1] not in BACKENDS or (match[1] == "cpu" and match[2]):
        raise _unknown(name, called)
    return match[1], int(match[2] or 0)


def _unknown(name: str, called: str) -> UnknownNameError:
    known = ["auto", "cuda:1", *BACKENDS]
    error = UnknownNameError(called, name, known)
    if name.strip().lower().partition(":")[0] in _MEANT_CUDA:
        error.args = (  # by spelling "gpu" is nearer to "cpu" than to what was meant
            f"{name!r} is not a known {called}; did you mean 'cuda'? known: "
            f"{', '.join(sorted(known))}",
        )
    return error
