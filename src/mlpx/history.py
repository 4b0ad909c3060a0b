"""What happened in a call of `fit`."""

from __future__ import annotations

import json
import math
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mlpx.atomic import replace_file


@dataclass
class History:
    """The record of one training run.

    `epochs` holds a dict for each epoch (loss, metrics, val_...); `history["loss"]` is a column of
    it. `step_loss` (steps,) is the loss of every step, before its update.
    """

    engine: str = ""
    engine_reason: str = ""
    device: str = ""
    first_epoch: int = 0
    """How many epochs the model had been trained before."""
    epochs: list[dict[str, float]] = field(default_factory=list)
    step_loss: np.ndarray = field(default_factory=lambda: np.zeros(0))
    gradient_norms: dict[str, np.ndarray] = field(default_factory=dict)
    """Parameter to the norm of its gradient in each step; see `fit(record_gradient_norms=True)`."""
    seconds: float = 0.0
    samples: int = 0
    """How many rows were trained on, epochs multiplied in."""
    stop_reason: str = "completed"
    notes: list[str] = field(default_factory=list)
    """What was done differently from what was asked, and why."""

    def __getitem__(self, name: str) -> list[float]:
        """The values of one column, an epoch each; KeyError names the columns there are."""
        if self.epochs and name not in self.epochs[0]:
            raise KeyError(f"{name!r}; this history has {sorted(self.epochs[0])}")
        return [epoch[name] for epoch in self.epochs]

    def __contains__(self, name: object) -> bool:
        return bool(self.epochs) and name in self.epochs[0]

    def __len__(self) -> int:
        return len(self.epochs)

    @property
    def samples_per_s(self) -> float:
        """Rows trained on in a second, everything counted."""
        return self.samples / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything but the steps' losses, as plain JSON values."""
        return {
            "engine": self.engine,
            "engine_reason": self.engine_reason,
            "device": self.device,
            "first_epoch": self.first_epoch,
            "epochs": self.epochs,
            "steps": len(self.step_loss),
            "seconds": self.seconds,
            "samples": self.samples,
            "stop_reason": self.stop_reason,
            "notes": self.notes,
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write `to_dict`, and the steps' losses, to a JSON file, whole or not at all.

        NaN and infinity, which JSON has not, become null. Raises OSError.
        """
        content = finite({**self.to_dict(), "step_loss": self.step_loss.tolist()})
        replace_file(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode())


def finite(value: Any) -> Any:
    """`value`, plain JSON data, with None for every float that is not finite."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
