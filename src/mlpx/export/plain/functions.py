"""What an exported model computes with; the text of what it needs is copied into its file.

Arrays are (n, d) and keep their dtype. Nothing overflows that is not itself too large, and
infinite numbers give the limits, as in `mlpx.kernels`.
"""

from __future__ import annotations

import math

import numpy as np

from mlpx.kernels import special

TAIL = special.TAIL["float64"]


def relu(z: np.ndarray) -> np.ndarray:
    """max(z, 0)."""
    return np.maximum(z, 0)


def relu6(z: np.ndarray) -> np.ndarray:
    """min(max(z, 0), 6)."""
    return np.clip(z, 0, 6)


def leaky_relu(z: np.ndarray, slope: float) -> np.ndarray:
    """z where z > 0, else slope z, for 0 < slope <= 1."""
    return np.maximum(z, slope * z)


def prelu(z: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """z where z > 0, else slope z, with slopes (d,)."""
    return np.maximum(z, 0) + slope * np.minimum(not_infinite(z), 0)


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z))."""
    return logistic(z, np.abs(z))


def logistic(z: np.ndarray, u: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-u)) for the size u >= 0 of a number with the sign of z."""
    e = np.exp(-u)
    return np.where(z >= 0, 1, e) / (1 + e)


def hard_sigmoid(z: np.ndarray) -> np.ndarray:
    """min(max(z + 3, 0), 6) / 6."""
    return np.clip(z + 3, 0, 6) / 6


def softsign(z: np.ndarray) -> np.ndarray:
    """z / (1 + |z|)."""
    largest = np.finfo(z.dtype).max
    z = np.clip(z, -largest, largest)
    return z / (1 + np.abs(z))


def elu(z: np.ndarray, alpha: float) -> np.ndarray:
    """z where z > 0, else alpha (exp(z) - 1)."""
    return np.maximum(z, 0) + alpha * np.expm1(np.minimum(z, 0))


def selu(z: np.ndarray) -> np.ndarray:
    """scale (z where z > 0, else alpha (exp(z) - 1))."""
    scale, alpha = 1.0507009873554805, 1.6732632423543772
    with np.errstate(over="ignore"):
        right = scale * np.maximum(z, 0)
    return right + scale * alpha * np.expm1(np.minimum(z, 0))


def celu(z: np.ndarray, alpha: float) -> np.ndarray:
    """z where z > 0, else alpha (exp(z / alpha) - 1)."""
    near = np.clip(z, -100 * alpha, 0)  # beyond it exp is 0 after rounding
    return np.maximum(z, 0) + alpha * np.expm1(near / alpha)


def softplus(z: np.ndarray) -> np.ndarray:
    """log(1 + exp(z))."""
    return np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))


def silu(z: np.ndarray) -> np.ndarray:
    """z sigmoid(z)."""
    return not_infinite(z) * sigmoid(z)


def gelu_tanh(z: np.ndarray) -> np.ndarray:
    """z sigmoid(sqrt(8/pi) (z + 0.044715 z**3))."""
    t = np.minimum(np.abs(z), 40)
    steep = math.sqrt(8 / math.pi)
    u = (t * t * (0.044715 * steep) + steep) * t
    return not_infinite(z) * logistic(z, u)


def gelu(z: np.ndarray) -> np.ndarray:
    """z Phi(z), with the normal distribution's Phi."""
    t = np.minimum(np.abs(z), 40)
    tail = bell(t) * scaled_tail(t)  # Phi(-|z|)
    return not_infinite(z) * np.where(z >= 0, 1 - tail, tail)


def bell(t: np.ndarray) -> np.ndarray:
    """exp(-t**2 / 2), t split so that the square of its first part is exact."""
    head = np.rint(t * 256) / 256
    return np.exp(-0.5 * head * head) * np.exp(-0.5 * (t - head) * (t + head))


def scaled_tail(t: np.ndarray) -> np.ndarray:
    """exp(t**2 / 2) Phi(-t) for 0 <= t <= 41, a polynomial in (t - 4) / (t + 4)."""
    q = (t - 4) / (t + 4)
    p = np.full_like(q, TAIL[-1])
    for c in TAIL[-2::-1]:
        p = p * q + c
    return p / (t + 4)


def mish(z: np.ndarray) -> np.ndarray:
    """z tanh(softplus(z)) = z (e**2 + 2 e) / (e**2 + 2 e + 2) with e = exp(z)."""
    e = np.exp(np.minimum(z, 20))  # beyond it the fraction is 1
    n = e * (e + 2)
    return not_infinite(z) * (n / (n + 2))


def softmax(z: np.ndarray) -> np.ndarray:
    """exp(z) / sum exp(z) over each row."""
    half = np.finfo(z.dtype).max / 2
    z = np.clip(z, -half, half)  # so that no difference overflows
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def not_infinite(z: np.ndarray) -> np.ndarray:
    """z, the smallest number for minus infinity: 0 times that is 0."""
    return np.maximum(z, np.finfo(z.dtype).min)


def embedding(x: np.ndarray, E: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """The first columns of x, then for each of the last the row of E that its code stands for."""
    n, numbers, k = len(x), x.shape[1] - len(sizes), len(sizes)
    codes = np.clip(x[:, numbers:], 0, np.array(sizes) - 1).astype(np.int64)
    index = codes + np.cumsum((0, *sizes[:-1]))  # each column has its own part of E
    return np.concatenate((x[:, :numbers], E[index].reshape(n, k * E.shape[1])), axis=1)


def periodic_embedding(
    x: np.ndarray, w: np.ndarray, b: np.ndarray, V: np.ndarray, c: np.ndarray
) -> np.ndarray:
    """For each of the first columns x_f and cos(2 pi x_f w_f + b_f) V_f + c_f, then the others."""
    parts = []
    for f in range(len(V)):
        u = x[:, f : f + 1] * w[f] + b[f] * (0.5 / math.pi)
        wave = np.cos((u - np.rint(u)) * (2 * math.pi))  # of less than half a turn
        parts += [x[:, f : f + 1], wave @ V[f] + c[f]]
    return np.concatenate((*parts, x[:, len(V) :]), axis=1)


def piecewise_embedding(
    x: np.ndarray, V: np.ndarray, c: np.ndarray, edges: tuple[tuple[float, ...], ...]
) -> np.ndarray:
    """For each of the first columns e V_f + c_f, then the others; e_t is how much of the bin
    between two edges lies below x_f: 1, a fraction, or 0; the first and the last bin have no end.
    """
    parts, first = [], 0
    for f, column in enumerate(edges):
        at = np.array(column, x.dtype)
        e = (x[:, f : f + 1] - at[:-1]) / np.diff(at)
        e[:, 1:] = np.maximum(e[:, 1:], 0)
        e[:, :-1] = np.minimum(e[:, :-1], 1)
        parts.append(e @ V[first : first + e.shape[1]] + c[f])
        first += e.shape[1]
    return np.concatenate((*parts, x[:, len(edges) :]), axis=1)


def batch_norm(
    x: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    epsilon: float,
) -> np.ndarray:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta."""
    return (x - mean) * (1 / np.sqrt(variance + epsilon) * gamma) + beta


def layer_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float) -> np.ndarray:
    """gamma (x - mean) / sqrt(variance + epsilon) + beta, the moments of each row."""
    x = x - x.mean(axis=1, keepdims=True)
    x = x - x.mean(axis=1, keepdims=True)  # the rounding error of the first mean
    return rms_norm(x, gamma, epsilon) + beta


def rms_norm(x: np.ndarray, gamma: np.ndarray, epsilon: float) -> np.ndarray:
    """gamma x / sqrt(mean x**2 + epsilon), the mean of each row."""
    with np.errstate(over="ignore"):
        square = (x * x).mean(axis=1, keepdims=True)
    return x / np.sqrt(square + epsilon) * gamma
