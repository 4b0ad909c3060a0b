"""Losses at the ends of the range: the largest logits, tails, errors near zero, NaN."""

from __future__ import annotations

import numpy as np
import pytest
from loss_cases import EVERY, every_loss, exact, fits, make_targets, name_of, options, run
from reference import losses as reference

from mlpx.kernels.losses import Loss

BOUNDED = ["hinge", "binary_cross_entropy", "binary_focal", "softmax_cross_entropy",
           "kl_divergence", "focal"]  # fmt: skip


def extreme_logits(dtype: str) -> list[float]:
    most = float(np.finfo(dtype).max)
    return [0.0, 30.0, -30.0, 100.0, -100.0, 1e4, -1e4, most / 2, -most / 2, most, -most]


@pytest.mark.parametrize("loss", [x for x in EVERY if x.name in BOUNDED], ids=name_of)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_losses_of_logits_hold_up_to_the_largest(loss: Loss, dtype: str, k: int) -> None:
    if not fits(loss, k):
        return
    extremes = extreme_logits(dtype)
    z = np.array([[extremes[(i * (j + 1) + j) % 11] for j in range(k)] for i in range(11)], dtype)
    for label in range(max(2, k)):
        t = np.zeros((11, k), dtype)
        t[:, min(label, k - 1)] = float(label > 0 or k > 1)
        info = np.finfo(dtype)
        value = [
            reference.row_loss(loss.name, *row, **options(loss)) for row in zip(z, t, strict=True)
        ]
        true = np.array([k * v < float(info.max) for v in value])  # no element overflows
        rows, dz, _ = run(loss, z[true], t[true], np.ones((true.sum(), 1), dtype))
        assert np.isfinite(dz).all()
        expected = [float(v) for v, finite in zip(value, true, strict=True) if finite]
        # 1 + exp(-40) is 1: the sum over classes is known to eps. Over two it is never formed.
        floor = 2 * info.eps if loss.link == "softmax" else 8 * float(info.tiny)
        np.testing.assert_allclose(rows[:, 0], expected, rtol=16 * info.eps, atol=floor)
        if loss in (Loss.resolve(name) for name in BOUNDED):
            rows, dz, _ = run(loss, z, t, np.ones((11, 1), dtype))
            assert np.isfinite(rows).all()
            assert np.isfinite(dz).all()


@pytest.mark.parametrize("loss", [x for x in EVERY if x.name in BOUNDED], ids=name_of)
def test_gradients_keep_their_tails(loss: Loss) -> None:
    k = 3
    z = np.array([[40.0, -30.0, -50.0], [-200.0, 300.0, 5.0], [1e4, 1e4, -1e4]])
    t = np.eye(3)
    _, dz, _ = run(loss, z, t, np.ones((k, 1)))
    _, slope = exact(loss, z, t)
    tail = {"hinge": 1e-14, "binary_cross_entropy": 1e-14, "binary_focal": 1e-13}
    np.testing.assert_allclose(dz, slope, rtol=tail.get(loss.name, 1e-12), atol=3e-16)
    if loss.name in ("binary_cross_entropy", "binary_focal"):
        np.testing.assert_allclose(dz, slope, rtol=1e-13, atol=0)


@pytest.mark.filterwarnings("ignore:overflow")  # of true values
@pytest.mark.parametrize("loss", [x for x in EVERY if x.target_kind(3) == "values"], ids=name_of)
def test_losses_of_values_are_finite_wherever_the_truth_is(loss: Loss) -> None:
    z = np.array([[1e4, -1e4, 0.0], [88.0, -3e38, 1e-40], [3e38, 3e38, -3e38], [0.0, 1e19, -1e18]])
    z, t = (
        z.astype("float32"),
        np.array([[0, 3, 1e-30], [1, 2, 0], [5, 0, 1], [0, 0, 4]], "float32"),
    )
    rows, dz, _ = run(loss, z, t)
    value, _ = exact(loss, z.astype(float), t)
    finite = 3 * value < np.finfo("float32").max  # no element overflows
    np.testing.assert_allclose(rows[finite], value[finite], rtol=2e-6)
    assert not np.isnan(rows).any()
    assert not np.isnan(dz).any()
    assert np.isposinf(rows[value > np.finfo("float32").max]).all()


@pytest.mark.parametrize("e", [1e-20, 1e-6, 1e-3, 0.1, 1.0, 15.0, 19.99, 20.01, 90.0])
def test_log_cosh_is_exact_for_small_errors(e: float) -> None:
    for dtype in ("float32", "float64"):
        z = np.array([[e]], dtype)
        rows, dz, _ = run(Loss.resolve("log_cosh"), z, np.zeros((1, 1), dtype))
        value, slope = exact(Loss.resolve("log_cosh"), z, np.zeros((1, 1)))
        with np.errstate(under="ignore"):
            tiny = float(np.finfo(dtype).tiny)
        np.testing.assert_allclose(rows, value, rtol=6 * np.finfo(dtype).eps, atol=tiny)
        np.testing.assert_allclose(dz, slope, rtol=4 * np.finfo(dtype).eps)


@every_loss
def test_nan_stays_nan(loss: Loss) -> None:
    k = 3
    z = np.zeros((4, k))
    z[2, 1] = np.nan
    rng = np.random.default_rng(0)
    rows, dz, _ = run(loss, z, make_targets(loss, 4, k, rng))
    assert np.isnan(rows[2, 0])
    assert np.isnan(dz[2, 1])
    assert np.isfinite(np.delete(rows, 2)).all()
    assert np.isfinite(np.delete(dz, 2, axis=0)).all()
