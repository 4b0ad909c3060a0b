"""Optimizers driven by hand: gradients go in, parameters come out, through the calls of a real
step.
"""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import numpy as np

from mlpx.backend import get_backend
from mlpx.kernels.initializers import Initializer
from mlpx.optimizers import Optimizer
from mlpx.plan.layout import Layout, Parameter, aligned_zeros
from mlpx.plan.plan import Buffers, Plan
from mlpx.program.update import Update

RULES = sorted(name for name in Optimizer.table if name != "lbfgs")
"""Optimizers with an update rule: all but L-BFGS, which searches along lines."""
KIND_OF = {"W": "weight", "b": "bias", "n": "norm"}


class Driver:
    """Named arrays ("0.W" a weight, "0.b" a bias, "1.n" of a normalisation) and their optimizer."""

    def __init__(
        self,
        optimizer: Optimizer,
        arrays: dict[str, np.ndarray],
        *,
        dtype: str = "float64",
        slice_elements: int | None = None,
    ) -> None:
        backend = get_backend("cpu")
        if slice_elements:
            backend = SimpleNamespace(
                slice_elements=slice_elements,
                empty=backend.empty,
                zeros=backend.zeros,
                take=backend.take,
            )
        dtype = np.dtype(dtype)
        rule = Initializer.resolve("zeros")
        parameters = {
            name: Parameter(name[2:], array.shape, rule, kind=KIND_OF[name[2:]])
            for name, array in arrays.items()
        }
        self.optimizer = optimizer
        self.layout = Layout(parameters, dtype.itemsize)
        self.flat, self.gradient = (aligned_zeros(self.layout.size, dtype) for _ in range(2))
        self.arrays = self.layout.views(self.flat)
        self.gradients = self.layout.views(self.gradient)
        for name, array in arrays.items():
            self.arrays[name][...] = array
        self.moments = {name: np.zeros_like(self.flat) for name in optimizer.moments}
        if optimizer.average is not None:
            self.moments["average"] = self.flat.copy()
        network = SimpleNamespace(backend=backend, layout=self.layout, flat=self.flat, dtype=dtype)
        plan = Plan(Buffers(get_backend("cpu"), 1, dtype), 1, parameters={})
        self.update = Update(network, optimizer, self.moments, steps=1)
        self.update.plan(plan, self.gradient, np.zeros(2, np.int64))
        self.calls = [call.bind(np) for call in plan.calls]
        self.t = 0

    def _rows(self, first: int, count: int) -> np.ndarray:
        """The numbers of so many steps, a row each."""
        steps = np.arange(first, first + count, dtype=float)
        return np.stack(self.update.columns(steps, 1.0), axis=1)

    def step(self, **gradients: np.ndarray) -> None:
        """One update; gradients by name with the dot left out: W0=..., b0=..."""
        for name, g in gradients.items():
            self.gradients[f"{name[1:]}.{name[0]}"][...] = g
        self._update(self._rows(self.t + 1, 1)[0])

    def _update(self, row: np.ndarray) -> None:
        self.t += 1
        self.update.table[...] = row
        for call in self.calls:
            call()

    def run(self, gradient: Callable[[np.ndarray, int], np.ndarray], steps: int) -> np.ndarray:
        """`steps` updates of the one array "0.W"; returns it."""
        W, g = self.arrays["0.W"], self.gradients["0.W"]
        for k, row in enumerate(self._rows(self.t + 1, steps)):
            g[...] = np.reshape(gradient(W, k), W.shape)
            self._update(row)
        return W
