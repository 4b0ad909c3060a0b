"""What a call shows to its caller, in a form in which two calls can be compared bit for bit."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from mlpx import History
from mlpx.errors import MlpxError


class BoomError(Exception):
    """What a callback of a test raises."""


EXPECTED = (MlpxError, BoomError, KeyboardInterrupt)
"""What may come out of a call; anything else fails the test."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """Everything that can be seen of a call."""

    value: Any
    error: str | None
    said: tuple[tuple[str, str], ...]


def shown(call: Callable[[], Any], *also: type[Exception]) -> Shown:
    """What `call` returns, raises and warns of; `also` what it may raise besides `EXPECTED`."""
    value, error = None, None
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            value = frozen(call())
        except (*EXPECTED, *also) as caught:
            error = f"{type(caught).__name__}: {caught}"
    heard = tuple((w.category.__name__, str(w.message)) for w in said)
    return Shown(value, error, heard)


def frozen(value: Any) -> Any:
    """`value` as something that == compares bit for bit, NaN too."""
    if isinstance(value, History):
        told = {**value.to_dict(), "seconds": None}
        return frozen([told, value.step_loss, value.gradient_norms])
    if hasattr(value, "get") and hasattr(value, "dtype"):  # an array of CuPy
        value = value.get()
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {key: frozen(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [frozen(item) for item in value]
    return repr(value) if isinstance(value, float | np.floating) else value
