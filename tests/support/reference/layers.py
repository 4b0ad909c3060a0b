"""Layers, penalties and Philox as plain loops in float64 and Python integers."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

FLOOR = -1.7580993408473766  # SELU's limit for z -> -inf, as its paper prints it


def batch_norm(x, gamma, beta, epsilon):
    """y, and the mean and biased variance of each column."""
    n, d = x.shape
    y, means, variances = np.zeros((n, d)), np.zeros(d), np.zeros(d)
    for j in range(d):
        means[j] = math.fsum(x[:, j]) / n
        variances[j] = math.fsum((x[i, j] - means[j]) ** 2 for i in range(n)) / n
        for i in range(n):
            xhat = (x[i, j] - means[j]) / math.sqrt(variances[j] + epsilon)
            y[i, j] = gamma[j] * xhat + beta[j]
    return y, means, variances


def batch_norm_predict(x, gamma, beta, mean, variance, epsilon):
    """y with given statistics."""
    n, d = x.shape
    y = np.zeros((n, d))
    for i in range(n):
        for j in range(d):
            y[i, j] = gamma[j] * (x[i, j] - mean[j]) / math.sqrt(variance[j] + epsilon) + beta[j]
    return y


def track(running, value, momentum):
    """(1 - momentum) running + momentum value, element by element."""
    return np.array(
        [(1 - momentum) * a + momentum * b for a, b in zip(running, value, strict=True)]
    )


def layer_norm(x, gamma, beta, epsilon):
    """y: each row has mean 0 and variance 1 before gamma and beta."""
    y = np.zeros(x.shape)
    for i, row in enumerate(x):
        mean = math.fsum(row) / len(row)
        variance = math.fsum((v - mean) ** 2 for v in row) / len(row)
        for j, v in enumerate(row):
            y[i, j] = gamma[j] * (v - mean) / math.sqrt(variance + epsilon) + beta[j]
    return y


def rms_norm(x, gamma, epsilon):
    """y: each row has a mean square of 1 before gamma."""
    y = np.zeros(x.shape)
    for i, row in enumerate(x):
        square = math.fsum(v * v for v in row) / len(row)
        for j, v in enumerate(row):
            y[i, j] = gamma[j] * v / math.sqrt(square + epsilon)
    return y


def halves(words):
    """The 32-bit numbers in 64-bit words, lower half first."""
    found = []
    for word in words:
        found += [int(word) % 2**32, int(word) // 2**32]
    return found


def dropout(x, words, rate):
    """x with elements whose number is below rate 2**32 set to zero, others divided by 1 - rate."""
    bits, y = halves(words), np.zeros(x.size)
    for i, v in enumerate(x.reshape(-1)):
        y[i] = v / (1 - rate) if bits[i] >= rate * 2**32 else 0.0
    return y.reshape(x.shape)


def alpha_dropout(x, words, rate):
    """a (x or FLOOR) + b with a and b of the paper's section 3, q = 1 - rate."""
    bits, y, q = halves(words), np.zeros(x.size), 1 - rate
    a = (q + FLOOR**2 * q * (1 - q)) ** -0.5
    b = -a * (1 - q) * FLOOR
    for i, v in enumerate(x.reshape(-1)):
        y[i] = a * (v if bits[i] >= rate * 2**32 else FLOOR) + b
    return y.reshape(x.shape)


def gaussian_noise(x, words, std):
    """x plus Box and Muller's normals, two from each word."""
    bits, y = halves(words), np.array(x, dtype=np.float64).reshape(-1)
    for i in range(0, len(y), 2):
        radius = std * math.sqrt(-2 * math.log((bits[i] + 1) / 2**32))
        angle = 2 * math.pi * bits[i + 1] / 2**32
        y[i] += radius * math.cos(angle)
        if i + 1 < len(y):
            y[i + 1] += radius * math.sin(angle)
    return y.reshape(x.shape)


def penalty(W, l1, l2):
    """l1 sum |W| + l2 sum W**2."""
    return math.fsum(l1 * abs(w) + l2 * w * w for w in W.reshape(-1))


def limit_norms(W, most):
    """Each column brought down to the norm `most`."""
    limited = W.copy()
    for j in range(W.shape[1]):
        norm = math.sqrt(math.fsum(w * w for w in W[:, j]))
        if norm > most:
            limited[:, j] = W[:, j] * (most / norm)
    return limited


def embedding(x, E, sizes):
    """The first columns, then for each of the last the row of E of its code."""
    lines, numbers = [], x.shape[1] - len(sizes)
    for row in x:
        line, start = list(row[:numbers]), 0
        for code, size in zip(row[numbers:], sizes, strict=True):
            line += list(E[start + int(code)])
            start += size
        lines.append(line)
    return np.array(lines)


def periodic_embedding(x, w, b, V, c):
    """x_f and the sums of waves of each of the first columns, then the other columns."""
    lines, (k, h, more) = [], V.shape
    for row in x:
        line = []
        for f in range(k):
            wave = [math.cos(2 * math.pi * row[f] * w[f, 0, j] + b[f, j]) for j in range(h)]
            line.append(row[f])
            line += [
                c[f, q] + math.fsum(wave[j] * V[f, j, q] for j in range(h)) for q in range(more)
            ]
        lines.append(line + list(row[k:]))
    return np.array(lines)


def piecewise_linear_embedding(x, V, c, edges):
    """e V + c of each of the first columns, e its encoding, then the other columns."""
    lines, width = [], V.shape[1]
    for row in x:
        line, start = [], 0
        for f, of in enumerate(edges):
            last, e = len(of) - 2, []
            for t, (left, right) in enumerate(pairwise(of)):
                part = (row[f] - left) / (right - left)
                part = part if t == 0 else max(part, 0.0)
                e.append(part if t == last else min(part, 1.0))
            line += [
                c[f, q] + math.fsum(e[t] * V[start + t, q] for t in range(last + 1))
                for q in range(width)
            ]
            start += last + 1
        lines.append(line + list(row[len(edges) :]))
    return np.array(lines)
