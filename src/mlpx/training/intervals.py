"""How much lies between two checkpoints, as a user says it."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from mlpx.errors import InputError, InputTypeError
from mlpx.records import require_count
from mlpx.untrusted import brief

UNITS = {
    **dict.fromkeys(("s", "sec", "second"), 1.0),
    **dict.fromkeys(("min", "minute"), 60.0),
    **dict.fromkeys(("h", "hour"), 3600.0),
}
"""Seconds. All but single letters have a plural."""


@dataclass(frozen=True)
class Interval:
    """How much lies between two checkpoints: steps, epochs or seconds; none if all are None."""

    steps: int | None = None
    epochs: int | None = None
    seconds: float | None = None

    @classmethod
    def parse(cls, every: object) -> Interval:
        """From a number of steps, or text: "500 steps", "2 epochs", "30s", "5 min", "1h"; or None.

        Raises InputError or InputTypeError.
        """
        wanted = "wanted a number of steps, or text such as '30s', '5 min', '2 epochs', '500 steps'"
        if every is None:
            return cls()
        if isinstance(every, int | np.integer) and not isinstance(every, bool):
            require_count("every", every)
            return cls(steps=int(every))
        if not isinstance(every, str):
            raise InputTypeError(f"every = {every!r} is a {type(every).__name__}; {wanted}")
        found = re.fullmatch(r"\s*(\d+(?:\.\d*)?)?\s*([a-z]*)\s*", every.lower())
        number, unit = found.groups() if found else (None, "")
        unit = unit.removesuffix("s") if len(unit) > 2 else unit
        amount = float(number) if number else 1.0
        seconds = amount * UNITS.get(unit, 1.0)
        if not (number or unit in ("epoch", "step")) or not 0 < seconds < math.inf:
            unit = "?"
        if unit in UNITS:
            return cls(seconds=seconds)
        if unit in ("step", "epoch", "") and amount.is_integer():
            return cls(epochs=int(amount)) if unit == "epoch" else cls(steps=int(amount))
        raise InputError(f"every = {brief(repr(every))}; {wanted}")
