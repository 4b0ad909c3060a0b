"""scikit-learn: `MLPClassifier.partial_fit`, batch by batch in the task's dtype."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.benchmark.contenders.base import Contender, interleaved
from mlpx.benchmark.reference import EPSILON, Arrays
from mlpx.benchmark.workloads import Problem, Task


class PartialFit(Contender):
    """One call of `partial_fit` a step; no weight decay, no momentum, no shuffling inside the
    batch.
    """

    library = "sklearn"
    mode = "partial_fit"
    note = "MLPClassifier.partial_fit, one batch a call"
    requires = ("sklearn",)
    epsilon = "inside"

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        self.kind = _classifier_class(problem)
        self.start(1)
        self.position = 0

    def _classifier(self) -> Any:
        workload = self.task.workload
        return self.kind(
            hidden_layer_sizes=workload.layers[1:-1],
            activation={"sigmoid": "logistic"}.get(workload.activation, workload.activation),
            solver=workload.optimizer,
            alpha=0.0,
            batch_size=self.task.batch_size,
            learning_rate_init=workload.learning_rate,
            shuffle=False,
            momentum=0.0,
            nesterovs_momentum=False,
            epsilon=EPSILON,
        )

    def reset(self) -> None:
        classifier = self.classifier
        for owned, first in (
            (classifier.coefs_, self.problem.weights),
            (classifier.intercepts_, self.problem.biases),
        ):
            for array, value in zip(owned, first, strict=True):
                array[...] = value
        if hasattr(classifier, "_optimizer"):
            del classifier._optimizer  # partial_fit makes a fresh one
        classifier.loss_curve_, classifier.t_, classifier.n_iter_ = [], 0, 0
        self.position = 0

    def train(self, steps: int) -> None:
        """Gather and `partial_fit`."""
        order, x, labels = self.problem.order, self.problem.x, self.problem.labels
        for _ in range(steps):
            rows = order[self.position % len(order)]
            self.classifier.partial_fit(x[rows], labels[rows])
            self.position += 1

    call = train

    def start(self, steps: int) -> None:
        """A new classifier and its first `partial_fit`."""
        classes = np.arange(self.task.workload.layers[-1])
        for _ in range(steps):
            self.classifier = self._classifier()
            self.classifier.partial_fit(*self.problem.batch, classes=classes)

    def predict(self, steps: int) -> None:
        """Classes of one batch."""
        x = self.problem.batch[0]
        for _ in range(steps):
            self.output = self.classifier.predict(x)

    def parameters(self) -> Arrays:
        return interleaved(self.classifier.coefs_, self.classifier.intercepts_)

    def outputs(self) -> Arrays:
        return [self.output]


def _classifier_class(problem: Problem) -> Any:
    from sklearn.neural_network import MLPClassifier

    class Given(MLPClassifier):  # type: ignore[misc]
        """Starts from the problem's weights instead of its own, and has two softmax outputs for two
        classes, like the others, instead of one output.
        """

        def _initialize(self, *given: Any, **named: Any) -> None:
            super()._initialize(*given, **named)
            self.coefs_ = [W.copy() for W in problem.weights]
            self.intercepts_ = [b.copy() for b in problem.biases]
            if len(problem.biases[-1]) == 2:
                self.out_activation_ = "softmax"

        def _validate_input(self, *given: Any, **named: Any) -> Any:
            x, y = super()._validate_input(*given, **named)
            return x, np.hstack([~y, y]) if y.shape[1] == 1 else y

    return Given


def contenders() -> list[type[Contender]]:
    """Every mode."""
    return [PartialFit]
