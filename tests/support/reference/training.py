"""A multi-layer perceptron and its training in plain loops over Python floats, float64 all."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

Row = list[float]
Matrix = list[Row]

ACTIVATIONS: dict[str, tuple[Callable[[float], float], Callable[[float, float], float]]] = {
    "identity": (lambda z: z, lambda z, y: 1.0),
    "sigmoid": (lambda z: 1 / (1 + math.exp(-z)), lambda z, y: y * (1 - y)),
    "tanh": (math.tanh, lambda z, y: 1 - y * y),
    "relu": (lambda z: max(z, 0.0), lambda z, y: float(z > 0)),
}
"""Name to f(z) and to f'(z) given z and y = f(z)."""


def softmax_cross_entropy(z: Row, label: int) -> tuple[float, Row]:
    """Loss of one row and its gradient."""
    m = max(z)
    e = [math.exp(v - m) for v in z]
    total = sum(e)
    return math.log(total) - (z[label] - m), [v / total - (j == label) for j, v in enumerate(e)]


def mean_squared_error(z: Row, t: Row) -> tuple[float, Row]:
    """Loss of one row and its gradient."""
    k = len(z)
    error = [a - b for a, b in zip(z, t, strict=True)]
    return sum(v * v for v in error) / k, [2 * v / k for v in error]


LOSSES: dict[str, Callable[..., tuple[float, Row]]] = {
    "softmax_cross_entropy": softmax_cross_entropy,
    "mean_squared_error": mean_squared_error,
}


class Net:
    """Dense layers: `weights` and `biases` as nested lists, one activation name a layer."""

    def __init__(
        self, weights: list[Matrix], biases: list[Row], activations: Sequence[str], loss: str
    ) -> None:
        self.weights, self.biases = weights, biases
        self.activations, self.loss = activations, LOSSES[loss]

    def forward(self, x: Row) -> tuple[list[Row], list[Row]]:
        """All layers' z and y, y[0] = x."""
        zs: list[Row] = []
        ys: list[Row] = [list(x)]
        for W, b, name in zip(self.weights, self.biases, self.activations, strict=True):
            inputs = ys[-1]
            z = [b[j] + sum(inputs[i] * W[i][j] for i in range(len(inputs))) for j in range(len(b))]
            zs.append(z)
            ys.append([ACTIVATIONS[name][0](v) for v in z])
        return zs, ys

    def gradients(self, x: Row, target: int | Row) -> tuple[float, list[Matrix], list[Row]]:
        """One row's loss, and its gradients by layer."""
        zs, ys = self.forward(x)
        loss, dy = self.loss(ys[-1], target)
        dWs: list[Matrix] = []
        dbs: list[Row] = []
        for layer in reversed(range(len(zs))):
            slope = ACTIVATIONS[self.activations[layer]][1]
            dz = [d * slope(z, y) for d, z, y in zip(dy, zs[layer], ys[layer + 1], strict=True)]
            dWs.insert(0, [[v * d for d in dz] for v in ys[layer]])
            dbs.insert(0, dz)
            dy = [sum(w * d for w, d in zip(row, dz, strict=True)) for row in self.weights[layer]]
        return loss, dWs, dbs

    def step(
        self, batch: Sequence[tuple[Row, int | Row, float]], learning_rate: float
    ) -> tuple[float, float]:
        """One step of gradient descent on (x, target, weight) rows; mean loss and total weight."""
        total = sum(weight for _, _, weight in batch)
        mean = 0.0
        changes = []
        for x, target, weight in batch:
            loss, dWs, dbs = self.gradients(x, target)
            r = weight / total
            mean += r * loss
            changes.append((r, dWs, dbs))
        for r, dWs, dbs in changes:
            self._move(-learning_rate * r, dWs, dbs)
        return mean, total

    def _move(self, scale: float, dWs: list[Matrix], dbs: list[Row]) -> None:
        for W, b, dW, db in zip(self.weights, self.biases, dWs, dbs, strict=True):
            for j, d in enumerate(db):
                b[j] += scale * d
            for row, drow in zip(W, dW, strict=True):
                for j, d in enumerate(drow):
                    row[j] += scale * d


def train(
    net: Net,
    rows: Sequence[tuple[Row, int | Row, float]],
    orders: Sequence[Sequence[int]],
    *,
    batch_size: int,
    learning_rate: float,
) -> tuple[list[float], list[float]]:
    """Train over the rows in each epoch's order; the loss of every step and of every epoch.

    The last batch of an epoch holds what is left. An epoch's loss weighs each row by its weight.
    """
    steps: list[float] = []
    epochs: list[float] = []
    for order in orders:
        seen = []
        for start in range(0, len(order), batch_size):
            batch = [rows[i] for i in order[start : start + batch_size]]
            seen.append(net.step(batch, learning_rate))
        steps += [loss for loss, _ in seen]
        epochs.append(sum(loss * w for loss, w in seen) / sum(w for _, w in seen))
    return steps, epochs
