"""Whether a contender computes the right thing: each is compared with the float64 reference before
it is timed.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mlpx.benchmark.reference import Arrays, Epsilon, Reference, flatten, mean_loss
from mlpx.benchmark.workloads import WHOLE_STEPS, Problem, Task

LOSS_TOLERANCE = {"float32": 1e-4, "float64": 1e-10, "tf32": 1e-3, "bf16": 3e-3}
"""Largest relative difference of the loss after the steps of the check."""
VALUE_TOLERANCE = {"float32": 2e-3, "float64": 1e-6, "tf32": 2e-2, "bf16": 4e-2}
"""Largest |actual - wanted| / |wanted - start| in the Euclidean norm over all numbers: a contender
whose parameters moved elsewhere fails even if its loss is close. With rounded factors, measured on
three nets: up to 1e-3 in tf32 and 2.4e-3 in bf16 with SGD, 0.06 and 0.1 with Adam (see AMPLIFIED).
"""
ROUNDED_SHARE = 5e-3
"""With Adam this share of the numbers, the furthest off, is not compared. Adam moves a number by a
whole step however small its gradient is, so rounding decides whether a unit moves that one row only
just reaches. All weights of that unit are then off, in every library.
"""
AMPLIFIED = 10
"""How many times as far off Adam's training steps may end, except in float64: rounding decides
whether a unit is active for some row, which moves it by whole steps, and later steps see another
loss. Measured between libraries, with losses 3e-5 apart: 9e-3.
"""
CHECK_ROWS = 1024


@dataclass(frozen=True)
class Verdict:
    """What the comparison found; `reason` is empty if the contender agrees."""

    loss: float | None
    reference_loss: float | None
    loss_error: float | None
    value_error: float
    loss_tolerance: float
    value_tolerance: float
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class Judge:
    """Compares contenders on one task; the reference is computed once.

    `wanted`: what the phase must leave with epsilon outside, if it was computed elsewhere in
    float64: the reference takes minutes on large nets.
    """

    def __init__(self, task: Task, problem: Problem, *, wanted: Arrays | None = None) -> None:
        self.task, self.problem = task, problem
        self.start = flatten(problem.weights, problem.biases)
        self._wanted: dict[Epsilon, Arrays] = {} if wanted is None else {"outside": wanted}

    def wanted(self, epsilon: Epsilon) -> Arrays:
        """What the phase must leave: parameters, gradients, logits or classes."""
        if self.task.workload.optimizer == "sgd":
            epsilon = "outside"
        if epsilon not in self._wanted:
            self._wanted[epsilon] = self._compute(epsilon)
        return self._wanted[epsilon]

    def _compute(self, epsilon: Epsilon) -> Arrays:
        reference = Reference.of(self.task, self.problem, epsilon=epsilon)
        x, labels = self.problem.batch
        if self.task.phase in WHOLE_STEPS:
            reference.train(self.problem, self.task.check_steps)
            return reference.parameters
        if self.task.phase == "update":
            gradients = reference.gradients(x, labels)
            for _ in range(self.task.check_steps):
                reference.update(gradients)
            return reference.parameters
        if self.task.phase == "backward":
            return reference.gradients(x, labels)
        logits = reference.forward(x)[-1]
        return [logits] if self.task.phase == "forward" else [logits.argmax(axis=1)]

    def verdict(self, actual: Arrays, *, epsilon: Epsilon = "outside") -> Verdict:
        """Compare what a contender's phase left with the reference."""
        wanted, kind = self.wanted(epsilon), self.task.arithmetic
        shapes = [a.shape for a in actual]
        if shapes != [a.shape for a in wanted]:
            return self._verdict(None, None, np.inf, f"its arrays have shapes {shapes}")
        if self.task.phase == "predict":
            wrong = float(np.mean(actual[0] != wanted[0]))
            return self._verdict(None, None, wrong, _too_far("share of classes", wrong, 1e-2))
        moves = self.task.moves
        adam = moves and self.task.workload.optimizer != "sgd"
        amplified = adam and self.task.phase in ("train", "call") and kind != "float64"
        allowed = VALUE_TOLERANCE[kind] * (AMPLIFIED if amplified else 1)
        error = distance(
            actual, wanted, self.start if moves else None, leave=ROUNDED_SHARE if adam else 0.0
        )
        loss, right = (self._loss(actual), self._loss(wanted)) if moves else (None, None)
        reason = _too_far("values", error, allowed)
        if loss is not None and right is not None:
            reason = _too_far("loss", abs(loss - right) / right, LOSS_TOLERANCE[kind]) or reason
        return self._verdict(loss, right, error, reason, allowed)

    def _loss(self, parameters: Arrays) -> float:
        x, labels = self.problem.x[:CHECK_ROWS], self.problem.labels[:CHECK_ROWS]
        return mean_loss(self.task, [p.astype(np.float64) for p in parameters], x, labels)

    def _verdict(
        self,
        loss: float | None,
        right: float | None,
        error: float,
        reason: str,
        allowed: float | None = None,
    ) -> Verdict:
        loss_error = None if loss is None or right is None else abs(loss - right) / right
        kind = self.task.arithmetic
        allowed = allowed or VALUE_TOLERANCE[kind]
        return Verdict(loss, right, loss_error, error, LOSS_TOLERANCE[kind], allowed, reason)


def _too_far(what: str, error: float, tolerance: float) -> str:
    if error <= tolerance:  # false for NaN
        return ""
    return f"{what} differ from the float64 reference by {error:.2g}; allowed {tolerance:.0e}"


def distance(actual: Arrays, wanted: Arrays, start: Arrays | None, *, leave: float = 0.0) -> float:
    """|actual - wanted| / |wanted - start| over all arrays together; start None means zero.

    The share `leave` of the numbers that are furthest off is left out of the numerator.
    """
    apart = np.concatenate([np.ravel(a - b) for a, b in zip(actual, wanted, strict=True)]) ** 2
    if not np.isfinite(apart).all():
        return np.inf
    count = len(apart) - int(leave * len(apart))
    apart = np.partition(apart, count - 1)[:count] if count < len(apart) else apart
    zeros = [np.zeros(())] * len(wanted)
    moved = sum(float(np.sum((b - c) ** 2)) for b, c in zip(wanted, start or zeros, strict=True))
    return float(np.sqrt(apart.sum() / max(moved, 1e-300)))
