"""The schedule that watches the history."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from mlpx.errors import InputTypeError
from mlpx.records import require, require_count, require_one_of
from mlpx.schedules.base import Schedule, Steps


@dataclass(frozen=True)
class ReduceOnPlateau(Schedule, name="reduce_on_plateau"):
    """rate, multiplied by `factor` whenever `monitor` has not improved for more than `patience`
    epochs.

    `monitor` is a column of the history, such as "loss" or "val_loss"; with mode="max" higher is
    better. Only a change by more than `min_change` is an improvement. After a reduction, `cooldown`
    epochs are not counted. The rate never falls below `least` times the first one. It acts between
    epochs, on the whole table of the next one; as a part of another schedule it scales that
    schedule's rate.
    """

    rate: float = 1e-3
    monitor: str = "loss"
    factor: float = 0.1
    patience: int = 10
    min_change: float = 1e-4
    cooldown: int = 0
    least: float = 0.0
    mode: str = "min"

    def __post_init__(self) -> None:
        require("rate", self.rate, least=0)
        require("factor", self.factor, above=0, below=1)
        require_count("patience", self.patience, least=0)
        require("min_change", self.min_change, least=0)
        require_count("cooldown", self.cooldown, least=0)
        require("least", self.least, least=0, most=1)
        require_one_of("mode", self.mode, ("min", "max"))
        if not isinstance(self.monitor, str):
            raise InputTypeError(
                f"monitor = {self.monitor!r} is a {type(self.monitor).__name__}; it must be the "
                "name of a column of the history, such as 'val_loss'"
            )

    def rates(self, t: Steps) -> Steps:
        return np.full_like(t, self.rate)

    def watched(self) -> tuple[str, ...]:
        return (self.monitor,)

    def after_epoch(self, state: dict[str, float], logs: dict[str, float]) -> dict[str, float]:
        value = logs[self.monitor] * (1.0 if self.mode == "min" else -1.0)
        scale, best = state.get("scale", 1.0), state.get("best", math.inf)
        waited, cooling = state.get("waited", 0.0), state.get("cooling", 0.0)
        if value < best - self.min_change:  # NaN is never better
            best, waited = value, 0.0
        else:
            waited += 1
        if cooling > 0:
            cooling, waited = cooling - 1, 0.0
        if waited > self.patience:
            scale = min(scale, max(scale * self.factor, self.least))
            waited, cooling = 0.0, float(self.cooldown)
        return {"scale": scale, "best": best, "waited": waited, "cooling": cooling}
