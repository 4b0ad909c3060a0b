"""Our own matrix products against float64's, over shapes that end in the middle of a tile."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import pytest

from mlpx.engines.native import NativeEngine, library
from mlpx.engines.native.library import load
from mlpx.errors import EngineError

OURS = available().get("mlpx")
pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")
needs_avx512 = pytest.mark.skipif(OURS is None, reason="no AVX-512 in this processor")
ROWS, TRANSPOSED, PLAIN = 101, 112, 111
REALS: dict[str, Any] = {"float32": ctypes.c_float, "float64": ctypes.c_double}
SHAPES = [
    *((1, 1, 1), (1, 50, 784), (7, 50, 784), (12, 32, 256), (13, 33, 257), (24, 64, 20)),
    *((25, 16, 511), (96, 512, 64), (97, 513, 300), (100, 10, 50), (200, 1030, 3)),
]


def product(
    dtype: str, a: np.ndarray, b: np.ndarray, c: np.ndarray, *, ta: bool, tb: bool,
    alpha: float, beta: float,
) -> None:  # fmt: skip
    """c = alpha op(a) op(b) + beta c."""
    assert OURS is not None
    m, n = c.shape
    k = a.shape[0] if ta else a.shape[1]
    whole, real, pointer = ctypes.c_int64, REALS[dtype], ctypes.c_void_p
    kinds = [ctypes.c_int] * 3 + [whole] * 3 + [real, pointer, whole, pointer, whole]
    gemm = ctypes.CFUNCTYPE(None, *kinds, real, pointer, whole)(OURS.gemm[dtype])
    flags = [TRANSPOSED if t else PLAIN for t in (ta, tb)]
    gemm(
        ROWS, *flags, m, n, k, alpha, a.ctypes.data, a.shape[1], b.ctypes.data, b.shape[1], beta,
        c.ctypes.data, n,
    )  # fmt: skip


@needs_avx512
@pytest.mark.parametrize("tb", [False, True])
@pytest.mark.parametrize("ta", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", REALS)
def test_products(dtype: str, shape: tuple[int, int, int], ta: bool, tb: bool) -> None:
    m, n, k = shape
    rng = np.random.default_rng(m + n + k)
    a = rng.normal(size=(k, m) if ta else (m, k)).astype(dtype)
    b = rng.normal(size=(n, k) if tb else (k, n)).astype(dtype)
    c = rng.normal(size=(m, n)).astype(dtype)
    left = (a.T if ta else a).astype(float)
    right = (b.T if tb else b).astype(float)
    # Each sum is of k products: its error is at most k eps of the sum of their sizes.
    bound = (k + 3) * np.finfo(dtype).eps * (abs(left) @ abs(right) + abs(c))
    added = c.copy()
    product(dtype, a, b, added, ta=ta, tb=tb, alpha=-0.5, beta=1.0)
    assert (abs(added - (c - 0.5 * (left @ right))) <= bound).all()
    fresh = np.full_like(c, np.nan)
    product(dtype, a, b, fresh, ta=ta, tb=tb, alpha=1.0, beta=0.0)
    assert (abs(fresh - left @ right) <= bound).all()


@needs_avx512
def test_nan_and_infinity_come_through() -> None:
    a, b = np.ones((3, 4), np.float32), np.ones((4, 40), np.float32)
    a[1, 2], b[0, 39] = np.nan, np.inf
    c = np.zeros((3, 40), np.float32)
    product("float32", a, b, c, ta=False, tb=False, alpha=1.0, beta=0.0)
    assert np.isnan(c[1]).all()
    assert np.isposinf(c[[0, 2], 39]).all()
    assert (c[[0, 2], :39] == 4).all()


def test_the_blas_is_chosen_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in available():
        monkeypatch.setenv("MLPX_BLAS", name.upper())
        blas.cache_clear()
        assert blas().name == name
    monkeypatch.setenv("MLPX_BLAS", "fastblas")
    blas.cache_clear()
    with pytest.raises(EngineError, match="'fastblas'; this process has"):
        blas()
    monkeypatch.undo()
    blas.cache_clear()


@needs_avx512
@pytest.mark.parametrize(("kind", "chosen"), [("Haswell", "mlpx"), ("SkylakeX", "openblas")])
def test_openblas_is_left_where_it_wastes_the_processor(
    kind: str, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Controller:
        internal_api, architecture = "openblas", kind

    monkeypatch.setattr(library, "controllers", lambda: (Controller(),))
    monkeypatch.setattr(
        library, "available", lambda: {"openblas": library.Blas("openblas", {}, True), "mlpx": OURS}
    )
    monkeypatch.delenv("MLPX_BLAS", raising=False)
    blas.cache_clear()
    assert blas().name == chosen
    blas.cache_clear()


@pytest.mark.parametrize("loaded", [["mkl", "openblas", "mlpx"], ["mkl", "mlpx"], ["mkl"]])
@pytest.mark.parametrize("kind", ["Haswell", "SkylakeX"])
def test_mkl_comes_last_where_something_loaded_it(
    loaded: list[str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Controller:
        internal_api, architecture = "openblas", kind

    found = {name: library.Blas(name, {}, False) for name in loaded}
    monkeypatch.setattr(library, "controllers", lambda: [Controller()] * ("openblas" in loaded))
    monkeypatch.setattr(library, "available", lambda: found)
    monkeypatch.delenv("MLPX_BLAS", raising=False)
    blas.cache_clear()
    wide = "openblas" in loaded and kind == "SkylakeX"
    chosen = "openblas" if wide else "mlpx" if "mlpx" in loaded else "mkl"
    assert blas().name == chosen
    assert NativeEngine().describe().startswith(f"{chosen}, ")
    assert blas("mkl").name == "mkl"
    with pytest.raises(EngineError, match="load the library before mlpx trains"):
        blas("accelerate")
    blas.cache_clear()
