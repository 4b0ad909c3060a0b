"""One training step without its update: losses, gradients and outputs of a model at will."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx import MLP
from mlpx.engines.interpreter import run_once
from mlpx.network.passes import plan_backward, plan_forward
from mlpx.plan.plan import Buffers, Plan
from mlpx.program.layer_numbers import LayerNumbers
from mlpx.program.objective import plan_loss, plan_penalty_gradients, plan_targets


class Step:
    """Forward and backward of `model` on x and y, at a step of the caller's choice; `t` is the
    optimizer's.
    """

    def __init__(
        self, model: MLP, x: np.ndarray, y: np.ndarray, *, step: int = 0, t: int = 1
    ) -> None:
        backend, layout, n = model.backend, model.layout, len(x)
        self.model = model
        self.state = backend.asarray(np.array([0, step]))
        self.gradient = backend.zeros(layout.size, model.dtype)
        plan = Plan(
            Buffers(backend, n, model.dtype), n,
            parameters=layout.views(model.flat), gradients=layout.gradients(self.gradient),
            training=True, seed=model.seed, state=self.state,
        )  # fmt: skip
        numbers = LayerNumbers(model, steps=1)
        numbers.fill(np.array([float(t)]))
        numbers.plan(plan, self.state)
        self.x = backend.asarray(x, dtype=model.dtype)
        self.z, sites = plan_forward(plan, model, self.x)
        r = backend.asarray(np.full((n, 1), 1 / n), dtype=model.dtype)
        t = plan_targets(plan, model, backend.asarray(y))
        self.rows, dz = plan_loss(plan, model, self.z, t, r)
        self.forward = [call.bind(backend.xp) for call in plan.calls]
        plan_backward(model, sites, dz)
        plan_penalty_gradients(plan, model)
        self.plan, self.sites = plan, sites

    def loss(self) -> float:
        """The mean loss after running the step as far as its outputs' gradient."""
        with np.errstate(all="ignore"):
            for call in self.forward:
                call()
        return float(self.model.backend.to_numpy(self.rows).astype(np.float64).mean())

    def gradients(self) -> dict[str, np.ndarray]:
        """The gradient of each learnt parameter after running the step."""
        run_once(self.plan)
        views = self.model.layout.gradients(self.gradient)
        return {name: self.model.backend.to_numpy(g).copy() for name, g in views.items()}


def worst_errors(step: Step, *, h: float) -> dict[str, float]:
    """max|g - g_num| / max(|g|, |g_num|) of each parameter array, by central differences."""
    analytic, found = step.gradients(), {}
    for name, g in analytic.items():
        numerical = numerical_gradient(step, step.model.parameters[name], h)
        scale = max(abs(g).max(), abs(numerical).max())
        found[name] = abs(g - numerical).max() / scale if scale else 0.0
    return found


def numerical_gradient(step: Step, p: Any, h: float) -> np.ndarray:
    """Central differences of fourth order, element by element: p is put back."""
    numerical = np.zeros(p.shape)
    for index in np.ndindex(*p.shape):
        value = p[index]
        losses = []
        for move in (-2, -1, 1, 2):
            p[index] = value + move * h
            losses.append(step.loss())
        p[index] = value
        numerical[index] = (losses[0] - 8 * losses[1] + 8 * losses[2] - losses[3]) / (12 * h)
    return numerical
