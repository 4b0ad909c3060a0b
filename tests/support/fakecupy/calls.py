"""Calling NumPy on the memory of fake arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .array import ndarray, wrap
from .state import machine, worked


def unwrapped(value: Any, seen: list[ndarray]) -> Any:
    """``value`` with its fake arrays replaced by their memory, noted in ``seen``."""
    if isinstance(value, ndarray):
        seen.append(value)
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array was given where device arrays are wanted")
    if isinstance(value, (list, tuple)):
        return type(value)(unwrapped(part, seen) for part in value)
    return value


def checked_device(arrays: list[ndarray]) -> None:
    """Refuse arrays of another device than the current one."""
    for array in arrays:
        if array.device.id != machine.current:
            raise ValueError(
                f"an array of device {array.device.id}, while the current one is {machine.current}"
            )


def run(implementation: Callable[..., Any], args: Any, kwargs: dict[str, Any]) -> Any:
    """Call a NumPy function on the memory of fake arrays."""
    seen: list[ndarray] = []
    out = kwargs.get("out")
    if out is not None and not isinstance(out, ndarray):
        raise TypeError(f"out is a {type(out).__name__}; wanted a device array")
    host_args = [unwrapped(arg, seen) for arg in args]
    host_kwargs = {key: unwrapped(value, seen) for key, value in kwargs.items()}
    checked_device(seen)
    worked()
    with np.errstate(all="ignore"):
        result = implementation(*host_args, **host_kwargs)
    return out if out is not None else rewrapped(result, seen)


def rewrapped(result: Any, inputs: list[ndarray]) -> Any:
    if isinstance(result, (list, tuple)):
        return type(result)(rewrapped(part, inputs) for part in result)
    if isinstance(result, (np.ndarray, np.generic)):
        return wrap(result, inputs)
    return result


def require_array(name: str, args: list[Any]) -> None:
    seen: list[ndarray] = []
    unwrapped(args, seen)
    if not seen:
        raise TypeError(f"cupy.{name} wants a cupy.ndarray, got {[type(arg) for arg in args]}")
