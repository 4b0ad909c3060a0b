"""Products with rounded factors: TF32, bfloat16 and float16."""

from __future__ import annotations

from typing import Any

import cudasim
import numpy as np
import pytest
from cuda_training import images, network, train

from mlpx import MLP, Dense, Optimizer
from mlpx.errors import EngineError, InputError, UnknownNameError

pytestmark = [
    pytest.mark.usefixtures("fake_cupy"),
    pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler"),
]


def test_tf32_is_asked_of_cublaslt(fake_cupy: Any) -> None:
    """The fake computes in float32, without rounding to TF32."""
    found = []
    for precision in ("float32", "tf32"):
        fake_cupy.cublaslt.computes.clear()
        model = network()
        _, history = train(model=model, precision=precision)
        assert history.engine == "cuda"
        found.append((set(fake_cupy.cublaslt.computes), history.step_loss))
    assert [computes for computes, _ in found] == [{68}, {77}]
    np.testing.assert_array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_factors_of_products_alone_are_rounded(
    precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first loss is that of rounded factors, and the weights stay float32."""
    rounded = {"bf16": bf16, "fp16": fp16}[precision]
    model = network()
    weights = {name: W.get() for name, W in model.parameters.items()}
    x, y = images()
    history = model.fit(
        x, y, steps=1, batch_size=230, sampling="sequential", precision=precision, verbose=0,
        optimizer="sgd",
    )  # fmt: skip
    assert history.engine == "cuda"
    h = np.maximum(rounded(x / np.float32(255)) @ rounded(weights["1.W"]) + weights["1.b"], 0)
    h = np.maximum(rounded(h) @ rounded(weights["2.W"]) + weights["2.b"], 0)
    z = h @ weights["3.W"] + weights["3.b"]  # few outputs are no product of cublasLt's
    z = z.astype(np.float64)
    loss = np.log(np.exp(z).sum(axis=1)) - z[np.arange(230), y]
    np.testing.assert_allclose(history.step_loss, loss.mean(), rtol=1e-6)
    right = train()[1].step_loss
    replayed = train(precision=precision)[1]
    assert 1e-6 < np.abs(replayed.step_loss - right).max() < 0.1
    assert "cublasLt" not in replayed.engine_reason  # every row is aligned, those of 10 too
    monkeypatch.setattr("mlpx.engines.cuda.replayer.capture", refuse_capture)
    launched = train(precision=precision)[1]
    np.testing.assert_array_equal(launched.step_loss, replayed.step_loss)


@pytest.mark.parametrize("size", [1e-8, 1e7])
def test_float16_has_room_for_any_size(size: float) -> None:
    """Features and gradients far below and above float16's range train as in float32."""
    rng = np.random.default_rng(0)
    x = (size * rng.normal(size=(64, 9))).astype(np.float32)
    y = rng.normal(size=(64, 3)).astype(np.float32)
    weights = [w.astype(np.float32) for w in (rng.normal(size=(9, 3)) / size, 0 * y[0])]
    found = []
    for precision in ("float32", "fp16"):
        model = MLP([9, Dense(3)], loss="mean_squared_error", device="cuda")
        for parameter, value in zip(model.parameters.values(), weights, strict=True):
            parameter[...] = model.backend.asarray(value)
        sgd = Optimizer.table["sgd"](0.1 / size**2, rate_multipliers={"bias": size**2})
        history = model.fit(
            x, y, steps=4, batch_size=64, optimizer=sgd, precision=precision, verbose=0
        )  # fmt: skip
        found.append(history.step_loss)
    assert found[0][-1] < 0.8 * found[0][0]
    np.testing.assert_allclose(found[1], found[0], rtol=2e-3)


def refuse_capture(*_: Any) -> None:
    raise RuntimeError("not now")


def bf16(a: np.ndarray) -> np.ndarray:
    """The nearest numbers with 8 significant bits."""
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.rint(fraction * 256) / 256, exponent).astype(np.float32)


def fp16(a: np.ndarray) -> np.ndarray:
    """The nearest numbers with 11 significant bits; denormals here do not matter in any sum."""
    fraction, exponent = np.frexp(a)
    return np.ldexp(np.rint(fraction * 2048) / 2048, exponent).astype(np.float32)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_narrow_factors_need_their_kernel(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from mlpx.engines.cuda import kernels

    has = kernels.CudaTarget.has
    monkeypatch.setattr(
        kernels.CudaTarget,
        "has",
        lambda self, name, dtype: name != f"to_{precision}" and has(self, name, dtype),
    )
    with pytest.raises(EngineError, match=f"no operation to_{precision}"):
        train("cuda", precision=precision)


def test_a_precision_that_is_not_there_is_refused() -> None:
    with pytest.raises(EngineError, match="precision='tf32' is none of its own"):
        train("interpreter", precision="tf32")
    with pytest.raises(InputError, match="float64 on cuda:0; it rounds float32 on CUDA"):
        train(model=network(dtype="float64"), precision="tf32")
    with pytest.raises(InputError, match="float32 on cpu"):
        train(model=network("cpu"), precision="tf32")
    with pytest.raises(UnknownNameError, match="did you mean 'tf32'"):
        train(precision="tf23")
