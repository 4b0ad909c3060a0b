"""Activations mixed with their input by a learnt share."""

from __future__ import annotations

from typing import Any

import numpy as np

from cudasim.cases.given import Case, Given, case, wide
from mlpx.engines.lowering.formulas import codes
from mlpx.kernels.activations import Activation


def of_float64(f: Any, method: str, *arrays: np.ndarray) -> np.ndarray:
    out = np.empty_like(arrays[0])
    work = tuple(np.empty_like(out) for _ in range(f.scratch))
    getattr(f, method)(np, *(a.copy() for a in arrays), out=out, work=work)
    return out


def cases_of(name: str) -> None:
    """The way forward and the way back of one activation."""
    f: Any = Activation.resolve(name)
    fields = tuple(float(value) for key, value in f.config().items() if key not in ("kind", "name"))
    code = codes("activation")[name]

    @case("parametric")
    def forward(given: Given) -> Case:
        x, a = given.normal(given.n, given.d), given.between(-0.5, 1.5, given.d)
        wanted = wide(x) + wide(a) * (of_float64(f, "forward", wide(x)) - wide(x))
        n, p = (given.n, given.d, code), [x, a, given.empty(*x.shape)]
        return Case(n, fields, p, {2: wanted})

    @case("parametric_back")
    def back(given: Given) -> Case:
        dy, x = given.normal(given.n, given.d), given.normal(given.n, given.d)
        a, by_output = given.between(-0.5, 1.5, given.d), f.keeps == "output"
        y = of_float64(f, "forward", wide(x))
        slope = of_float64(f, "backward", wide(dy), y if by_output else wide(x))
        wanted = {
            3: (wide(dy) * (y - wide(x))).sum(axis=0),
            4: wide(a) * slope + (1 - wide(a)) * wide(dy),
        }
        p = [dy, x, a, given.empty(given.d), given.empty(*x.shape)]
        return Case((given.n, given.d, code, by_output), fields, p, wanted)


for name in ("selu", "mish", "tanh", "leaky_relu"):
    cases_of(name)
