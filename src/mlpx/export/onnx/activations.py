"""Each activation as ONNX operators.

The operators are those for which runtimes have kernels in float32 and in float64: no Erf, Elu,
Softplus or Sigmoid, which some lack in float64 and some cut off (a sigmoid that is 0 at -30). No
finite input overflows on the way, and infinite ones give the limits, as in `mlpx.kernels`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mlpx.export.onnx.graph import Graph
from mlpx.kernels.activations.exponential import SELU_ALPHA, SELU_SCALE
from mlpx.kernels.activations.gated import CURVE, FAR, STEEP
from mlpx.kernels.special import CENTRE, TAIL

Learnt = Mapping[str, str]
Form = Callable[[Graph, Any, str, Learnt], str]
"""Adds f(z) to a graph and returns its name, given f, the name of z and those of what f learnt."""
SATURATED = 20.0
"""Beyond this tanh(softplus(z)) is 1 in either dtype."""


def identity(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """z."""
    return z


def relu(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """max(z, 0)."""
    return graph.add("Relu", [z])


def relu6(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """min(max(z, 0), 6)."""
    return graph.add("Clip", [z, graph.number(0), graph.number(6)])


def leaky_relu(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """max(z, slope z), since 0 <= slope <= 1."""
    if f.slope == 0:
        return graph.add("Relu", [z])
    return graph.add("Max", [z, graph.add("Mul", [z, graph.number(f.slope)])])


def prelu(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """max(z, 0) + slope min(z, 0)."""
    below = graph.add("Min", [_not_infinite(graph, z), graph.number(0)])
    below = graph.add("Mul", [below, learnt["slope"]])
    return graph.add("Add", [graph.add("Relu", [z]), below])


def tanh(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """The hyperbolic tangent."""
    return graph.add("Tanh", [z])


def sigmoid(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """1 / (1 + exp(-z))."""
    return logistic(graph, z, graph.add("Abs", [z]))


def hard_sigmoid(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """min(max(z + 3, 0), 6) / 6."""
    moved = graph.add("Add", [z, graph.number(3)])
    cut = graph.add("Clip", [moved, graph.number(0), graph.number(6)])
    return graph.add("Div", [cut, graph.number(6)])


def softsign(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """z / (1 + |z|)."""
    largest = float(np.finfo(graph.dtype).max)
    z = graph.add("Clip", [z, graph.number(-largest), graph.number(largest)])
    size = graph.add("Add", [graph.add("Abs", [z]), graph.number(1)])
    return graph.add("Div", [z, size])


def elu(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """max(z, 0) + alpha (exp(min(z, 0)) - 1)."""
    return _one_sided(graph, z, below=_below(graph, z), alpha=f.alpha)


def selu(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """scale (max(z, 0) + alpha (exp(min(z, 0)) - 1))."""
    alpha = SELU_SCALE * SELU_ALPHA
    return _one_sided(graph, z, below=_below(graph, z), alpha=alpha, scale=SELU_SCALE)


def celu(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """max(z, 0) + alpha (exp(min(z, 0) / alpha) - 1)."""
    # beyond -100 alpha, exp is 0 after rounding and z / alpha may overflow
    near = graph.add("Clip", [z, graph.number(-100 * f.alpha), graph.number(0)])
    near = graph.add("Div", [near, graph.number(f.alpha)])
    return _one_sided(graph, z, below=expm1(graph, near), alpha=f.alpha)


def softplus(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """max(z, 0) + log(1 + exp(-|z|))."""
    e = _decay(graph, graph.add("Abs", [z]))
    tail = graph.add("Log", [graph.add("Add", [e, graph.number(1)])])
    return graph.add("Add", [graph.add("Relu", [z]), tail])


def silu(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """z sigmoid(z)."""
    s = logistic(graph, z, graph.add("Abs", [z]))
    return graph.add("Mul", [_not_infinite(graph, z), s])


def gelu_tanh(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """z sigmoid(sqrt(8/pi) (z + 0.044715 z**3))."""
    t = graph.add("Min", [graph.add("Abs", [z]), graph.number(FAR)])
    square = graph.add("Mul", [t, t])
    bend = graph.add("Mul", [square, graph.number(CURVE * STEEP)])
    u = graph.add("Mul", [graph.add("Add", [bend, graph.number(STEEP)]), t])
    return graph.add("Mul", [_not_infinite(graph, z), logistic(graph, z, u)])


def gelu(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """z Phi(z), with Phi(-t) = exp(-t**2 / 2) times a polynomial, as in `kernels.special`."""
    t = graph.add("Min", [graph.add("Abs", [z]), graph.number(FAR)])
    half = graph.add("Mul", [graph.add("Mul", [t, t]), graph.number(-0.5)])
    tail = graph.add("Mul", [graph.add("Exp", [half]), _scaled_tail(graph, t)])  # Phi(-|z|)
    rest = graph.add("Sub", [graph.number(1), tail])
    phi = graph.add("Where", [_is_right(graph, z), rest, tail])
    return graph.add("Mul", [_not_infinite(graph, z), phi])


def mish(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """z n / (n + 2) with n = e (e + 2) and e = exp(z): tanh(softplus(z)) without a logarithm."""
    e = graph.add("Exp", [graph.add("Min", [z, graph.number(SATURATED)])])
    n = graph.add("Mul", [e, graph.add("Add", [e, graph.number(2)])])
    fraction = graph.add("Div", [n, graph.add("Add", [n, graph.number(2)])])
    return graph.add("Mul", [_not_infinite(graph, z), fraction])


def softmax(graph: Graph, f: Any, z: str, learnt: Learnt) -> str:
    """exp(z) / sum exp(z) over each row."""
    half = float(np.finfo(graph.dtype).max) / 2
    limited = graph.add("Clip", [z, graph.number(-half), graph.number(half)])
    return graph.add("Softmax", [limited], axis=1)  # so that no difference overflows


def logistic(graph: Graph, z: str, u: str) -> str:
    """1 / (1 + exp(-u)) for the size u >= 0 of a number with the sign of z; its tails are exact."""
    e = _decay(graph, u)
    top = graph.add("Where", [_is_right(graph, z), graph.number(1), e])
    return graph.add("Div", [top, graph.add("Add", [e, graph.number(1)])])


def expm1(graph: Graph, z: str) -> str:
    """exp(z) - 1 for z <= 0, as tanh(z / 2) (exp(z) + 1), which does not cancel."""
    half = graph.add("Tanh", [graph.add("Mul", [z, graph.number(0.5)])])
    return graph.add("Mul", [half, graph.add("Add", [graph.add("Exp", [z]), graph.number(1)])])


def _below(graph: Graph, z: str) -> str:
    return expm1(graph, graph.add("Min", [z, graph.number(0)]))


def _one_sided(graph: Graph, z: str, *, below: str, alpha: float, scale: float = 1.0) -> str:
    """scale max(z, 0) + alpha below."""
    right = graph.add("Relu", [z])
    if scale != 1:
        right = graph.add("Mul", [right, graph.number(scale)])
    return graph.add("Add", [right, graph.add("Mul", [below, graph.number(alpha)])])


def _decay(graph: Graph, u: str) -> str:
    """exp(-u)."""
    return graph.add("Exp", [graph.add("Neg", [u])])


def _is_right(graph: Graph, z: str) -> str:
    return graph.add("GreaterOrEqual", [z, graph.number(0)])


def _not_infinite(graph: Graph, z: str) -> str:
    """z, the smallest number for minus infinity, so that 0 times it is 0."""
    return graph.add("Max", [z, graph.number(-float(np.finfo(graph.dtype).max))])


def _scaled_tail(graph: Graph, t: str) -> str:
    """exp(t**2 / 2) Phi(-t) for 0 <= t <= 41, by Horner's rule."""
    bottom = graph.add("Add", [t, graph.number(CENTRE)])
    q = graph.add("Div", [graph.add("Sub", [t, graph.number(CENTRE)]), bottom])
    *others, last = TAIL[graph.dtype.name]
    p = graph.number(last)
    for c in reversed(others):
        p = graph.add("Add", [graph.add("Mul", [p, q]), graph.number(c)])
    return graph.add("Div", [p, bottom])


ACTIVATIONS: dict[str, Form] = {
    "celu": celu, "elu": elu, "gelu": gelu, "gelu_tanh": gelu_tanh, "hard_sigmoid": hard_sigmoid,
    "identity": identity, "leaky_relu": leaky_relu, "mish": mish, "prelu": prelu, "relu": relu,
    "relu6": relu6, "selu": selu, "sigmoid": sigmoid, "silu": silu, "softmax": softmax,
    "softplus": softplus, "softsign": softsign, "tanh": tanh,
}  # fmt: skip
"""The form of each activation, by its name in `Activation.table`."""
