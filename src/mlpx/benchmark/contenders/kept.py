"""`fit` that keeps checkpoints, far more of them than anyone wants: what one costs shows beside
`fit` without.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

from mlpx.benchmark.contenders.ours import Fitted
from mlpx.benchmark.workloads import Problem, Task
from mlpx.training.checkpoints import Checkpoints
from mlpx.training.run import Run


class Kept(Fitted):
    """`model.fit` with a checkpoint in each epoch."""

    note = "model.fit with a checkpoint in the middle of each epoch"
    train = None  # type: ignore[assignment]

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.chunk = task.steps_per_epoch
        self.folder = ""

    def checkpoint(self, steps: int) -> None:
        """One call of fit."""
        with TemporaryDirectory() as self.folder:
            super().train(steps)

    def options(self) -> dict[str, Any]:
        every = max(1, self.chunk // 2)
        return {"checkpoint": InTheMiddle(self.folder, every=every, keep=1)}


class InTheMiddle(Checkpoints):
    """Writes none at the begin, when an epoch ends, and at the end."""

    def on_train_begin(self, run: Run) -> None:
        self._begin(run)

    def on_epoch_end(self, run: Run, epoch: int, logs: Any) -> None:
        self._passed(run)

    def on_train_end(self, run: Run) -> None:
        self._last = (run.steps_done, len(run.history), True)  # nothing that is left to write
        super().on_train_end(run)
