"""mlpx called for one batch at a time, as on a stream: one call of the public training function for
each batch, or a new model and its first.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from mlpx.benchmark.contenders.ours import Ours, make_model, set_weights
from mlpx.benchmark.reference import EPSILON
from mlpx.benchmark.workloads import Problem, Task
from mlpx.types import Array


class Streamed(Ours):
    """Trains on batches as they come in."""

    def next_batch(self) -> tuple[Array, Array]:
        """x and labels of rows not seen before in this epoch."""
        rows = self.problem.order[self.step % len(self.problem.order)]
        self.step += 1
        return self.problem.x[rows], self.problem.labels[rows]


class FitABatch(Streamed):
    """`model.fit`, which chooses its engine itself."""

    mode = "fit a batch"
    note = "model.fit of one batch a call"

    def call(self, steps: int) -> None:
        """Gather and `fit`."""
        for _ in range(steps):
            self._fit(*self.next_batch())

    def start(self, steps: int) -> None:
        """A new model and its first `fit`."""
        for _ in range(steps):
            self.model = make_model(self.task)
            set_weights(self.model, self.problem)
            self._fit(*self.problem.batch)

    def _fit(self, x: Array, labels: Array) -> None:
        self.model.fit(x, labels, epochs=1, batch_size=len(x), optimizer=self.optimizer, verbose=0)


class PartialFit(Streamed):
    """`MLPClassifier.partial_fit`; no weight decay, no shuffling inside the batch."""

    mode = "partial_fit"
    note = "MLPClassifier.partial_fit, one batch a call"
    requires = ("sklearn",)
    epsilon = "inside"

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.kind = _classifier_class(problem)
        self.start(1)

    def reset(self) -> None:
        super().reset()
        classifier = self.classifier
        classifier.loss_curve_, classifier.best_loss_, classifier.t_ = [], math.inf, 0
        classifier._no_improvement_count = 0

    def call(self, steps: int) -> None:
        """Gather and `partial_fit`."""
        for _ in range(steps):
            self.classifier.partial_fit(*self.next_batch())

    def start(self, steps: int) -> None:
        """A new classifier and its first `partial_fit`."""
        classes = np.arange(self.task.workload.layers[-1])
        for _ in range(steps):
            self.classifier = self._classifier()
            self.classifier.partial_fit(*self.problem.batch, classes=classes)
        self.model = self.classifier.model_

    def _classifier(self) -> Any:
        workload = self.task.workload
        return self.kind(
            hidden_layer_sizes=workload.layers[1:-1],
            activation=workload.activation,
            solver=workload.optimizer,
            alpha=0.0,
            batch_size=self.task.batch_size,
            learning_rate_init=workload.learning_rate,
            shuffle=False,
            momentum=0.0,
            epsilon=EPSILON,
            loss="softmax_cross_entropy",  # two outputs for two classes, like the others
            device=self.task.device,
        )


def _classifier_class(problem: Problem) -> Any:
    from mlpx.estimators import MLPClassifier

    class Given(MLPClassifier):
        """Starts from the problem's weights once it has drawn its own."""

        def _initialise(self, model: Any) -> None:
            super()._initialise(model)
            set_weights(model, problem)

    return Given
