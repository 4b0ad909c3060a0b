"""thinc: layers chained, `begin_update` and `finish_update`."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx.benchmark.contenders.base import Contender
from mlpx.benchmark.reference import EPSILON, Arrays
from mlpx.benchmark.workloads import Problem, Task


class Chain(Contender):
    """`chain(Relu, ..., Softmax)`; Softmax takes the gradient at its logits, so its loss is (p - t)
    / n.
    """

    library = "thinc"
    mode = "chain"
    note = "chain of layers, begin_update and finish_update"
    requires = ("thinc",)
    epsilon = "inside"

    @classmethod
    def refuses(cls, task: Task) -> str | None:
        if task.dtype != "float32":
            return "works in float32 only"
        return super().refuses(task)

    def __init__(self, task: Task, problem: Problem) -> None:
        super().__init__(task, problem)
        import thinc.api as thinc

        self.thinc: Any = thinc
        activate = {"relu": thinc.Relu, "sigmoid": thinc.Sigmoid}[task.workload.activation]
        *hidden, (d, k) = task.workload.shapes
        layers = [activate(width, d_in) for d_in, width in hidden]
        self.model = thinc.chain(*layers, thinc.Softmax(k, d))
        self.model.initialize()
        self.targets = np.eye(k, dtype=np.float32)[problem.labels]
        self.reset()

    def _optimizer(self) -> Any:
        workload, plain = self.task.workload, {"L2": 0.0, "grad_clip": 0.0}
        if workload.optimizer == "sgd":
            return self.thinc.SGD(workload.learning_rate, use_averages=False, **plain)
        return self.thinc.Adam(workload.learning_rate, eps=EPSILON, use_averages=False, **plain)

    def reset(self) -> None:
        pairs = zip(self.problem.weights, self.problem.biases, strict=True)
        for layer, (W, b) in zip(self.model.layers, pairs, strict=True):
            layer.set_param("W", np.ascontiguousarray(W.T))
            layer.set_param("b", b.copy())
            for name in ("W", "b"):
                layer.set_grad(name, np.zeros_like(layer.get_param(name)))
        self.optimizer = self._optimizer()
        self.position = 0

    def train(self, steps: int) -> None:
        """Gather, forward, backward, optimizer."""
        order, x = self.problem.order, self.problem.x
        for _ in range(steps):
            rows = order[self.position % len(order)]
            p, backpropagate = self.model.begin_update(x[rows])
            backpropagate((p - self.targets[rows]) / len(rows))
            self.model.finish_update(self.optimizer)
            self.position += 1

    call = train

    def predict(self, steps: int) -> None:
        """Classes of one batch."""
        x = self.problem.batch[0]
        for _ in range(steps):
            self.output = self.model.predict(x).argmax(axis=1)

    def parameters(self) -> Arrays:
        return [
            array
            for layer in self.model.layers
            for array in (np.array(layer.get_param("W").T), np.array(layer.get_param("b")))
        ]

    def outputs(self) -> Arrays:
        return [self.output]


def contenders() -> list[type[Contender]]:
    """Every mode."""
    return [Chain]
