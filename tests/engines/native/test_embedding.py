"""The native kernels of embeddings: the accuracy of waves, shares of threads, and odd codes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cudasim.cases import CASES, Given
from cudasim.checking import errors
from embedded import with_codes
from native_kernels import alone, output, placed, run

from mlpx import MLP, Dense, Embedding, PeriodicEmbedding, PiecewiseLinearEmbedding
from mlpx.engines import predictor
from mlpx.engines.lowering.fields import FIELDS
from mlpx.engines.native.library import Op, load
from mlpx.engines.native.prediction import NativePredictor
from mlpx.engines.predict import ForwardProgram

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")


@pytest.fixture(autouse=True)
def room() -> None:
    """The thread has memory of its own, as it has in a program."""
    library, state = load(), np.zeros(2, np.int64)
    assert library is not None
    assert library.mlpx_run((Op * 1)(), 0, 0, state.ctypes.data, None, 1)


KERNELS = [name for name in CASES if name.startswith(("look_up", "waves", "pieces"))]
BY_ROWS = [name for name in KERNELS if not name.endswith("_sums")]


def fields(name: str, n: tuple[int, ...], p: list[Any]) -> dict[str, Any]:
    """Sizes and arrays by the names that operations have for them."""
    parts = n, (), p
    return {
        field: parts[kind][at]
        for field, (kind, at) in FIELDS[name].places.items()
        if at < len(parts[kind])
    }


def results(name: str, case: Any, dtype: str, **how: int) -> list[np.ndarray]:
    """The arrays after the kernel, each guarded."""
    p = [
        output(a, dtype) if i in case.wanted else placed(a, dtype, around=7)
        if a.dtype.kind == "f" else a
        for i, a in enumerate(case.p)
    ]  # fmt: skip
    run(name, dtype, **how, **fields(name, case.n, p))
    assert all(alone(p[i]) for i in case.wanted)
    return p


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", KERNELS)
def test_kernel(name: str, dtype: str, isa: str) -> None:
    """Against NumPy in float64, and the same bits whatever share each of many threads has."""
    for make in CASES[name]:
        for shape in ((1, 1), (33, 10), (600, 4)):
            case = make(Given(dtype, *shape))
            found = results(name, case, dtype)
            for wrong in errors(case, found, dtype):
                assert wrong.units <= 40, wrong
            for threads in (2, 5):
                again = results(name, case, dtype, threads=threads)
                for i in case.wanted:
                    np.testing.assert_array_equal(again[i], found[i])


@pytest.mark.parametrize("name", BY_ROWS)
def test_tiles_change_nothing(name: str, isa: str) -> None:
    case = CASES[name][0](Given("float32", 77, 5))
    (i,) = case.wanted
    found, again = (results(name, case, "float32", threads=2, tiles=tiles)[i] for tiles in (1, 4))
    np.testing.assert_array_equal(again, found)


TURNS = np.concatenate([np.linspace(-1.5, 1.5, 4801), np.random.default_rng(0).normal(size=5000)])
EPS = {"float32": 2.0**-23, "float64": 2.0**-52}


def waves_of(u: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """cos(2 pi u) as the forward pass has it, and sin(2 pi u) as the backward pass."""
    one, blank = np.ones((1, 1), dtype), np.zeros((1, 1), dtype)
    given = {"embedded": 1, "width": 2, "waves": 1, "w": one, "b": blank, "V": one}
    both = np.zeros((len(u), 2), dtype)
    sizes = {"rows": len(u), "columns": 2, "inputs": 1}
    run("waves", dtype, **sizes, **given, x=u, c=blank, out=both)
    db, sizes = np.zeros_like(u), {"rows": 1, "all_waves": 1, "inputs": 1}
    dy = np.array([[0, 1]], dtype)
    for i in range(len(u)):
        sums = {"dw": blank.copy(), "db": db[i : i + 1], "dV": blank.copy(), "dc": blank.copy()}
        run("waves_sums", dtype, **sizes, **given, x=u[i : i + 1], dy=dy, **sums)
    return both[:, 1], -db


@pytest.mark.parametrize("dtype", EPS)
def test_waves_are_within_three_eps_of_one(dtype: str, isa: str) -> None:
    u = TURNS.astype(dtype)
    exact = 2 * np.pi * (u.astype(np.longdouble) - np.rint(u))
    for found, wanted in zip(waves_of(u, dtype), (np.cos(exact), np.sin(exact)), strict=True):
        assert float(abs(found - wanted).max()) <= 3 * EPS[dtype]


@pytest.mark.parametrize("dtype", EPS)
def test_what_is_not_finite_gives_nan_and_large_turns_a_wave(dtype: str, isa: str) -> None:
    u = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, 2.0**40 + 0.25, 0, 1, -3], dtype)
    for found, at_zero in zip(waves_of(u, dtype), (1, 0), strict=True):
        assert np.isnan(found[:3]).all()
        assert (abs(found[3:]) <= 1 + EPS[dtype]).all()
        np.testing.assert_allclose(found[-3:], at_zero, rtol=0, atol=EPS[dtype])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_predictions_are_the_interpreters(dtype: str, isa: str) -> None:
    """Of one row, of some, and of more than a chunk; a row's numbers are the same in all."""
    layers = [
        5,
        PiecewiseLinearEmbedding(((-1.0, 0.0, 0.5),)),
        PeriodicEmbedding(17, frequencies=3),
        Embedding((5, 30), width=3),
        Dense(20, activation="tanh"),
        2,
    ]
    model = MLP(layers, dtype=dtype)
    assert isinstance(predictor(model), NativePredictor)
    x = with_codes(np.random.default_rng(1).normal(size=(2500, 5)), layers)
    wanted = ForwardProgram(model, rows=len(x)).run(x)
    bound = 100 * EPS[dtype]
    for n in (1, 37, 2500):
        np.testing.assert_allclose(model.predict_logits(x[:n]), wanted[:n], rtol=bound, atol=bound)
