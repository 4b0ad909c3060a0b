"""The way around a block of layers: y = x + f(x)."""

from __future__ import annotations

from mlpx.types import Array, Namespace


def forward(xp: Namespace, x: Array, inner: Array, *, out: Array) -> None:
    """out = x + inner; all (n, d)."""
    xp.add(x, inner, out=out)


def backward(xp: Namespace, inner: Array, *, out: Array) -> None:
    """out, which holds dy, gets the gradient through the layers inside added; both (n, d)."""
    out += inner
