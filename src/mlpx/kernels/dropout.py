"""Random masks and noise, from 32 random bits per element.

`bits` is uint32 of the layer's shape: a view of Philox words, the lower half of word i for element
2 i, its upper half for element 2 i + 1, counted row by row. So a mask depends only on seed, step,
layer and position.
"""

from __future__ import annotations

import math

from mlpx.types import Array, Namespace

SELU_ALPHA = 1.6732632423543772
SELU_SCALE = 1.0507009873554805
FLOOR = -SELU_ALPHA * SELU_SCALE
"""SELU's limit for z -> -inf: the value that alpha dropout sets."""


def threshold(rate: float) -> int:
    """Bits below this number drop their element; at most 2**32 - 1, so that some can survive."""
    return min(round(rate * 2**32), 2**32 - 1)


def keep_rate(rate: float) -> float:
    """The probability that an element is kept, exactly as `threshold` implements it."""
    return 1.0 - threshold(rate) / 2**32


COARSE = 2**24
"""Rates that change from step to step are multiples of 1 / COARSE: float32 holds their thresholds
exactly, so that the masks are the same in every dtype.
"""


def mask(xp: Namespace, bits: Array, *, rate: float, scale: float, out: Array) -> None:
    """out = scale where an element is kept, 0 where it is dropped; bits uint32 and out (n, d)."""
    xp.greater_equal(bits, threshold(rate), out=out)
    out *= scale


def mask_by(xp: Namespace, bits: Array, threshold: Array, scale: Array, *, out: Array) -> None:
    """As `mask`, with the step's threshold and scale as arrays (1,) of out's dtype."""
    xp.greater_equal(bits, threshold, out=out)
    out *= scale


def forward(xp: Namespace, x: Array, m: Array, *, out: Array) -> None:
    """out = x m; x, m and out (n, d).

    With m's scale 1 / keep_rate the mean is preserved (inverted dropout). Source: Srivastava et
    al., "Dropout", 2014.
    """
    xp.multiply(x, m, out=out)


def backward(xp: Namespace, dy: Array, m: Array, *, out: Array) -> None:
    """out = dy m; out may be dy. The same for `forward` and `forward_alpha`."""
    xp.multiply(dy, m, out=out)


def forward_alpha(xp: Namespace, x: Array, m: Array, *, offset: float, out: Array) -> None:
    """out = (x - FLOOR) m + offset; x, m and out (n, d).

    Dropped elements are set to SELU's floor; the scale and offset of `alpha_affine` preserve mean 0
    and variance 1. Source: Klambauer et al., "Self-normalizing neural networks", 2017, section 3.
    """
    xp.subtract(x, FLOOR, out=out)
    out *= m
    out += offset


def alpha_affine(rate: float) -> tuple[float, float]:
    """The scale of the mask, and the offset, that `forward_alpha` needs for `rate`."""
    q = keep_rate(rate)
    a = 1.0 / math.sqrt(q + FLOOR**2 * q * (1.0 - q))
    return a, a * FLOOR - a * (1.0 - q) * FLOOR


def normals(
    xp: Namespace, bits: Array, *, std: float, out: Array, work: tuple[Array, Array]
) -> None:
    """out = N(0, std**2); bits uint32 (2 m,), out (2 m,), work two arrays (m,) of out's dtype.

    Two elements from each word: radius from its lower half, angle from its upper half.
    Source: Box and Muller, "A note on the generation of random normal deviates", 1958.
    """
    radius, angle = work
    xp.add(bits[0::2], 1.0, out=radius)
    radius *= 2.0**-32  # in (0, 1]: the logarithm is finite
    xp.log(radius, out=radius)
    radius *= -2.0 * std**2
    xp.sqrt(radius, out=radius)
    xp.multiply(bits[1::2], 2.0 * math.pi * 2.0**-32, out=angle)
    for part, wave in ((out[0::2], xp.cos), (out[1::2], xp.sin)):
        wave(angle, out=part)
        part *= radius


def add_noise(xp: Namespace, x: Array, noise: Array, *, out: Array) -> None:
    """out = x + noise; x, noise and out (n, d)."""
    xp.add(x, noise, out=out)
