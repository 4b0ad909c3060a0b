"""The training state: what resuming exactly needs besides the parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mlpx.backend import Backend
from mlpx.optimizers import Optimizer
from mlpx.types import Array


@dataclass
class TrainingState:
    """What a model needs besides its parameters to resume training exactly where it stopped."""

    optimizer: Optimizer
    moments: dict[str, Array]
    step: int = 0
    epoch: int = 0
    position: int = 0
    """How many steps of the epoch are done; 0 between epochs."""
    pace: tuple[str, int, int] = ("", 0, 0)
    """The sampling, rows of data and batch size that `position` was counted with."""
    begin: int = 0
    """The step at which the `total` steps begin that open schedules span."""
    total: int = 0
    schedule: dict[str, float] = field(default_factory=dict)
    """The state of a schedule that acts between epochs; "scale" multiplies all rates."""
    drawn: int = 0
    """Steps over all fits, with any optimizer: where the random masks continue."""

    def copied(self, convert: Callable[[Array], Array]) -> TrainingState:
        """A copy with each moment converted."""
        moments = {name: convert(moment) for name, moment in self.moments.items()}
        return replace(self, moments=moments)

    def move(self, source: Backend, target: Backend) -> None:
        """Move the moments to another device."""
        self.moments = {
            name: target.asarray(source.to_numpy(moment)) for name, moment in self.moments.items()
        }
