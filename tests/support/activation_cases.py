"""Activations, hyperparameters to try, and runs of their kernels."""

from __future__ import annotations

from math import nan
from typing import Any

import numpy as np

from mlpx.kernels.activations import Activation

NAMES = sorted(Activation.table)
ELEMENTWISE = [name for name in NAMES if Activation.table[name].elementwise]
OTHERS: dict[str, list[dict[str, float]]] = {
    "leaky_relu": [{"slope": 0.3}, {"slope": 0.0}, {"slope": 1.0}],
    "prelu": [{"slope": -0.4}, {"slope": 1.7}, {"slope": 0.0}],
    "elu": [{"alpha": 0.3}, {"alpha": 2.5}, {"alpha": 0.0}, {"alpha": 1e9}],
    "celu": [{"alpha": 0.3}, {"alpha": 2.5}, {"alpha": 1e-30}],
}
"""Hyperparameters to try beside the defaults."""
CASES = [
    (name, values) for name in NAMES for values in ({}, *OTHERS.get(name, ()))
]  # fmt: skip


def make(name: str, values: dict[str, float] | None = None) -> Activation:
    made: Activation = Activation.table[name](**(values or {}))
    return made


def work_for(f: Activation, z: np.ndarray) -> tuple[np.ndarray, ...]:
    """Scratch that holds rubbish, as it does in a step."""
    whole = [np.full_like(z, 7.5) for _ in range(f.scratch)]
    return (*whole, *(np.full((len(z), 1), -3.25, z.dtype) for _ in range(f.columns)))


def learnt(f: Activation, z: np.ndarray) -> dict[str, np.ndarray]:
    return {name: np.full(z.shape[1], start, z.dtype) for name, start in f.parameters().items()}


def forward(f: Activation, z: np.ndarray, *, in_place: bool = False, **own: Any) -> np.ndarray:
    out = z.copy() if in_place else np.full_like(z, nan)
    f.forward(np, out if in_place else z, out=out, work=work_for(f, z), **(own or learnt(f, z)))
    return out


def backward(
    f: Activation, dy: np.ndarray, z: np.ndarray, *, in_place: bool = False, **own: Any
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """dz, and the gradients of what the activation learns."""
    own = own or learnt(f, z)
    kept = z if f.keeps == "input" else forward(f, z, **own)
    grads = {f"d{name}": np.full_like(value, nan) for name, value in own.items()}
    if own:
        own = {**own, **grads, "ones": np.ones((1, len(z)), z.dtype)}
    out = dy.copy() if in_place else np.full_like(z, nan)
    f.backward(np, out if in_place else dy, kept, out=out, work=work_for(f, z), **own)
    return out, grads


def points(f: Activation, dtype: str = "float64") -> np.ndarray:
    """A matrix (41, 3) of both signs, away from kinks."""
    z = np.random.default_rng(3).normal(scale=3.0, size=(41, 3))
    for kink in f.kinks:
        z[abs(z - kink) < 1e-2] += 0.1
    return z.astype(dtype)
