"""Every activation of the table: against loops, by differences, and at the ends of the range."""

from __future__ import annotations

from math import inf, isnan, nan

import numpy as np
import pytest
from activation_cases import (
    CASES,
    ELEMENTWISE,
    NAMES,
    backward,
    forward,
    learnt,
    make,
    points,
    work_for,
)
from reference import activations as reference

from mlpx.kernels.activations import Softmax


def test_the_table_is_complete() -> None:
    wanted = (
        "identity sigmoid hard_sigmoid tanh relu leaky_relu prelu elu selu celu gelu gelu_tanh silu"
        " mish softplus softsign relu6 softmax"
    )
    assert set(wanted.split()) <= set(NAMES)


@pytest.mark.parametrize(("name", "values"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forward_is_the_formula(name: str, values: dict[str, float], dtype: str) -> None:
    f = make(name, values)
    z = points(f, dtype)
    wanted = np.array(reference.forward(name, z.astype(float).tolist(), **values))
    found = forward(f, z)
    assert found.dtype == z.dtype
    eps = np.finfo(dtype).eps  # the textbook's 1 + erf and 1 + tanh cancel; tails: test_numerics
    np.testing.assert_allclose(found, wanted, rtol=8 * eps, atol=4 * eps)


@pytest.mark.parametrize(("name", "values"), CASES)
def test_backward_is_the_derivative(name: str, values: dict[str, float]) -> None:
    f = make(name, values)
    z, h = points(f), 2e-5
    dy = np.random.default_rng(4).normal(size=z.shape)
    numeric = np.empty_like(z)
    for j in range(z.shape[1]):  # one column at a time: rows are independent
        step = np.zeros_like(z)
        step[:, j] = h
        rise = (forward(f, z + step) - forward(f, z - step)) / (2 * h)
        numeric[:, j] = (rise * dy).sum(axis=1)
    found = backward(f, dy, z)[0]
    assert np.abs(found - numeric).max() < 1e-7 * max(1e-30, np.abs(numeric).max())


@pytest.mark.parametrize("name", [name for name in NAMES if make(name).parameters()])
def test_gradient_of_what_it_learns(name: str) -> None:
    f = make(name)
    z, dy, h = points(f), np.random.default_rng(4).normal(size=(41, 3)), 1e-6
    own = {key: np.array([-0.3, 0.1, 1.4]) for key in f.parameters()}
    found = backward(f, dy, z, **own)[1]
    for key, value in own.items():
        up, down = ({**own, key: value + s * h} for s in (1, -1))
        rise = (forward(f, z, **up) - forward(f, z, **down)) / (2 * h)
        np.testing.assert_allclose(found[f"d{key}"], (rise * dy).sum(axis=0), rtol=1e-8)


@pytest.mark.parametrize(("name", "values"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_in_place_is_the_same(name: str, values: dict[str, float], dtype: str) -> None:
    f = make(name, values)
    z = points(f, dtype)
    dy = np.random.default_rng(4).normal(size=z.shape).astype(dtype)
    if f.keeps == "output":
        np.testing.assert_array_equal(forward(f, z, in_place=True), forward(f, z))
    np.testing.assert_array_equal(backward(f, dy, z, in_place=True)[0], backward(f, dy, z)[0])


@pytest.mark.parametrize("name", NAMES)
def test_what_is_kept_is_left_alone(name: str) -> None:
    f = make(name)
    z = points(f)
    z.flags.writeable = False
    dy = np.ones_like(z)
    dy.flags.writeable = False
    first = backward(f, dy, z)[0]
    np.testing.assert_array_equal(backward(f, dy, z)[0], first)


LIMITS = {
    "identity": (-inf, inf, 1, 1),
    "sigmoid": (0, 1, 0, 0),
    "hard_sigmoid": (0, 1, 0, 0),
    "tanh": (-1, 1, 0, 0),
    "softsign": (-1, 1, 0, 0),
    "relu": (0, inf, 0, 1),
    "relu6": (0, 6, 0, 0),
    "leaky_relu": (-inf, inf, 0.01, 1),
    "prelu": (-inf, inf, 0.25, 1),
    "elu": (-1, inf, 0, 1),
    "celu": (-1, inf, 0, 1),
    "selu": (-1.7580993408473766, inf, 0, 1.0507009873554805),
    "softplus": (0, inf, 0, 1),
    "silu": (0, inf, 0, 1),
    "gelu": (0, inf, 0, 1),
    "gelu_tanh": (0, inf, 0, 1),
    "mish": (0, inf, 0, 1),
}
"""f and f' at -inf and inf: (f(-inf), f(inf), f'(-inf), f'(inf))."""


@pytest.mark.parametrize("name", ELEMENTWISE)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_infinities_give_the_limits(name: str, dtype: str) -> None:
    f, z = make(name), np.array([[-inf, inf]], dtype)
    low, high, slope_low, slope_high = LIMITS[name]
    if name == "prelu":
        low = -0.25 * float(np.finfo(dtype).max)  # a slope of 0 times -inf would be NaN
    eps = np.finfo(dtype).eps
    with np.errstate(all="raise", under="ignore"):
        y = forward(f, z)
    np.testing.assert_allclose(y, [[low, high]], rtol=2 * eps)
    with np.errstate(all="raise", under="ignore", over="ignore"):
        slope = backward(f, np.ones_like(z), z)[0]
    np.testing.assert_allclose(slope, [[slope_low, slope_high]], rtol=2 * eps, atol=2 * eps)


@pytest.mark.parametrize(("name", "values"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_finite_stays_finite(name: str, values: dict[str, float], dtype: str) -> None:
    info = np.finfo(dtype)
    largest = float(info.max) / 4  # prelu's slope and SELU's scale fit
    sizes = [0, info.smallest_subnormal, info.tiny, 1e-20, 1, 80, 90, 700, 800, 1e18, 1e20, largest]
    z = np.array([[s, -s] for s in sizes], dtype)
    f = make(name, values)
    with np.errstate(all="raise", under="ignore"):
        y = forward(f, z)
        own = {key: value.repeat(len(z)) for key, value in learnt(f, z).items()}
        row = z if not f.elementwise else z.T.reshape(1, -1)  # so that no sum overflows
        dz = backward(f, np.ones_like(row), row, **own)[0]
    assert np.isfinite(y).all()
    assert np.isfinite(dz).all()


@pytest.mark.parametrize(("name", "values"), CASES)
def test_nan_comes_out(name: str, values: dict[str, float]) -> None:
    f = make(name, values)
    z = np.array([[0.5, nan], [2.0, -1.0]])
    y = forward(f, z)
    assert isnan(y[0, 1])
    assert np.isfinite(y[1]).all()
    for sign in (1, -1):
        dz = backward(f, np.array([[1.0, 1.0], [nan, 1.0]]), sign * abs(np.nan_to_num(z)))[0]
        assert isnan(dz[1, 0])


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_elementwise_means_one_column_at_a_time(name: str) -> None:
    f = make(name)
    z = points(f)
    alone = np.concatenate([forward(f, z[:, [j]].copy()) for j in range(3)], axis=1)
    np.testing.assert_array_equal(alone, forward(f, z))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (7, 1)])
def test_small_and_column_major(name: str, shape: tuple[int, int]) -> None:
    f = make(name)
    z = np.random.default_rng(1).normal(size=shape)
    fortran = np.asfortranarray(z)
    wanted = reference.forward(name, z.tolist())
    np.testing.assert_allclose(forward(f, fortran), wanted, rtol=1e-14)
    assert backward(f, np.ones(shape), fortran)[0].shape == shape


def test_kinks_are_where_the_derivative_jumps() -> None:
    for name in ELEMENTWISE:
        f = make(name, {"alpha": 0.5} if name == "elu" else {})  # for alpha = 1 it has no jump
        for kink in {*f.kinks, -3.0, 0.0, 1.0, 3.0, 6.0}:
            near = np.array([[kink - 1e-9, kink + 1e-9]])
            slopes = backward(f, np.ones((1, 2)), near)[0][0]
            jumps = abs(slopes[1] - slopes[0]) > 1e-6
            assert jumps == (kink in f.kinks)


@pytest.mark.parametrize("name", NAMES)
def test_no_scratch_is_asked_for_in_vain(name: str) -> None:
    f = make(name, {"alpha": 0.5} if name == "elu" else {})  # for alpha = 1 it needs less
    z = points(f)
    kept = z if f.keeps == "input" else forward(f, z)
    first, second, own = work_for(f, z), work_for(f, z), learnt(f, z)
    f.forward(np, z, out=np.empty_like(z), work=first, **own)
    grads = {f"d{key}": np.empty_like(value) for key, value in own.items()}
    ones = {"ones": np.ones((1, len(z)))} if own else {}
    f.backward(np, z, kept, out=np.empty_like(z), work=second, **own, **grads, **ones)
    for before, *after in zip(work_for(f, z), first, second, strict=True):
        assert any((before != array).any() for array in after)


def test_softmax_of_large_logits() -> None:
    z = np.array([[1e4, -1e4, 1e4], [-1e308, 1e308, 0.0], [-inf, 0.0, 0.0]])
    with np.errstate(all="raise", under="ignore"):
        y = forward(Softmax(), z)
    np.testing.assert_array_equal(y, [[0.5, 0, 0.5], [0, 1, 0], [0, 0.5, 0.5]])
