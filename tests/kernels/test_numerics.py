"""How exact each elementwise kernel is over the whole range of its dtype, against fifty digits.

`docs/make_numerics.py` publishes what `measure` finds on a denser grid than these tests use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from reference import exact

from mlpx.kernels import special
from mlpx.kernels.activations import Activation

KERNELS = [name for name, f in Activation.table.items() if f.elementwise]
SPECIAL = ["erf", "erfc"]
DTYPES = ["float32", "float64"]

# Units in the last place: (forward, backward) in float32, (forward, backward) in float64.
# None: the backward works on the output, which cannot tell a slope that is far below one unit of
# it; there the error is held as a share of the largest slope only.
BOUNDS: dict[str, tuple[tuple[float, float | None], tuple[float, float | None]]] = {
    "identity": ((0, 0), (0, 0)),
    "sigmoid": ((5, None), (3, None)),
    "hard_sigmoid": ((1, 1), (1, 1)),
    "tanh": ((4, None), (3, None)),
    "relu": ((0, 0), (0, 0)),
    "relu6": ((0, 0), (0, 0)),
    "leaky_relu": ((1, 1), (1, 1)),
    "prelu": ((1, 1), (1, 1)),
    "elu": ((4, None), (3, None)),
    "celu": ((4, None), (3, None)),
    "selu": ((5, None), (4, None)),
    "softplus": ((6, 6), (4, 4)),
    "softsign": ((2, None), (2, None)),
    "silu": ((6, 12), (4, 8)),
    "gelu": ((12, 24), (8, 16)),
    "gelu_tanh": ((200, 200), (1500, 1500)),
    "mish": ((8, 24), (6, 24)),
    "erf": ((4, None), (4, None)),
    "erfc": ((10, None), (8, None)),
}
FLAT = 3.0
"""The backward's error in units of eps max(1, |slope|), everywhere."""
SMALL = {"silu": 800, "mish": 800, "gelu": 40, "gelu_tanh": 1500}
"""Where |f| is below 256 of the smallest normal number: units of the smallest denormal; else 8."""


@dataclass(frozen=True)
class Errors:
    """The worst of a grid: in ULP, in eps max(1, |value|), and in denormals where it is tiny."""

    ulp: float
    flat: float
    small: float


def worst(found: np.ndarray, name: str, mantissas: float, *, slope: bool) -> Errors:
    z = exact.grid(found.dtype.name, mantissas)
    wanted = exact.truth(name, found.dtype.name, mantissas, slope=slope)
    largest = float(np.finfo(found.dtype).max)
    fits = np.array([abs(t) <= largest for t in wanted])
    assert np.isfinite(found[fits]).all()
    assert not np.isnan(found).any()
    pairs = [t for t, fit in zip(wanted, fits, strict=True) if fit]
    ulps, flat, small = exact.errors(found[fits], pairs)
    low, high = exact.ROOTS.get(name, (0, 0)) if slope else (0, 0)
    near_root = (z[fits] > low) & (z[fits] < high)
    return Errors(
        ulps[~small & ~near_root].max(initial=0.0), flat.max(), ulps[small].max(initial=0.0)
    )


def measure(name: str, dtype: str, *, mantissas: float) -> tuple[Errors, Errors | None]:
    """The errors of a kernel's forward and of its backward as a function of the input."""
    z = exact.grid(dtype, mantissas)[None, :]
    # SELU's scale takes the largest numbers beyond the dtype: infinity is right there.
    with np.errstate(all="raise", under="ignore", over="ignore" if name == "selu" else "raise"):
        y, slope = run_special(name, z) if name in SPECIAL else run_activation(name, z)
    forward = worst(y[0], name, mantissas, slope=False)
    return forward, None if slope is None else worst(slope[0], name, mantissas, slope=True)


def run_special(name: str, z: np.ndarray) -> tuple[np.ndarray, None]:
    out, work = np.empty_like(z), tuple(np.empty_like(z) for _ in range(3))
    getattr(special, name)(np, z, out=out, work=work)
    return out, None


def run_activation(name: str, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    f: Activation = Activation.table[name]()
    y, slope = np.empty_like(z), np.ones_like(z)
    work = tuple(np.empty_like(z) for _ in range(f.scratch))
    own = {key: np.full(z.shape[1], start, z.dtype) for key, start in f.parameters().items()}
    f.forward(np, z, out=y, work=work, **own)
    grads = {f"d{key}": np.empty_like(value) for key, value in own.items()}
    ones = {"ones": np.ones((1, 1), z.dtype)} if own else {}
    kept = z if f.keeps == "input" else y
    f.backward(np, slope, kept, out=slope, work=work, **own, **grads, **ones)
    return y, slope


@pytest.mark.parametrize("mantissas", [0.2, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS + SPECIAL)
def test_bound_is_held(name: str, dtype: str, mantissas: float) -> None:
    forward_bound, backward_bound = BOUNDS[name][DTYPES.index(dtype)]
    forward, backward = measure(name, dtype, mantissas=mantissas)
    assert forward.ulp <= forward_bound
    assert forward.small <= SMALL.get(name, 8)
    if backward is not None:
        assert backward.flat <= FLAT
    if backward is not None and backward_bound is not None:
        assert backward.ulp <= backward_bound
        assert backward.small <= SMALL.get(name, 8)


def test_every_kernel_has_a_truth_and_a_bound() -> None:
    assert set(KERNELS + SPECIAL) == set(exact.FORWARD) == set(BOUNDS)
    assert set(KERNELS) == set(exact.SLOPE)


TAILS = [
    ("sigmoid", -30.0, 9.357622968839299e-14),
    ("sigmoid", -100.0, 3.720075976020836e-44),
    ("gelu", -10.0, -7.619853024160526e-23),
    ("softplus", -100.0, 3.720075976020836e-44),
    ("softplus", 100.0, 100.0),
    ("silu", -30.0, -2.8072868906517896e-12),
    ("mish", -30.0, -2.8072868906519210e-12),
    ("tanh", 1e-20, 1e-20),
    ("elu", -1e-20, -1e-20),
]


@pytest.mark.parametrize(("name", "z", "wanted"), TAILS)
def test_tails(name: str, z: float, wanted: float) -> None:
    found = run_activation(name, np.array([[z]]))[0]
    np.testing.assert_allclose(found, [[wanted]], rtol=1e-14)
