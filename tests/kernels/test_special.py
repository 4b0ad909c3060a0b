"""erf, erfc and their parts; their accuracy over the whole range is held in test_numerics."""

from __future__ import annotations

import math
from math import inf, nan
from typing import Any

import numpy as np
import pytest
from reference import exact

from mlpx.kernels import special

DTYPES = ["float32", "float64"]


def call(name: str, x: Any, dtype: str = "float64") -> np.ndarray:
    x = np.asarray(x, dtype)
    out, work = np.empty_like(x), tuple(np.full_like(x, 9.0) for _ in range(3))
    with np.errstate(all="raise", under="ignore"):
        getattr(special, name)(np, x, out=out, work=work)
    return out


@pytest.mark.parametrize("name", ["erf", "erfc"])
def test_against_the_c_library(name: str) -> None:
    x = np.linspace(-6, 26, 641)
    wanted = [getattr(math, name)(float(value)) for value in x]
    np.testing.assert_allclose(call(name, x), wanted, rtol=3e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ends(dtype: str) -> None:
    x = [-inf, -1e30, -0.0, 0.0, 1e30, inf]
    assert call("erf", x, dtype).tolist() == [-1, -1, 0, 0, 1, 1]
    assert call("erfc", x, dtype).tolist() == [2, 2, 1, 1, 0, 0]
    for name in ("erf", "erfc"):
        found = call(name, [nan, 1.0], dtype)
        assert np.isnan(found).tolist() == [True, False]


def test_far_tail() -> None:
    wanted = [2.088487583762545e-45, 5.663192408856143e-296]
    np.testing.assert_allclose(call("erfc", [10.0, 26.0]), wanted, rtol=2e-15)


@pytest.mark.parametrize("dtype", DTYPES)
def test_erf_is_odd_and_without_a_step(dtype: str) -> None:
    x = np.linspace(0, 4, 801, dtype=dtype)
    np.testing.assert_array_equal(call("erf", -x, dtype), -call("erf", x, dtype))
    near = np.nextafter(np.array([0.5, 0.5], dtype), np.array([0, 1], dtype))
    low, high = call("erf", near, dtype)
    assert 0 <= high - low < 8 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("square", [0.5, 1.0])
def test_gauss_has_full_relative_precision(dtype: str, square: float) -> None:
    t = np.random.default_rng(0).uniform(0, 9, 2000).astype(dtype)
    out = np.empty_like(t)
    special.gauss(np, t, square=square, out=out, work=(np.empty_like(t), np.empty_like(t)))
    mpf = exact.CONTEXT.mpf
    wanted = [exact.CONTEXT.exp(-mpf(square) * mpf(float(v)) ** 2) for v in t]
    assert exact.errors(out, wanted)[0].max() < 8


@pytest.mark.parametrize("dtype", DTYPES)
def test_scaled_tail(dtype: str) -> None:
    t = np.concatenate([np.linspace(0, 40, 401), np.geomspace(1e-9, 1, 50)]).astype(dtype)
    out = np.empty_like(t)
    special.scaled_tail(np, t, out=out, work=(np.empty_like(t),))
    C, mpf = exact.CONTEXT, exact.CONTEXT.mpf
    wanted = [C.exp(mpf(float(v)) ** 2 / 2) * C.erfc(mpf(float(v)) / C.sqrt(2)) / 2 for v in t]
    assert exact.errors(out, wanted)[0].max() < 6


@pytest.mark.parametrize("coefficients", [(1.0, -3.0), (0.5, 0.0, 2.0, -1.0)])
def test_polynomial(coefficients: tuple[float, ...]) -> None:
    x = np.linspace(-2, 2, 9)
    out = np.empty_like(x)
    special.polynomial(np, x, coefficients, out=out)
    np.testing.assert_allclose(out, np.polyval(coefficients[::-1], x), atol=1e-14)


def test_logistic_takes_its_sign_from_z() -> None:
    z, u = np.array([-1.0, 1.0, 0.0]), np.array([2.0, 2.0, 0.0])
    special.logistic(np, z, u, out=z)
    np.testing.assert_allclose(z, [1 / (1 + math.exp(2)), 1 / (1 + math.exp(-2)), 0.5])
