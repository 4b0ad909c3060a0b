"""Activations, and their derivatives."""

from __future__ import annotations

from typing import Any

import numpy as np

from cudasim.cases.given import Case, Given, Maker, case, wide
from mlpx.engines.lowering.formulas import codes
from mlpx.kernels.activations import Activation


def activated(name: str) -> tuple[Maker, Maker]:
    """f(z + b), and the way back."""
    f: Any = Activation.resolve(name)
    fields = tuple(float(value) for key, value in f.config().items() if key not in ("kind", "name"))

    def array_kernel(method: str, *arrays: np.ndarray) -> np.ndarray:
        out = np.empty_like(arrays[0])
        work = tuple(np.empty_like(out) for _ in range(f.scratch))
        getattr(f, method)(np, *(a.copy() for a in arrays), out=out, work=work)
        return out

    def forward(given: Given) -> Case:
        z, b = 4 * given.normal(given.n, given.d), given.normal(given.d)
        total = (z + b).astype(np.float64)  # the sum is rounded before f
        p, n = [z, given.empty(*z.shape), b], (given.n, given.d, codes("activation")[name], 1)
        return Case(n, fields, p, {0: total, 1: array_kernel("forward", total)})

    def plain(given: Given) -> Case:
        z = given.normal(given.n, given.d)
        p, n = [z, given.empty(*z.shape), None], (given.n, given.d, codes("activation")[name], 0)
        return Case(n, fields, p, {1: array_kernel("forward", wide(z))})

    def back(given: Given) -> Case:
        dy, kept = given.normal(given.n, given.d), given.normal(given.n, given.d)
        if f.keeps == "output":
            kept = array_kernel("forward", kept)
        p, n = [dy, kept, given.empty(*dy.shape)], (given.n, given.d, codes("activation")[name])
        return Case(n, fields, p, {2: array_kernel("backward", wide(dy), wide(kept))})

    case("activation")(plain)
    return forward, back


for name in codes("activation"):
    forward, back = activated(name)
    case("activation")(forward)
    case("activation_back")(back)


@case("prelu")
def prelu(given: Given) -> Case:
    z, slope = given.normal(given.n, given.d), given.normal(given.d)
    wanted = np.where(z > 0, wide(z), wide(z) * wide(slope))
    return Case(z.shape, (), [z, slope, given.empty(*z.shape)], {2: wanted})


@case("prelu_back")
def prelu_back(given: Given) -> Case:
    dy, z, slope = (
        given.normal(given.n, given.d),
        given.normal(given.n, given.d),
        given.normal(given.d),
    )
    z.flat[::5] = 0
    wanted = wide(dy) * np.where(z > 0, 1, wide(slope))
    return Case(z.shape, (), [dy, z, slope, given.empty(*z.shape)], {3: wanted})


@case("prelu_slope")
def prelu_slope(given: Given) -> Case:
    dy, z = given.normal(given.n, given.d), given.normal(given.n, given.d)
    wanted = (wide(dy) * np.minimum(wide(z), 0)).sum(axis=0)
    return Case(z.shape, (), [dy, z, given.empty(given.d)], {2: wanted})


def softmax_of(z: np.ndarray) -> np.ndarray:
    e = np.exp(wide(z) - wide(z).max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@case("softmax")
def softmax(given: Given) -> Case:
    z, half = 3 * given.normal(given.n, given.d), float(np.finfo(given.dtype).max) / 2
    z[0, 0], z[-1, -1] = np.inf, -np.inf
    wanted = softmax_of(np.clip(wide(z), -half, half))
    return Case(z.shape, (), [z, given.empty(*z.shape)], {1: wanted})


@case("softmax_back")
def softmax_back(given: Given) -> Case:
    dy, y = given.normal(given.n, given.d), softmax_of(given.normal(given.n, given.d))
    y = y.astype(given.dtype)
    wanted = (wide(dy) - (wide(dy) * wide(y)).sum(axis=1, keepdims=True)) * wide(y)
    return Case(y.shape, (), [dy, y, given.empty(*y.shape)], {2: wanted})
