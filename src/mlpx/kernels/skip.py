"""The skip connection around a block of layers: y = x + f(x)."""

from __future__ import annotations

from mlpx.types import Array, Namespace


def forward(xp: Namespace, x: Array, inner: Array, *, out: Array) -> None:
    """out = x + inner; all (n, d)."""
    xp.add(x, inner, out=out)


def backward(xp: Namespace, inner: Array, *, out: Array) -> None:
    """out += inner: dy, in out, plus the gradient through the inner layers; both (n, d)."""
    out += inner
