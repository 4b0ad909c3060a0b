"""Activations as plain Python on float64 numbers, and the loops around them."""

from __future__ import annotations

from math import erf, exp, expm1, log1p, pi, sqrt, tanh

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772


def sigmoid(z: float) -> float:
    return 1 / (1 + exp(-z)) if z >= 0 else exp(z) / (1 + exp(z))


def softplus(z: float) -> float:
    return max(z, 0.0) + log1p(exp(-abs(z)))


def elu(z: float, alpha: float = 1.0) -> float:
    return z if z > 0 else alpha * expm1(z)


def leaky_relu(z: float, slope: float = 0.01) -> float:
    return z if z > 0 else slope * z


FORWARD = {
    "identity": lambda z: z,
    "sigmoid": sigmoid,
    "hard_sigmoid": lambda z: min(max(z + 3, 0), 6) / 6,
    "tanh": tanh,
    "relu": lambda z: max(z, 0.0),
    "relu6": lambda z: min(max(z, 0.0), 6.0),
    "leaky_relu": leaky_relu,
    "prelu": lambda z, slope=0.25: leaky_relu(z, slope),
    "elu": elu,
    "celu": lambda z, alpha=1.0: z if z > 0 else alpha * expm1(z / alpha),
    "selu": lambda z: SCALE * elu(z, ALPHA),
    "softplus": softplus,
    "softsign": lambda z: z / (1 + abs(z)),
    "silu": lambda z: z * sigmoid(z),
    "gelu": lambda z: z * (1 + erf(z / sqrt(2))) / 2,
    "gelu_tanh": lambda z: z * (1 + tanh(sqrt(2 / pi) * (z + 0.044715 * z**3))) / 2,
    "mish": lambda z: z * tanh(softplus(z)),
}
"""f(z) of each elementwise activation, with its hyperparameters as keywords."""


def forward(name: str, z: list[list[float]], **hyperparameters: float) -> list[list[float]]:
    """f of every number of a matrix."""
    if name == "softmax":
        return [softmax(row) for row in z]
    return [[FORWARD[name](value, **hyperparameters) for value in row] for row in z]


def softmax(row: list[float]) -> list[float]:
    largest = max(row)
    exponentials = [exp(value - largest) for value in row]
    return [e / sum(exponentials) for e in exponentials]
