"""How many steps MNIST takes to a target accuracy at each batch size.

A larger batch learns less from each row. Every contender was checked to take the same steps, so its
time to the target is this count times its own time of a step.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlpx.benchmark.contenders.ours import make_model
from mlpx.benchmark.workloads import WORKLOADS, Task
from mlpx.optimizers import SGD
from mlpx.training.run import Callback

TARGET = 0.95
BASE_BATCH = 8
HIGHEST_RATE = 4.0


@dataclass(frozen=True)
class Climb:
    """Training on MNIST at one batch size until the target or the end of the budget."""

    batch_size: int
    learning_rate: float
    target: float
    accuracy: float
    """On the test images, at the end."""
    steps: int | None
    """Until the target was first reached; None if it never was."""
    steps_taken: int
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def scaled_rate(batch_size: int) -> float:
    """Learning rate for a batch: that of the workload at BASE_BATCH, linear in the batch, up to
    HIGHEST_RATE.

    Source: Goyal et al., "Accurate, large minibatch SGD", 2017 (linear scaling rule).
    """
    rate = WORKLOADS["mnist"].learning_rate
    return min(rate * max(batch_size / BASE_BATCH, 1.0), HIGHEST_RATE)


class Watch(Callback):
    """Measures the test accuracy after each epoch and stops at the target or the deadline."""

    def __init__(self, x: Any, y: Any, *, target: float, deadline_s: float) -> None:
        self.x, self.y, self.target, self.deadline_s = x, y, target, deadline_s
        self.accuracy: float
        self.reached_at: int | None = None

    def on_epoch_end(self, run: Any, epoch: int, logs: dict[str, float]) -> None:
        predicted = np.asarray(run.model.predict(self.x, batch_size=4096))
        self.accuracy = float(np.mean(predicted == self.y))
        if self.accuracy >= self.target:
            self.reached_at = run.steps_done
            run.stop("target reached")
        elif time.perf_counter() > self.deadline_s:
            run.stop("out of time")


def climb(
    batch_size: int, arrays: tuple[Any, Any, Any, Any], *, budget_s: float, target: float = TARGET
) -> Climb:
    """Train the mnist workload from (x_train, y_train, x_test, y_test), images as floats (n,
    784).
    """
    x, y, x_test, y_test = arrays
    rate = scaled_rate(batch_size)
    watch = Watch(x_test, y_test, target=target, deadline_s=time.perf_counter() + budget_s)
    history = make_model(Task(WORKLOADS["mnist"], batch_size)).fit(
        x, y, epochs=1000, batch_size=batch_size, optimizer=SGD(rate), callbacks=[watch], verbose=0
    )
    reason = history.stop_reason or ""
    taken = len(history.step_loss)
    return Climb(batch_size, rate, target, watch.accuracy, watch.reached_at, taken, reason)


def load_images() -> tuple[Any, Any, Any, Any]:
    """MNIST from the folders of data sets, pixels in [0, 1]; never downloads.

    Raises DataError if it is not there.
    """
    from mlpx.data import load_dataset

    data = load_dataset("mnist", download=False)
    scale = np.float32(data.scale)
    x, x_test = (np.asarray(images, np.float32) * scale for images in (data.x_train, data.x_test))
    return x, data.y_train, x_test, data.y_test
