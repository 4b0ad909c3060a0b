"""Kernels alone: affine, activations, losses, optimizer rules."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx.kernels import affine
from mlpx.kernels.activations import Activation

WIDTHS = (784, 50)


def draw(backend: Any, *shape: int, dtype: str) -> Any:
    """Numbers from a fixed stream, on the device."""
    values = np.random.default_rng(0).standard_normal(shape)
    return backend.asarray(values.astype(dtype))


def test_affine_forward(timed, backend, batch_size, dtype):
    d, k = WIDTHS
    x, W = draw(backend, batch_size, d, dtype=dtype), draw(backend, d, k, dtype=dtype)
    b, out = draw(backend, k, dtype=dtype), backend.empty((batch_size, k), dtype)
    timed(lambda: affine.forward(backend.xp, x, W, b, out=out), rows=batch_size)


def test_affine_backward(timed, backend, batch_size, dtype):
    d, k = WIDTHS
    x, W = draw(backend, batch_size, d, dtype=dtype), draw(backend, d, k, dtype=dtype)
    dz, ones = draw(backend, batch_size, k, dtype=dtype), backend.zeros((1, batch_size), dtype)
    ones += 1
    dW, db = backend.empty((d, k), dtype), backend.empty(k, dtype)
    dx = backend.empty((batch_size, d), dtype)
    timed(
        lambda: affine.backward(backend.xp, dz, x, W, ones=ones, dW=dW, db=db, dx=dx),
        rows=batch_size,
    )


@pytest.mark.parametrize("name", ["sigmoid", "relu", "tanh", "gelu"])
@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_activation(timed, backend, batch_size, dtype, name, direction):
    f = Activation.resolve(name)
    z, out = (
        draw(backend, batch_size, 512, dtype=dtype),
        backend.empty((batch_size, 512), dtype),
    )
    work = tuple(backend.empty((batch_size, 512), dtype) for _ in range(f.scratch))
    if direction == "forward":
        timed(lambda: f.forward(backend.xp, z, out=out, work=work), rows=batch_size)
        return
    dy = draw(backend, batch_size, 512, dtype=dtype)
    timed(lambda: f.backward(backend.xp, dy, z, out=out, work=work), rows=batch_size)
