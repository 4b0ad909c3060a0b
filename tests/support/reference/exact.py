"""Activations and special functions with fifty digits, and how far a result is off."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import mpmath as mp
import numpy as np

CONTEXT = mp.MPContext()
CONTEXT.dps = 50
ROUNDS_TO_ZERO = 1500
"""Beyond, exp(-z) is taken as 0: no float64 can tell the difference."""


def _exp(z: Any) -> Any:
    return CONTEXT.exp(max(min(z, ROUNDS_TO_ZERO), -ROUNDS_TO_ZERO))


def _sigmoid(z: Any) -> Any:
    return 1 / (1 + _exp(-z)) if z > 0 else _exp(z) / (1 + _exp(z))


def _phi(z: Any) -> Any:
    return CONTEXT.exp(-z * z / 2) / CONTEXT.sqrt(2 * CONTEXT.pi) if abs(z) < 60 else CONTEXT.mpf(0)


def _Phi(z: Any) -> Any:  # noqa: N802 - its name
    if abs(z) > 60:
        return CONTEXT.mpf(z > 0)
    return CONTEXT.erfc(-z / CONTEXT.sqrt(2)) / 2


def _gate_argument(z: Any) -> Any:
    return CONTEXT.sqrt(8 / CONTEXT.pi) * (z + CONTEXT.mpf("0.044715") * z**3)


def _gate_slope(z: Any) -> Any:
    return CONTEXT.sqrt(8 / CONTEXT.pi) * (1 + 3 * CONTEXT.mpf("0.044715") * z**2)


def _gelu_tanh_slope(z: Any) -> Any:
    if abs(z) > 60:
        return CONTEXT.mpf(z > 0)
    s, t = _sigmoid(_gate_argument(z)), _sigmoid(-_gate_argument(z))
    return s + z * s * t * _gate_slope(z)


def _mish_gate(z: Any) -> Any:
    if z > 60:
        return 1 - 2 * _exp(-2 * z)
    n = _exp(z) * (_exp(z) + 2)
    return n / (n + 2)


def _mish_slope(z: Any) -> Any:
    if abs(z) > ROUNDS_TO_ZERO:
        return CONTEXT.mpf(z > 0)
    T, e = _mish_gate(z), _exp(z)
    return T + z * 4 * e * (1 + e) / (e * e + 2 * e + 2) ** 2


def _softplus(z: Any) -> Any:
    return z + CONTEXT.log1p(_exp(-z)) if z > 0 else CONTEXT.log1p(_exp(z))


SCALE = CONTEXT.mpf("1.0507009873554804934193349852946")
ALPHA = CONTEXT.mpf("1.6732632423543772848170429916717")


def _elu(z: Any, alpha: Any, scale: Any = 1) -> Any:
    return scale * (z if z > 0 else alpha * CONTEXT.expm1(max(z, -ROUNDS_TO_ZERO)))


def _elu_slope(z: Any, alpha: Any, scale: Any = 1) -> Any:
    return scale * (1 if z > 0 else alpha * _exp(z))


def _leak(z: Any, slope: float) -> Any:
    return z if z > 0 else CONTEXT.mpf(slope) * z


Exact = Callable[[Any], Any]
FORWARD: dict[str, Exact] = {
    "identity": lambda z: z,
    "sigmoid": _sigmoid,
    "hard_sigmoid": lambda z: max(CONTEXT.mpf(0), min(CONTEXT.mpf(6), z + 3)) / 6,
    "tanh": lambda z: CONTEXT.tanh(max(min(z, 400), -400)),
    "relu": lambda z: max(z, CONTEXT.mpf(0)),
    "relu6": lambda z: max(CONTEXT.mpf(0), min(CONTEXT.mpf(6), z)),
    "leaky_relu": lambda z: _leak(z, 0.01),
    "prelu": lambda z: _leak(z, 0.25),
    "elu": lambda z: _elu(z, 1),
    "celu": lambda z: _elu(z, 1),
    "selu": lambda z: _elu(z, ALPHA, SCALE),
    "softplus": _softplus,
    "softsign": lambda z: z / (1 + abs(z)),
    "silu": lambda z: z * _sigmoid(z),
    "gelu": lambda z: z * _Phi(z),
    "gelu_tanh": lambda z: z * _sigmoid(_gate_argument(z)),
    "mish": lambda z: z * _mish_gate(z),
    "erf": lambda z: CONTEXT.erf(max(min(z, 60), -60)),
    "erfc": lambda z: CONTEXT.erfc(max(min(z, 60), -60)),
}
SLOPE: dict[str, Exact] = {
    "identity": lambda z: CONTEXT.mpf(1),
    "sigmoid": lambda z: _sigmoid(z) * _sigmoid(-z),
    "hard_sigmoid": lambda z: CONTEXT.mpf(abs(z) < 3) / 6,
    "tanh": lambda z: CONTEXT.sech(max(min(z, 800), -800)) ** 2,
    "relu": lambda z: CONTEXT.mpf(z > 0),
    "relu6": lambda z: CONTEXT.mpf(0 < z < 6),
    "leaky_relu": lambda z: CONTEXT.mpf(1 if z > 0 else 0.01),
    "prelu": lambda z: CONTEXT.mpf(1 if z > 0 else 0.25),
    "elu": lambda z: _elu_slope(z, 1),
    "celu": lambda z: _elu_slope(z, 1),
    "selu": lambda z: _elu_slope(z, ALPHA, SCALE),
    "softplus": _sigmoid,
    "softsign": lambda z: 1 / (1 + abs(z)) ** 2,
    "silu": lambda z: _sigmoid(z) + z * _sigmoid(z) * _sigmoid(-z),
    "gelu": lambda z: _Phi(z) + z * _phi(z),
    "gelu_tanh": _gelu_tanh_slope,
    "mish": _mish_slope,
}
ROOTS = {
    "silu": (-1.5, -1.1),
    "gelu": (-0.9, -0.6),
    "gelu_tanh": (-0.9, -0.6),
    "mish": (-1.35, -1.05),
}
"""Around the zero of the slope, where only its absolute error can be small."""


@cache
def grid(dtype: str, mantissas: float) -> np.ndarray:
    """Both signs of `mantissas` numbers of every exponent, denormals too, and more up to 800.

    0.25 is one number of every fourth exponent.
    """
    kind = np.dtype(dtype)
    info, draw = np.finfo(kind), np.random.default_rng(1)
    every, mantissas = max(1, round(1 / mantissas)), max(1, int(mantissas))
    exponents = np.arange(info.minexp - info.nmant, info.maxexp, every)
    scales = np.ldexp(np.ones((), np.longdouble), exponents)
    sizes = (scales[:, None] * (1 + draw.random((len(exponents), mantissas)))).astype(kind).ravel()
    ends = [0, info.max, info.tiny, info.smallest_subnormal, 1, 3, 6, 10, 30, 100, 1e4]
    near = np.concatenate([draw.uniform(0, r, 40 * mantissas) for r in (1, 4, 20, 110, 800)])
    sizes = np.concatenate([sizes[sizes <= info.max], np.array(ends, kind), near.astype(kind)])
    z: np.ndarray = np.unique(np.concatenate([-sizes, sizes]))
    z.flags.writeable = False
    return z


@cache
def truth(name: str, dtype: str, mantissas: float, *, slope: bool = False) -> list[Any]:
    """The exact values of a function, or its slope, on the grid."""
    f = (SLOPE if slope else FORWARD)[name]
    return [f(CONTEXT.mpf(float(z))) for z in grid(dtype, mantissas)]


def spacing(value: Any, dtype: str) -> Any:
    """The distance between neighbouring numbers of `dtype` at `value`."""
    info = np.finfo(dtype)
    if abs(value) < float(info.tiny):
        return CONTEXT.mpf(float(info.smallest_subnormal))
    return CONTEXT.ldexp(1, CONTEXT.frexp(abs(value))[1] - 1 - info.nmant)


def errors(found: np.ndarray, exact: list[Any]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """In units in the last place; the same in units of eps max(1, |exact|); and what is too small.

    What is below 256 of the smallest normal number is told apart: e**z has few bits left there.
    """
    dtype = found.dtype.name
    eps, small = CONTEXT.mpf(float(np.finfo(dtype).eps)), 256 * float(np.finfo(dtype).tiny)
    gaps = [abs(CONTEXT.mpf(float(y)) - t) for y, t in zip(found, exact, strict=True)]
    ulps = [float(g / spacing(t, dtype)) for g, t in zip(gaps, exact, strict=True)]
    flat = [float(g / (eps * max(1, abs(t)))) for g, t in zip(gaps, exact, strict=True)]
    return np.array(ulps), np.array(flat), np.array([abs(t) < small for t in exact])
