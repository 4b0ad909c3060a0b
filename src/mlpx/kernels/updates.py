"""Operations on gradients and parameters around an optimizer's rule. All arrays are slices of flat
vectors.

Numbers that change from step to step are arrays of shape (1,) on the device.
"""

from __future__ import annotations

from mlpx.types import Array, Namespace


def clip_values(xp: Namespace, g: Array, *, limit: float) -> None:
    """g = min(max(g, -limit), limit); NaN stays."""
    xp.clip(g, -limit, limit, out=g)


def sum_squares(xp: Namespace, g: Array, *, work: Array, out: Array) -> None:
    """out = sum_i g_i**2 in float64, so that no float32 gradient overflows; work of g's shape, out
    (1,).
    """
    xp.copyto(work, g)
    xp.multiply(work, work, out=work)
    work.sum(keepdims=True, out=out)


def norm_factor(xp: Namespace, squares: Array, *, limit: float, total: Array, out: Array) -> None:
    """out = min(1, limit / sqrt(sum(squares))); squares (m,) and total (1,) float64, out (1,)."""
    squares.sum(keepdims=True, out=total)
    xp.sqrt(total, out=total)
    xp.maximum(total, limit, out=total)
    xp.divide(limit, total, out=total)
    xp.copyto(out, total, casting="same_kind")


def scale(xp: Namespace, a: Array, factor: Array) -> None:
    """a = factor a; factor (1,)."""
    a *= factor


def add_decay(xp: Namespace, p: Array, g: Array, *, weight_decay: float, work: Array) -> None:
    """g = g + weight_decay p, the gradient of weight_decay / 2 |p|**2. Padding stays zero."""
    xp.multiply(p, weight_decay, out=work)
    g += work


def add(xp: Namespace, a: Array, *, out: Array) -> None:
    """out = out + a."""
    out += a


def blend(xp: Namespace, p: Array, *, keep: Array, weight: Array, out: Array, work: Array) -> None:
    """out = keep out + weight p, exact where one of the two is 0 and the other 1; keep, weight
    (1,).
    """
    out *= keep
    xp.multiply(p, weight, out=work)
    out += work
