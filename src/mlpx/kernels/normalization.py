"""Normalisations: over the batch (axis 0) or over the features of each row (axis 1).

Means and variances have the shape (1, d) for axis 0 and (n, 1) for axis 1. A product with `ones`
sums along the axis: (1, n) or (d, 1). Variances are biased (divided by the count) and come
from deviations from the mean, so that a large offset in x costs no accuracy.
"""

from __future__ import annotations

from mlpx.types import Array, Namespace


def mean(xp: Namespace, x: Array, *, axis: int, ones: Array, out: Array) -> None:
    """out = mean of x (n, d) along axis, by a product: several times faster than a reduction."""
    if axis == 0:
        xp.matmul(ones, x, out=out)
    else:
        xp.matmul(x, ones, out=out)
    out *= 1.0 / x.shape[axis]


def standardise(
    xp: Namespace,
    x: Array,
    *,
    axis: int,
    ones: Array,
    epsilon: float,
    mu: Array,
    variance: Array,
    scale: Array,
    out: Array,
    work: Array,
) -> None:
    """out = (x - mu) scale with scale = 1 / sqrt(variance + epsilon); x, out and work (n, d).

    mu, variance and scale are overwritten. Source: Ioffe and Szegedy, "Batch normalization", 2015;
    Ba, Kiros and Hinton, "Layer normalization", 2016; Chan, Golub and LeVeque, "Algorithms for
    computing the sample variance", 1983, for the second pass over the mean.
    """
    mean(xp, x, axis=axis, ones=ones, out=mu)
    xp.subtract(x, mu, out=out)
    mean(xp, out, axis=axis, ones=ones, out=scale)  # the rounding error of the mean
    mu += scale
    out -= scale
    xp.multiply(out, out, out=work)
    mean(xp, work, axis=axis, ones=ones, out=variance)
    invert_root(xp, variance, epsilon=epsilon, out=scale)
    out *= scale


def invert_root(xp: Namespace, variance: Array, *, epsilon: float, out: Array) -> None:
    """out = 1 / sqrt(variance + epsilon)."""
    xp.add(variance, epsilon, out=out)
    xp.sqrt(out, out=out)
    xp.divide(1.0, out, out=out)


def scale_to_unit(
    xp: Namespace, x: Array, *, ones: Array, epsilon: float, scale: Array, out: Array
) -> None:
    """out = x scale with scale = 1 / sqrt(mean x**2 + epsilon) of each row.

    x and out (n, d), scale (n, 1). Source: Zhang and Sennrich, "Root mean square layer
    normalization", 2019.
    """
    xp.multiply(x, x, out=out)
    mean(xp, out, axis=1, ones=ones, out=scale)
    invert_root(xp, scale, epsilon=epsilon, out=scale)
    xp.multiply(x, scale, out=out)


def affine(xp: Namespace, xhat: Array, gamma: Array, beta: Array | None, *, out: Array) -> None:
    """out = xhat gamma + beta; xhat and out (n, d), gamma and beta (d,) or no beta."""
    xp.multiply(xhat, gamma, out=out)
    if beta is not None:
        out += beta


def affine_backward(
    xp: Namespace,
    dy: Array,
    xhat: Array,
    gamma: Array,
    *,
    ones: Array,
    dgamma: Array,
    dbeta: Array | None,
    out: Array,
    work: Array,
) -> None:
    """dgamma = column sums of dy xhat, dbeta of dy, out = dy gamma; ones (1, n), out may be dy."""
    xp.multiply(dy, xhat, out=work)
    xp.matmul(ones, work, out=dgamma[None, :])
    if dbeta is not None:
        xp.matmul(ones, dy, out=dbeta[None, :])
    xp.multiply(dy, gamma, out=out)


def backward(
    xp: Namespace,
    dxhat: Array,
    xhat: Array,
    scale: Array,
    *,
    axis: int,
    ones: Array,
    centred: bool,
    mu: Array,
    out: Array,
    work: Array,
) -> None:
    """out = scale (dxhat - mean(dxhat) - xhat mean(dxhat xhat)), means along axis.

    Without `centred` (RMS norm) the first mean is left out. out may be dxhat; mu, of scale's shape,
    and work are scratch.
    """
    xp.multiply(dxhat, xhat, out=work)
    mean(xp, work, axis=axis, ones=ones, out=mu)
    xp.multiply(xhat, mu, out=work)
    if centred:
        mean(xp, dxhat, axis=axis, ones=ones, out=mu)
        work += mu
    xp.subtract(dxhat, work, out=out)
    out *= scale


def track(
    xp: Namespace, value: Array, *, momentum: float, factor: float, running: Array, work: Array
) -> None:
    """running += momentum (factor value - running); value and work (1, d), running (d,)."""
    change = work[0]
    xp.multiply(value[0], factor, out=change)
    change -= running
    change *= momentum
    running += change


def apply_running(
    xp: Namespace,
    x: Array,
    mu: Array,
    variance: Array,
    gamma: Array,
    beta: Array,
    *,
    epsilon: float,
    scale: Array,
    out: Array,
) -> None:
    """out = (x - mu) gamma / sqrt(variance + epsilon) + beta.

    x and out (n, d), scale (1, d) is scratch, the others (d,).
    """
    invert_root(xp, variance, epsilon=epsilon, out=scale[0])
    scale *= gamma
    xp.subtract(x, mu, out=out)
    out *= scale
    out += beta
