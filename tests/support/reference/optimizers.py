"""Optimizers as plain loops over float64 lists of numbers, straight from the papers."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Vector = Sequence[float]
Rule = Callable[..., list[float]]


def sgd(p, gradients, rate, *, momentum=0.0, dampening=0.0, nesterov=False, decay=0.0):
    p = list(p)
    v = None
    for k, gradient in enumerate(gradients):
        g = [gi + decay * pi for gi, pi in zip(gradient(p, k), p, strict=True)]
        if momentum:
            if v is None:
                v = list(g)
            else:
                v = [momentum * vi + (1 - dampening) * gi for vi, gi in zip(v, g, strict=True)]
            d = [gi + momentum * vi for gi, vi in zip(g, v, strict=True)] if nesterov else v
        else:
            d = g
        p = [pi - rate * di for pi, di in zip(p, d, strict=True)]
    return p


def adagrad(p, gradients, rate, *, epsilon=1e-10, decay=0.0):
    p, total = list(p), [0.0] * len(p)
    for k, gradient in enumerate(gradients):
        grad = gradient(p, k)
        for i in range(len(p)):
            g = grad[i] + decay * p[i]
            total[i] += g * g
            p[i] -= rate * g / (math.sqrt(total[i]) + epsilon)
    return p


def rmsprop(p, gradients, rate, *, rho=0.99, epsilon=1e-8, momentum=0.0, centered=False, decay=0.0):
    p = list(p)
    v, a, u = ([0.0] * len(p) for _ in range(3))
    for k, gradient in enumerate(gradients):
        grad = gradient(p, k)
        for i in range(len(p)):
            g = grad[i] + decay * p[i]
            v[i] = rho * v[i] + (1 - rho) * g * g
            a[i] = rho * a[i] + (1 - rho) * g
            size = v[i] - a[i] ** 2 if centered else v[i]
            step = g / (math.sqrt(max(size, 0.0)) + epsilon)
            u[i] = momentum * u[i] + step
            p[i] -= rate * u[i]
    return p


def adadelta(p, gradients, rate, *, rho=0.9, epsilon=1e-6, decay=0.0):
    p = list(p)
    v, moved = [0.0] * len(p), [0.0] * len(p)
    for k, gradient in enumerate(gradients):
        grad = gradient(p, k)
        for i in range(len(p)):
            g = grad[i] + decay * p[i]
            v[i] = rho * v[i] + (1 - rho) * g * g
            d = math.sqrt(moved[i] + epsilon) / math.sqrt(v[i] + epsilon) * g
            moved[i] = rho * moved[i] + (1 - rho) * d * d
            p[i] -= rate * d
    return p


def adam(
    p, gradients, rate, *, beta1=0.9, beta2=0.999, epsilon=1e-8, decay=0.0, decoupled=False,
    largest=False, hat=False,
):  # fmt: skip
    p = list(p)
    m, v, h = ([0.0] * len(p) for _ in range(3))
    for k, gradient in enumerate(gradients):
        t, grad = k + 1, gradient(p, k)
        for i in range(len(p)):
            g = grad[i] + (0.0 if decoupled else decay * p[i])
            if decoupled:
                p[i] -= rate * decay * p[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            h[i] = max(h[i], v[i]) if largest else v[i]
            size = math.sqrt(h[i] / (1 - beta2**t)) + epsilon
            if hat:
                size = (math.sqrt(h[i]) + epsilon) / math.sqrt(1 - beta2**t)
            p[i] -= rate * (m[i] / (1 - beta1**t)) / size
    return p


def adamw(p, gradients, rate, *, decay=0.01, **options):
    return adam(p, gradients, rate, decay=decay, decoupled=True, **options)


def adam_hat(p, gradients, rate, **options):
    return adam(p, gradients, rate, hat=True, **options)


def amsgrad(p, gradients, rate, **options):
    return adam(p, gradients, rate, largest=True, **options)


def nadam(
    p, gradients, rate, *, beta1=0.9, beta2=0.999, epsilon=1e-8, momentum_decay=0.004, decay=0.0
):
    p = list(p)
    m, v = [0.0] * len(p), [0.0] * len(p)
    product = 1.0
    for k, gradient in enumerate(gradients):
        t, grad = k + 1, gradient(p, k)
        now = beta1 * (1 - 0.5 * 0.96 ** (t * momentum_decay))
        after = beta1 * (1 - 0.5 * 0.96 ** ((t + 1) * momentum_decay))
        product *= now
        for i in range(len(p)):
            g = grad[i] + decay * p[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            ahead = after * m[i] / (1 - product * after) + (1 - now) * g / (1 - product)
            p[i] -= rate * ahead / (math.sqrt(v[i] / (1 - beta2**t)) + epsilon)
    return p


def radam(p, gradients, rate, *, beta1=0.9, beta2=0.999, epsilon=1e-8, decay=0.0):
    p = list(p)
    m, v = [0.0] * len(p), [0.0] * len(p)
    longest = 2 / (1 - beta2) - 1
    for k, gradient in enumerate(gradients):
        t, grad = k + 1, gradient(p, k)
        length = longest - 2 * t * beta2**t / (1 - beta2**t)
        for i in range(len(p)):
            g = grad[i] + decay * p[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            step = m[i] / (1 - beta1**t)
            if length > 5:
                upper = (length - 4) * (length - 2) * longest
                lower = (longest - 4) * (longest - 2) * length
                inverse = math.sqrt(1 - beta2**t) / (math.sqrt(v[i]) + epsilon)
                step *= math.sqrt(upper / lower) * inverse
            p[i] -= rate * step
    return p


def adamax(p, gradients, rate, *, beta1=0.9, beta2=0.999, epsilon=1e-8, decay=0.0):
    p = list(p)
    m, u = [0.0] * len(p), [0.0] * len(p)
    for k, gradient in enumerate(gradients):
        grad = gradient(p, k)
        for i in range(len(p)):
            g = grad[i] + decay * p[i]
            m[i] = beta1 * m[i] + (1 - beta1) * g
            u[i] = max(beta2 * u[i], abs(g))
            p[i] -= rate / (1 - beta1 ** (k + 1)) * m[i] / (u[i] + epsilon)
    return p


def lion(p, gradients, rate, *, beta1=0.9, beta2=0.99, decay=0.0):
    p, m = list(p), [0.0] * len(p)
    for k, gradient in enumerate(gradients):
        grad = gradient(p, k)
        for i, g in enumerate(grad):
            c = beta1 * m[i] + (1 - beta1) * g
            sign = int(c > 0) - int(c < 0)
            p[i] -= rate * (sign + decay * p[i])
            m[i] = beta2 * m[i] + (1 - beta2) * g
    return p


def lamb(p, gradients, rate, *, beta1=0.9, beta2=0.999, epsilon=1e-6, decay=0.01, adapt=True):
    p = list(p)
    m, v = [0.0] * len(p), [0.0] * len(p)
    for k, gradient in enumerate(gradients):
        t, grad = k + 1, gradient(p, k)
        u = []
        for i, g in enumerate(grad):
            m[i] = beta1 * m[i] + (1 - beta1) * g
            v[i] = beta2 * v[i] + (1 - beta2) * g * g
            size = math.sqrt(v[i] / (1 - beta2**t)) + epsilon
            u.append(m[i] / (1 - beta1**t) / size + decay * p[i])
        length = math.sqrt(sum(x * x for x in p))
        step = math.sqrt(sum(x * x for x in u))
        ratio = length / step if adapt and length > 0 and step > 0 else 1.0
        p = [pi - rate * ratio * ui for pi, ui in zip(p, u, strict=True)]
    return p


def muon(p, gradients, rate, *, shape, momentum=0.95, nesterov=True, iterations=5, decay=0.0):
    """p is the flat (d_in, d_out) matrix."""
    a, b, c = 3.4445, -4.7750, 2.0315
    W, m = np.array(p, dtype=float).reshape(shape), np.zeros(shape)
    for k, gradient in enumerate(gradients):
        g = np.array(gradient(W.ravel(), k)).reshape(shape)
        m = momentum * m + (1 - momentum) * g
        X = (1 - momentum) * g + momentum * m if nesterov else m
        turned = shape[0] > shape[1]
        X = X.T if turned else X
        X = X / (math.sqrt((X * X).sum()) + 1e-7)
        for _ in range(iterations):
            A = X @ X.T
            X = a * X + (b * A + c * A @ A) @ X
        X = X.T if turned else X
        W = (1 - rate * decay) * W
        W = W - rate * math.sqrt(max(1.0, shape[1] / shape[0])) * X
    return list(W.ravel())
