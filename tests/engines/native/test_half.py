"""Products whose factors are rounded to bfloat16, against float64's of rounded factors."""

from __future__ import annotations

import numpy as np
import pytest

from mlpx import MLP, Dense, Optimizer, Rescale
from mlpx.engines.native import library
from mlpx.errors import EngineError, InputError

pytestmark = pytest.mark.skipif(library.load() is None, reason="the native library was not built")
needs_bf16 = pytest.mark.skipif(not library.rounds_to_bf16(), reason="no AVX512_BF16")


def bf16(a: np.ndarray) -> np.ndarray:
    """The nearest numbers with 8 significant bits."""
    fraction, exponent = np.frexp(np.asarray(a, np.float32))
    return np.ldexp(np.rint(fraction * 256) / 256, exponent).astype(float)


@needs_bf16
@pytest.mark.parametrize(
    ("rows", "widths"),
    [
        (1, (37, 50, 10)),
        (3, (784, 65, 2)),
        (101, (37, 50, 10)),
        (230, (20, 64, 3)),
        (600, (700, 513, 3)),
    ],
)
def test_a_step_rounds_the_factors_of_every_product(
    rows: int, widths: tuple[int, int, int]
) -> None:
    """Odd numbers of terms, cut tiles and several blocks of depth among them."""
    d, h, k = widths
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=(rows, d)).astype(np.float32), rng.integers(0, k, rows)
    model = MLP([d, Dense(h, activation="tanh"), k], seed=1)
    before = {name: a.astype(float) for name, a in model.parameters.items()}
    history = model.fit(
        x, y, steps=1, batch_size=rows, sampling="sequential", precision="bf16", verbose=0,
        optimizer=Optimizer.table["sgd"](1.0), engine="native",
    )  # fmt: skip
    hidden = np.tanh(bf16(x) @ bf16(before["0.W"]) + before["0.b"])
    z = bf16(hidden) @ bf16(before["1.W"]) + before["1.b"]
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    dz = p.copy()
    dz[np.arange(rows), y] -= 1
    dz /= rows
    dh = bf16(dz) @ bf16(before["1.W"]).T * (1 - hidden**2)
    wanted = {
        "0.W": bf16(x).T @ bf16(dh), "0.b": dh.sum(axis=0),
        "1.W": bf16(hidden).T @ bf16(dz), "1.b": dz.sum(axis=0),
    }  # fmt: skip
    np.testing.assert_allclose(history.step_loss, -np.log(p[np.arange(rows), y]).mean(), rtol=1e-5)
    for name, gradient in wanted.items():
        found = before[name] - model.parameters[name]
        # Here and there a factor, itself computed in float32, is rounded to the other side.
        np.testing.assert_allclose(found, gradient, atol=4e-4 * abs(gradient).max(), err_msg=name)
        if name.endswith("W"):
            exact = {"0.W": x.astype(float).T @ dh, "1.W": hidden.T @ dz}[name]
            assert abs(exact - gradient).max() > 4 * abs(found - gradient).max()


@needs_bf16
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("batch_size", [8, 200])
def test_training_in_bf16_follows_float32(batch_size: int, threads: int) -> None:
    """Bytes as x, Adam, several threads, and products divided by columns; the same bits twice."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (400, 300), dtype=np.uint8)
    y = x[:, :5].argmax(axis=1)
    losses = []
    for precision in ("float32", "bf16", "bf16"):
        model = MLP([300, Rescale(1 / 255), Dense(300, activation="relu"), 5], seed=2)
        history = model.fit(
            x, y, epochs=4, batch_size=batch_size, precision=precision, threads=threads, verbose=0,
            engine="native",
        )  # fmt: skip
        assert all(a.dtype == np.float32 for a in model.parameters.values())
        losses.append(history.step_loss)
    exact, rounded, again = losses
    np.testing.assert_array_equal(rounded, again)
    assert 1e-6 < abs(rounded[0] - exact[0]) < 5e-3
    assert abs(rounded - exact).mean() < 0.02
    assert rounded[-5:].mean() < 0.95 * rounded[:5].mean()


def test_a_processor_without_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = np.ones((4, 3), np.float32), np.arange(4) % 2
    monkeypatch.setenv("MLPX_ISA", library.instruction_sets()[-1])
    with pytest.raises(EngineError, match="needs a processor with AVX512_BF16"):
        MLP([3, 2]).fit(x, y, precision="bf16", engine="native", verbose=0)
    with pytest.raises(EngineError, match="native: precision='bf16' needs a processor"):
        MLP([3, 2]).fit(x, y, precision="bf16", verbose=0)


def test_only_float32_is_rounded() -> None:
    x, y = np.ones((4, 3)), np.arange(4) % 2
    with pytest.raises(InputError, match="'bf16' with a model of float64 on cpu"):
        MLP([3, 2], dtype="float64").fit(x, y, precision="bf16", verbose=0)
    with pytest.raises(InputError, match=r"'tf32' .* float32 on CUDA: .* and device='cuda'"):
        MLP([3, 2]).fit(x, y, precision="tf32", verbose=0)
