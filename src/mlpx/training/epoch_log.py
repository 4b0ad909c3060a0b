"""What each epoch reports: the step log and validation scores, read in one transfer."""

from __future__ import annotations

import numpy as np

from mlpx.backend import Backend
from mlpx.metrics import Metric
from mlpx.network.network import Network
from mlpx.program.data import TrainingData
from mlpx.program.program import HITS, LOSS, WEIGHT, TrainingProgram
from mlpx.training.scores import Scores
from mlpx.types import Array

VALIDATION_ROWS = 1024
"""How many validation rows are evaluated at a time."""


class EpochLog:
    """Reads the log that a program's steps wrote, and evaluates the validation data.

    Everything the end of an epoch needs is allocated here, once.
    """

    def __init__(
        self,
        network: Network,
        program: TrainingProgram,
        held_out: TrainingData | None,
        metrics: tuple[Metric, ...],
    ) -> None:
        self.network, self.program = network, program
        self.scores: Scores | None = None
        size = program.log.size + (0 if program.norms is None else program.norms.size)
        if held_out is not None:
            self.scores = Scores(network, held_out, metrics=metrics, batch_size=VALIDATION_ROWS)
            size += self.scores.values.size
        self.reader = DeviceReader(network.backend, size)

    def read(
        self, first: int, done: int, *, scored: bool
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The log and gradient norms of the steps from `first`, and the validation scores.

        One transfer. Norms that are not recorded, or scores without `scored`, are empty.
        """
        norms = None if self.program.norms is None else self.program.norms[first:done]
        scores = self.scores.run() if self.scores is not None and scored else None
        log, all_norms, values = self.reader.read(self.program.log[first:done], norms, scores)
        return log, all_norms, values

    def add_norms(self, norms: np.ndarray, history: dict[str, np.ndarray]) -> None:
        """Append an epoch's gradient norms (steps, parameters), if they are recorded."""
        if self.program.norms is None:
            return
        for name, column in zip(self.program.norm_names, norms.T, strict=True):
            history[name] = np.concatenate([history.get(name, np.zeros(0)), column])

    def summary(self, log: np.ndarray, scores: np.ndarray) -> dict[str, float]:
        """What an epoch reports, from the log of its steps and the validation scores."""
        weight = log[:, WEIGHT]
        total = weight.sum()
        logs = {"loss": float(log[:, LOSS] @ weight / total)}
        if self.network.loss.targets != "values":
            logs["accuracy"] = float(log[:, HITS] @ weight / total)
        if self.scores is not None:
            logs |= {f"val_{name}": value for name, value in self.scores.named(scores).items()}
        return logs

    def undefined(self, logs: dict[str, float]) -> list[str]:
        """Notes on metrics that are undefined on the validation data."""
        if self.scores is None:
            return []
        named = {name: logs[f"val_{name}"] for name in self.scores.names}
        return [f"val_{note}" for note in self.scores.undefined(named)]


class DeviceReader:
    """A device buffer for up to `size` numbers, copied to the host in one transfer."""

    def __init__(self, backend: Backend, size: int) -> None:
        self.backend = backend
        self.flat = backend.empty(size, np.float64)

    def read(self, *arrays: Array | None) -> list[np.ndarray]:
        """A float64 host copy of each array, empty for None; waits for the device once."""
        stop, places = 0, list[tuple[slice, tuple[int, ...]]]()
        for array in arrays:
            shape = (0,) if array is None else array.shape
            start, stop = stop, stop + (0 if array is None else array.size)
            places.append((slice(start, stop), shape))
            if array is not None:
                self.flat[start:stop].reshape(shape)[...] = array
        host = np.array(self.backend.to_numpy(self.flat[:stop]))  # on the CPU it is a view
        return [host[place].reshape(shape) for place, shape in places]
