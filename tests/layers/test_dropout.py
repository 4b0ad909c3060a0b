"""Dropout, alpha dropout and noise: against loops, in their statistics, and in their streams."""

from __future__ import annotations

import math
from typing import Any

import fakecupy
import numpy as np
import pytest
from reference import layers as reference
from stepping import Step

from mlpx import MLP, SGD, AlphaDropout, Dense, Dropout, GaussianNoise, Layer, Residual
from mlpx.errors import InputError, InputTypeError
from mlpx.kernels import dropout
from mlpx.random import Purpose, words

RATES = [round(rate * 2**32) / 2**32 for rate in (1e-9, 0.1, 0.5, 0.9, 1 - 1e-6)]
"""Rates are kept to 32 bits; between them lies less than any count of elements could show."""


def output(layer: Layer, x: np.ndarray, *, step: int = 0, device: str = "cpu") -> Any:
    """What `layer` alone makes of x in a training step."""
    model = MLP(
        [x.shape[1], layer, 2], dtype=x.dtype.name, seed=21, device=device, initializer="zeros"
    )
    run = Step(model, x, np.zeros(len(x), dtype=np.int64), step=step)
    run.loss()
    return model.backend.to_numpy(run.sites[1].kept["x"])


def drawn(purpose: Purpose, size: int, *, step: int = 0, item: int = 0) -> np.ndarray:
    return words(21, purpose, count=-(-size // 8) * 4, step=step, item=item)


def rows(n: int, d: int, dtype: Any = np.float64) -> np.ndarray:
    return np.random.default_rng(4).normal(size=(n, d)).astype(dtype)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 7), (5, 8), (9, 13)])
@pytest.mark.parametrize("rate", RATES)
def test_dropout_follows_the_words(rate: float, shape: tuple[int, int]) -> None:
    x = rows(*shape)
    expected = reference.dropout(x, drawn(Purpose.DROPOUT, x.size, step=6), rate)
    np.testing.assert_allclose(output(Dropout(rate), x, step=6), expected, rtol=1e-14)


@pytest.mark.parametrize("shape", [(1, 1), (5, 8), (9, 13)])
@pytest.mark.parametrize("rate", RATES)
def test_alpha_dropout_follows_the_words(rate: float, shape: tuple[int, int]) -> None:
    x = rows(*shape)
    expected = reference.alpha_dropout(x, drawn(Purpose.DROPOUT, x.size, step=2), rate)
    found = output(AlphaDropout(rate), x, step=2)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (1, 7), (5, 8), (9, 13)])
def test_noise_follows_the_words(shape: tuple[int, int]) -> None:
    x = rows(*shape)
    expected = reference.gaussian_noise(x, drawn(Purpose.NOISE, x.size + 1, step=1), 0.3)
    np.testing.assert_allclose(output(GaussianNoise(0.3), x, step=1), expected, rtol=1e-13)


@pytest.mark.parametrize("layer", [Dropout(0.3), AlphaDropout(0.3), GaussianNoise(0.5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_devices_draw_the_same(layer: Layer, dtype: Any) -> None:
    x = rows(7, 5, dtype)
    with fakecupy.installed():
        np.testing.assert_array_equal(
            output(layer, x, step=3, device="cuda"), output(layer, x, step=3)
        )


@pytest.mark.parametrize("rate", [0.05, 0.5, 0.95])
def test_dropout_keeps_its_share_and_the_mean(rate: float) -> None:
    x = np.ones((500, 200))
    y = output(Dropout(rate), x)
    sd = math.sqrt(rate * (1 - rate) / x.size)
    assert abs((y != 0).mean() - (1 - rate)) < 4 * sd
    assert abs(y.mean() - 1) < 4 * sd / (1 - rate)
    # nothing along rows, columns or between neighbours
    kept = (y != 0) - (1 - rate)
    for axis in (0, 1):
        means = kept.mean(axis=axis)
        assert abs(means).max() < 5 * math.sqrt(rate * (1 - rate) / x.shape[axis])
    lag = (kept[:, 1:] * kept[:, :-1]).mean()
    assert abs(lag) < 5 * rate * (1 - rate) / math.sqrt(x.size)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.7])
def test_alpha_dropout_keeps_mean_and_variance(rate: float) -> None:
    y = output(AlphaDropout(rate), rows(600, 500))
    assert abs(y.mean()) < 0.02
    assert abs(y.var() - 1) < 0.02


def test_noise_is_normal() -> None:
    z = output(GaussianNoise(2.0), np.zeros((1000, 200))) / 2
    n = z.size
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)
    for bound in (0.5, 1.0, 2.0, 3.0):
        share = math.erf(bound / math.sqrt(2))
        assert abs((abs(z) < bound).mean() - share) < 4 * math.sqrt(share * (1 - share) / n)
    assert abs((z[:, ::2] * z[:, 1::2]).mean()) < 4 / math.sqrt(n / 2)


@pytest.mark.parametrize("layer", [Dropout(0.5), AlphaDropout(0.5), GaussianNoise(0.5)])
def test_steps_and_layers_differ(layer: Layer) -> None:
    x = rows(8, 16)
    first = output(layer, x, step=0)
    assert (first != output(layer, x, step=1)).mean() > 0.3
    np.testing.assert_array_equal(first, output(layer, x, step=0))
    behind = MLP([16, layer, Residual([layer]), layer, 2], dtype="float64", seed=21)
    step = Step(behind, x, np.zeros(8, dtype=np.int64))
    items = [call.keywords["item"] for call in step.plan.calls if "item" in call.keywords]
    assert items == [0, 1, 2]


def test_full_and_ragged_batches_of_a_step_share_the_layers_stream() -> None:
    """A row's mask depends on its place in the batch, not on the batch's size."""
    x = np.ones((6, 4))
    np.testing.assert_array_equal(output(Dropout(0.5), x)[:3], output(Dropout(0.5), x[:3]))


@pytest.mark.parametrize("layer", [Dropout(0.0), AlphaDropout(0.0), GaussianNoise(0.0)])
def test_nothing_to_do_plans_nothing(layer: Layer) -> None:
    x = rows(4, 3)
    np.testing.assert_array_equal(output(layer, x), x)
    step = Step(MLP([3, Dense(3), layer, 2]), x.astype(np.float32), np.zeros(4, dtype=np.int64))
    assert not [call for call in step.plan.calls if "item" in call.keywords]


@pytest.mark.parametrize("layer", [Dropout(0.9), AlphaDropout(0.9), GaussianNoise(9.0)])
def test_prediction_drops_nothing(layer: Layer) -> None:
    x = rows(4, 3)
    model = MLP([3, layer, 2], dtype="float64")
    z = x @ model.parameters["1.W"] + model.parameters["1.b"]
    np.testing.assert_allclose(model.predict_logits(x), z, rtol=1e-14)


def test_masks_move_on_from_step_to_step_of_a_training() -> None:
    """The gradient of W is zero where the mask is: each step moves other rows of W."""
    x = np.ones((1, 64))
    model = MLP([64, Dropout(0.5), 2], dtype="float64")
    moved = []
    for _ in range(3):
        before = model.parameters["1.W"].copy()
        model.fit(x, [0], steps=1, batch_size=1, optimizer=SGD(0.1), verbose=0)
        moved.append((model.parameters["1.W"] != before).any(axis=1))
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert 12 < (moved[a] != moved[b]).sum() < 52


def test_threshold_covers_the_range() -> None:
    assert dropout.threshold(0.0) == 0
    assert dropout.threshold(0.5) == 2**31
    assert dropout.threshold(1 - 1e-16) == 2**32 - 1
    assert dropout.keep_rate(0.25) == 0.75
    bits = np.array([[0, 2**31 - 1, 2**31, 2**32 - 1]], dtype=np.uint32)
    out = np.empty((1, 4))
    dropout.mask(np, bits, rate=0.5, scale=3.0, out=out)
    assert out.tolist() == [[0, 0, 3, 3]]
    dropout.mask(np, bits, rate=1 - 1e-16, scale=3.0, out=out)
    assert out.tolist() == [[0, 0, 0, 3]]


def test_noise_of_extreme_bits_is_finite() -> None:
    top = 2**32 - 1
    bits = np.array([0, 0, 0, top, top, 0, top, top], dtype=np.uint32)
    for dtype in (np.float32, np.float64):
        out, work = np.empty(8, dtype), (np.empty(4, dtype), np.empty(4, dtype))
        dropout.normals(np, bits, std=1.0, out=out, work=work)
        assert np.isfinite(out).all()
        assert abs(out).max() == pytest.approx(math.sqrt(-2 * math.log(2**-32)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Dropout(1.0), r"rate = 1.0; it must be in \[0, 1\)"),
        (lambda: Dropout(-0.1), r"rate = -0.1"),
        (lambda: AlphaDropout(1), r"rate = 1"),
        (lambda: GaussianNoise(-1.0), r"std = -1.0; it must be in \[0, inf\)"),
        (lambda: GaussianNoise(float("nan")), "std = nan"),
    ],
)
def test_ranges(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_kinds() -> None:
    with pytest.raises(InputTypeError, match=r"rate = '0\.5' is a str"):
        Dropout("0.5")  # type: ignore[arg-type]


def test_constants_are_seluss() -> None:
    assert pytest.approx(reference.FLOOR, rel=1e-15) == dropout.FLOOR


@pytest.mark.parametrize("kind", [Dropout, AlphaDropout, GaussianNoise])
def test_layers_say_whether_they_draw(kind: type[Layer]) -> None:
    assert kind(0.5).stochastic  # type: ignore[call-arg]
    assert not kind(0.0).stochastic  # type: ignore[call-arg]
    assert Residual([Dense(3), Residual([kind(0.5), Dense(3)])]).stochastic  # type: ignore[call-arg]
    assert not Residual([Dense(3), kind(0.0)]).stochastic  # type: ignore[call-arg]


def test_another_optimizer_draws_other_masks() -> None:
    """Masks go on through the model's life; an optimizer's own count of steps starts anew."""
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(16, 6)), rng.integers(0, 2, size=16)

    def losses(first: str) -> np.ndarray:
        model = MLP([6, 32, Dropout(0.5), 2], dtype="float64")
        still = {"learning_rate": 0.0, "batch_size": 16, "sampling": "sequential", "verbose": 0}
        before = model.fit(x, y, epochs=2, optimizer=first, **still).step_loss
        after = model.fit(x, y, epochs=2, optimizer="adam", **still).step_loss
        assert model.training_state.step == (4 if first == "adam" else 2)
        return np.concatenate([before, after])

    assert len(set(losses("adam"))) == 4  # only the masks make the losses differ
    assert np.array_equal(losses("sgd"), losses("adam"))
