"""The accuracy of the native library's formulas, in units in the last place.

It is that of every instruction set: compilers fuse multiplications and additions where there is an
instruction for it, so each rounds in its own way.
"""

from __future__ import annotations

import numpy as np
import pytest

from mlpx.engines.native.library import Op, load
from mlpx.kernels.activations import Activation

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")

HELD = {
    "identity": 0, "relu": 0, "relu6": 0, "leaky_relu": 1, "hard_sigmoid": 1, "softsign": 2,
    "sigmoid": 3, "tanh": 3, "elu": 3, "celu": 3, "selu": 4, "softplus": 4, "silu": 4, "mish": 6,
    "gelu": 12, "gelu_tanh": 200,
}  # fmt: skip
"""The largest error, as docs/numerics.md has it; everything stands on exp, of 2 ULP."""


def run(f: Activation, z: np.ndarray, isa: str) -> np.ndarray:
    """f(z) by the library's formula, compiled for an instruction set."""
    library, y = load(), np.empty_like(z)
    assert library is not None
    kernel = library.mlpx_kernel(isa.encode(), f"activation.{z.dtype.name}".encode())
    op, fields = Op(kernel=kernel, chain=1, tiles=1), [*f.config().values()][2:]
    op.n[:4] = [1, z.size, library.mlpx_activation(f.name.encode()), 0]
    op.c[: len(fields)], op.p[:3] = fields, [z.ctypes.data, y.ctypes.data, None]
    state = np.zeros(2, np.int64)
    library.mlpx_run((Op * 1)(op), 1, 1, state.ctypes.data, None, 1)
    return y


def test_every_formula_has_its_bound() -> None:
    library = load()
    assert library is not None
    there = {name for name in Activation.table if library.mlpx_activation(name.encode()) >= 0}
    assert there == set(HELD)


@pytest.mark.parametrize("name", HELD)
def test_single_precision(name: str, isa: str) -> None:
    """Against the same formula in double precision, which the next test checks."""
    rng, info = np.random.default_rng(0), np.finfo(np.float32)
    spread = [rng.uniform(-width, width, 100_000) for width in (1, 20, 100)]
    z = np.concatenate([*spread, rng.normal(size=100_000)]).astype(np.float32)
    f = Activation.resolve(name)
    found, exact = run(f, z, isa).astype(np.float64), run(f, z.astype(np.float64), isa)
    normal = np.abs(exact) > 256 * info.tiny  # below, intermediate results are flushed to zero
    ulp = np.abs(found - exact) / np.spacing(np.abs(exact).astype(np.float32))
    assert ulp[normal].max() <= HELD[name]
    assert np.abs(found[~normal]).max(initial=0) <= 300 * info.tiny


@pytest.mark.parametrize("name", HELD)
def test_double_precision(name: str, isa: str) -> None:
    """Against the array kernel, whose bounds against fifty digits are in docs/numerics.md."""
    z = np.concatenate([np.linspace(-30, 30, 20_001), np.random.default_rng(1).normal(size=20_000)])
    f = Activation.resolve(name)
    wanted = np.empty_like(z)[None]
    work = tuple(np.empty_like(wanted) for _ in range(f.scratch))
    f.forward(np, z[None].copy(), out=wanted, work=work)
    ulp = np.abs(run(f, z, isa) - wanted[0]) / np.spacing(np.abs(wanted[0]))
    normal = np.abs(wanted[0]) > 1e-250
    # Far out, gelu_tanh has an exp of up to 575, each of whose roundings counts 575 times.
    assert ulp[normal].max() <= 2 * HELD[name] + 8 + 1200 * (name == "gelu_tanh")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", HELD)
def test_what_is_not_finite(name: str, dtype: str, isa: str) -> None:
    """NaN gives NaN, and infinity the limit, as the array kernels do."""
    z = np.array([np.nan, np.inf, -np.inf, 0.0, 1e30, -1e30], dtype)
    f = Activation.resolve(name)
    wanted = np.empty_like(z)[None]
    work = tuple(np.empty_like(wanted) for _ in range(f.scratch))
    with np.errstate(all="ignore"):
        f.forward(np, z[None].copy(), out=wanted, work=work)
    np.testing.assert_allclose(run(f, z, isa), wanted[0], rtol=1e-5)
