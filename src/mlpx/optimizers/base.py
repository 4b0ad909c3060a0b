"""What every optimizer is: a record of hyperparameters and one rule over flat arrays.

What depends on the step alone (learning rate, bias corrections) is computed in float64 on the host for all
steps of an epoch at once, by `scalars`, and read by each step from a table on the device. So schedules are
ordinary functions, every device and engine uses the same numbers, and `update` is elementwise.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from mlpx.records import Record, require
from mlpx.types import Array, Namespace

Steps = NDArray[np.float64]


class Optimizer(Record, kind="optimizer"):
    """A rule that moves the flat parameter vector along its gradient."""

    moments: ClassVar[tuple[str, ...]] = ()
    """Names of the flat arrays of state, each as long as the parameters and zero at the start."""
    scratch: ClassVar[int] = 1
    """How many arrays of scratch `update` needs."""

    learning_rate: float

    def __post_init__(self) -> None:
        require("learning_rate", self.learning_rate, least=0)

    @property
    def columns(self) -> int:
        """How many per-step numbers the rule reads."""
        return len(self.scalars(np.ones(1), np.ones(1)))

    def rates(self, t: Steps) -> Steps:
        """The learning rate of each of the steps `t` = 1, 2, ..."""
        return np.full_like(t, self.learning_rate)

    def scalars(self, t: Steps, rate: Steps) -> tuple[Steps, ...]:
        """Columns of per-step numbers for steps `t` = 1, 2, ... at learning rates `rate`, float64 (steps,)."""
        return (rate,)

    def update(
        self,
        xp: Namespace,
        p: Array,
        g: Array,
        *,
        moments: tuple[Array, ...],
        scalars: tuple[Array, ...],
        work: tuple[Array, ...],
    ) -> None:
        """One step on p given its gradient g, in place; moments and work have p's shape.

        scalars are this step's row of `scalars()`, each of shape (1,). g is not overwritten: the padding
        between parameters has a gradient of zero that no backward pass would restore.
        """
        raise NotImplementedError
