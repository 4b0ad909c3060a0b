"""The affine map z = x W + b, and its gradients."""

from __future__ import annotations

from mlpx.types import Array, Namespace


def forward(xp: Namespace, x: Array, W: Array, b: Array | None, *, out: Array) -> None:
    """z = x W + b.

    x (n, d), W (d, k), b (k,) or None -> out (n, k), overwritten.
    """
    xp.matmul(x, W, out=out)  # (n, k)
    if b is not None:
        xp.add(out, b, out=out)  # (n, k)


def backward(
    xp: Namespace,
    dz: Array,
    x: Array,
    W: Array,
    *,
    ones: Array,
    dW: Array,
    db: Array | None,
    dx: Array | None,
) -> None:
    """dW = x' dz, db = column sums of dz, dx = dz W'.

    dz (n, k), x (n, d), W (d, k), ones (1, n) -> dW (d, k), db (k,), dx (n, d), overwritten; None
    skips that one.
    """
    if len(x) == 1:
        xp.multiply(x.T, dz, out=dW)  # NumPy's matmul has no BLAS call for an outer product
    else:
        xp.matmul(x.T, dz, out=dW)  # (d, k)
    if db is not None:
        xp.matmul(ones, dz, out=db[None, :])  # a product is several times faster than a reduction
    if dx is not None:
        xp.matmul(dz, W.T, out=dx)  # (n, d)
