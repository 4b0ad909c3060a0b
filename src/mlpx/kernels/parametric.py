"""y = a f(x) + (1 - a) x: between the identity and an activation f, by a learnt share of each unit.

Equal to x + a (f(x) - x), and with a = 1 exactly f(x), which the difference would round. x, y, out
and the arrays in work are (n, d); a, da and rest (d,). f is computed again on the way back, so that
only x is kept.
"""

from __future__ import annotations

from mlpx.kernels.activations import Activation
from mlpx.types import Array, Namespace


def forward(
    xp: Namespace,
    x: Array,
    a: Array,
    *,
    f: Activation,
    out: Array,
    rest: Array,
    work: tuple[Array, ...],
) -> None:
    """out = a f(x) + (1 - a) x; work holds one array and those of f, rest is scratch."""
    part, *inner = work
    f.forward(xp, x, out=out, work=tuple(inner))
    out *= a
    xp.subtract(1.0, a, out=rest)
    xp.multiply(x, rest, out=part)
    out += part


def backward(
    xp: Namespace,
    dy: Array,
    x: Array,
    a: Array,
    *,
    f: Activation,
    ones: Array,
    da: Array,
    out: Array,
    rest: Array,
    work: tuple[Array, ...],
) -> None:
    """da = column sums of dy (f(x) - x), out = dy (a f'(x) + 1 - a); ones (1, n), out may be dy.

    work holds two arrays and those of f, rest is scratch.
    """
    y, slope, *inner = work
    f.forward(xp, x, out=y, work=tuple(inner))
    kept = y if f.keeps == "output" else x
    f.backward(xp, dy, kept, out=slope, work=tuple(inner))
    y -= x
    y *= dy
    xp.matmul(ones, y, out=da[None, :])
    slope *= a
    xp.subtract(1.0, a, out=rest)
    xp.multiply(dy, rest, out=out)
    out += slope
