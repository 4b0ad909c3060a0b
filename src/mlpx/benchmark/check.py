"""Whether a contender computes what it should: compared with the float64 reference before any
timing.
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
"""Largest |found - wanted| / |wanted - start|, Euclidean over the numbers: a contender whose
parameters moved elsewhere fails though its loss is near. With rounded factors, measured on three
nets: up to 1e-3 in tf32 and 2.4e-3 in bf16 with SGD, 0.06 and 0.1 with Adam (see AMPLIFIED).
"""
ROUNDED_SHARE = 5e-3
"""The share of the numbers, those furthest off, that Adam's steps leave out of that. However small
its gradient, a number is moved by a whole step: so a unit that only one row reaches, and that row
only just, is moved or not as rounding has it. All its weights are then off, for everybody.
"""
AMPLIFIED = 10
"""How much farther Adam's training steps may end, but in float64: one gate that opens for a row or
not, as rounding has it, moves a unit by whole steps, and the steps after that see another loss.
Measured between libraries, with losses 3e-5 apart: 9e-3.
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
    """Compares contenders on one task; what the reference says is computed once.

    `wanted`: what the phase must leave with epsilon outside, where somebody else computed that in
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

    def verdict(self, found: Arrays, *, epsilon: Epsilon = "outside") -> Verdict:
        """Compare what a contender's phase left with the reference."""
        wanted, kind = self.wanted(epsilon), self.task.arithmetic
        shapes = [a.shape for a in found]
        if shapes != [a.shape for a in wanted]:
            return self._verdict(None, None, np.inf, f"its arrays have shapes {shapes}")
        if self.task.phase == "predict":
            wrong = float(np.mean(found[0] != wanted[0]))
            return self._verdict(None, None, wrong, _too_far("share of classes", wrong, 1e-2))
        moves = self.task.moves
        adam = moves and self.task.workload.optimizer != "sgd"
        amplified = adam and self.task.phase in ("train", "call") and kind != "float64"
        allowed = VALUE_TOLERANCE[kind] * (AMPLIFIED if amplified else 1)
        error = distance(
            found, wanted, self.start if moves else None, leave=ROUNDED_SHARE if adam else 0.0
        )
        loss, right = (self._loss(found), self._loss(wanted)) if moves else (None, None)
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


def distance(found: Arrays, wanted: Arrays, start: Arrays | None, *, leave: float = 0.0) -> float:
    """|found - wanted| / |wanted - start| over all arrays together; start None means zero.

    The share `leave` of the numbers that are furthest off is left out of the numerator.
    """
    apart = np.concatenate([np.ravel(a - b) for a, b in zip(found, wanted, strict=True)]) ** 2
    if not np.isfinite(apart).all():
        return np.inf
    count = len(apart) - int(leave * len(apart))
    apart = np.partition(apart, count - 1)[:count] if count < len(apart) else apart
    zeros = [np.zeros(())] * len(wanted)
    moved = sum(float(np.sum((b - c) ** 2)) for b, c in zip(wanted, start or zeros, strict=True))
    return float(np.sqrt(apart.sum() / max(moved, 1e-300)))
