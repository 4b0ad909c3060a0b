"""An optimizer of mlpx on any function of a few numbers, outside any network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mlpx import Optimizer

Vector = NDArray[np.float64]


def descend(
    rule: Optimizer, gradient: Callable[[Vector], Vector], start: ArrayLike, *, steps: int
) -> Vector:
    """The points (steps + 1, d) that `rule` visits from `start` (d,)."""
    p = np.atleast_2d(np.array(start, dtype=np.float64))  # (1, d): some rules want a matrix
    moments = tuple(np.zeros_like(p) for _ in rule.moments)
    work = tuple(np.zeros_like(p) for _ in range(rule.scratch))
    t = np.arange(1.0, steps + 1)
    numbers = rule.scalars(t, rule.rates(t))  # numbers that depend only on the step
    path = [p[0].copy()]
    for step in range(steps):
        scalars = tuple(column[step : step + 1] for column in numbers)
        g = gradient(p[0])[None, :]
        rule.update(np, p, g, moments=moments, scalars=scalars, work=work)
        path.append(p[0].copy())
    return np.array(path)
