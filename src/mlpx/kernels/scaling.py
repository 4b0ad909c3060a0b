"""y = x scale + offset with fixed scale and offset."""

from __future__ import annotations

from mlpx.types import Array, Namespace


def forward(xp: Namespace, x: Array, *, scale: float, offset: float, out: Array) -> None:
    """out = x scale + offset; x and out of one shape."""
    xp.multiply(x, scale, out=out)
    if offset:
        out += offset


def backward(xp: Namespace, dy: Array, *, scale: float, out: Array) -> None:
    """out = dy scale; out may be dy."""
    xp.multiply(dy, scale, out=out)
