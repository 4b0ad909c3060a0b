"""The float64 reference that every contender must agree with before it is timed.

Written against NumPy alone, apart from the kernels it judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from mlpx.benchmark.workloads import Problem, Task

Arrays = list[np.ndarray]
Epsilon = Literal["outside", "inside"]
"""Where Adam's epsilon is added. "outside": m^ / (sqrt(v^) + e), algorithm 1 of the paper.
"inside": sqrt(v) + e before the bias of v is undone, the paper's efficient form.
"""


@dataclass
class Reference:
    """Parameters W1, b1, W2, b2, ... in float64, and one optimizer on them."""

    task: Task
    epsilon: Epsilon
    parameters: Arrays
    m: Arrays = field(default_factory=list)
    v: Arrays = field(default_factory=list)
    t: int = 0

    @classmethod
    def of(cls, task: Task, problem: Problem, *, epsilon: Epsilon = "outside") -> Reference:
        """The reference at the task's first weights."""
        return cls(task, epsilon, flatten(problem.weights, problem.biases))

    def forward(self, x: np.ndarray) -> Arrays:
        """x and every layer's output; the last one holds the logits."""
        outputs = [x.astype(np.float64)]
        layers = len(self.parameters) // 2
        for i in range(layers):
            W, b = self.parameters[2 * i : 2 * i + 2]
            z = outputs[-1] @ W + b
            outputs.append(z if i == layers - 1 else self._activate(z))
        return outputs

    def _activate(self, z: np.ndarray) -> np.ndarray:
        relu = self.task.workload.activation == "relu"
        y: np.ndarray = np.maximum(z, 0) if relu else 1 / (1 + np.exp(-z))
        return y

    def _slope(self, y: np.ndarray) -> np.ndarray:
        relu = self.task.workload.activation == "relu"
        slope: np.ndarray = y > 0 if relu else y * (1 - y)
        return slope

    def gradients(self, x: np.ndarray, labels: np.ndarray) -> Arrays:
        """Of the mean cross-entropy, in the order of `parameters`."""
        outputs = self.forward(x)
        d = softmax(outputs[-1])
        d[np.arange(len(x)), labels] -= 1
        d /= len(x)
        grads: Arrays = []
        for i in reversed(range(len(self.parameters) // 2)):
            grads = [outputs[i].T @ d, d.sum(axis=0), *grads]
            if i:
                d = (d @ self.parameters[2 * i].T) * self._slope(outputs[i])
        return grads

    def update(self, gradients: Arrays) -> None:
        """One step of the optimizer."""
        rate, self.t = self.task.workload.learning_rate, self.t + 1
        if self.task.workload.optimizer == "sgd":
            self.parameters = [
                p - rate * g for p, g in zip(self.parameters, gradients, strict=True)
            ]
            return
        zeros = [np.zeros_like(g) for g in gradients]
        self.m = [0.9 * m + 0.1 * g for m, g in zip(self.m or zeros, gradients, strict=True)]
        self.v = [
            0.999 * v + 0.001 * g * g for v, g in zip(self.v or zeros, gradients, strict=True)
        ]
        self.parameters = [
            p - rate * self._change(m, v)
            for p, m, v in zip(self.parameters, self.m, self.v, strict=True)
        ]

    def _change(self, m: np.ndarray, v: np.ndarray) -> np.ndarray:
        unbiased, unbias_v = m / (1 - 0.9**self.t), 1 / np.sqrt(1 - 0.999**self.t)
        outside = np.sqrt(v) * unbias_v + EPSILON
        inside = (np.sqrt(v) + EPSILON) * unbias_v
        change: np.ndarray = unbiased / (outside if self.epsilon == "outside" else inside)
        return change

    def train(self, problem: Problem, steps: int) -> None:
        """`steps` training steps on the problem's batches."""
        for step in range(steps):
            rows = problem.order[step % len(problem.order)]
            self.update(self.gradients(problem.x[rows], problem.labels[rows]))


EPSILON = 1e-8


def flatten(weights: Arrays, biases: Arrays) -> Arrays:
    """W1, b1, W2, b2, ... in float64."""
    return [a.astype(np.float64) for pair in zip(weights, biases, strict=True) for a in pair]


def softmax(z: np.ndarray) -> np.ndarray:
    """Of each row."""
    e: np.ndarray = np.exp(z - z.max(axis=1, keepdims=True))
    e /= e.sum(axis=1, keepdims=True)
    return e


def mean_loss(task: Task, parameters: Arrays, x: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy of parameters W1, b1, W2, b2, ..., computed in float64."""
    z = Reference(task, "outside", parameters).forward(x)[-1]
    z = z - z.max(axis=1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]
    return float(losses.mean())
