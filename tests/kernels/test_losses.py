"""Every loss in the table: against its definition, by differences, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_cases import buffer, every_loss, exact, fits, make_targets, run
from reference import losses as reference

from mlpx.kernels.losses import (
    BinaryCrossEntropy,
    BinaryFocal,
    Focal,
    Huber,
    Loss,
    SoftmaxCrossEntropy,
)
from mlpx.records import Record


@every_loss
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_value_and_gradient_are_the_definitions(loss: Loss, dtype: str) -> None:
    for k in (1, 2, 3):
        if fits(loss, k):
            compare_with_definition(loss, dtype, k)


def compare_with_definition(loss: Loss, dtype: str, k: int) -> None:
    rng = np.random.default_rng(k)
    z = (3 * rng.normal(size=(4, k))).astype(dtype)
    t = make_targets(loss, 4, k, rng).astype(dtype)
    r = rng.random((4, 1)).astype(dtype)
    rows, dz, alone = run(loss, z, t, r)
    value, slope = exact(loss, z, t)
    eps = np.finfo(dtype).eps
    scale = 1 + abs(z).max() + abs(t).max() ** 2
    np.testing.assert_array_equal(rows, alone)
    np.testing.assert_allclose(rows, value, rtol=8 * eps, atol=8 * eps * scale)
    np.testing.assert_allclose(dz, r * slope, rtol=16 * eps, atol=8 * eps * scale)


@every_loss
@pytest.mark.parametrize("k", [1, 3, 6])
def test_gradient_by_central_differences(loss: Loss, k: int) -> None:
    if not fits(loss, k):
        return
    rng = np.random.default_rng(10 + k)
    n, h = 6, 1e-5
    z = rng.normal(size=(n, k))
    t = make_targets(loss, n, k, rng)
    kinks = abs(abs((2 * t - 1) * z) - 1), abs(z - t), abs(abs(z - t) - 0.3), abs(abs(z - t) - 1)
    z += 0.03 * (np.minimum.reduce(kinks) < 1e-2)  # step away from every kink there is
    kinks = abs(abs((2 * t - 1) * z) - 1), abs(z - t), abs(abs(z - t) - 0.3), abs(abs(z - t) - 1)
    assert np.minimum.reduce(kinks).min() > 2 * h
    r = rng.random((n, 1))
    _, dz, _ = run(loss, z, t, r)
    found = np.zeros_like(z)
    for j in range(k):  # of all rows at once, which know nothing of each other
        bump = h * np.eye(k)[j]
        up, down = (run(loss, z + sign * bump, t, r)[0] for sign in (1, -1))
        found[:, j] = (r * (up - down) / (2 * h))[:, 0]
    assert abs(dz - found).max() / max(abs(dz).max(), abs(found).max(), 1e-300) < 1e-7


@every_loss
@settings(max_examples=6)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 9))
def test_rows_know_nothing_of_each_other(loss: Loss, seed: int, n: int) -> None:
    """Permuted rows give permuted results to the last bit; and r scales the gradient."""
    rng = np.random.default_rng(seed)
    z, r = rng.normal(size=(n, 3)).astype("float32"), rng.random((n, 1)).astype("float32")
    t, order = make_targets(loss, n, 3, rng).astype("float32"), rng.permutation(n)
    rows, dz, _ = run(loss, z, t, r)
    again, dz_again, _ = run(loss, z[order], t[order], r[order])
    np.testing.assert_allclose(again, rows[order], rtol=1e-6)
    np.testing.assert_allclose(dz_again, dz[order], rtol=1e-5, atol=1e-7)
    _, unweighted, _ = run(loss, z, t, np.ones((n, 1), "float32"))
    np.testing.assert_allclose(dz, r * unweighted, rtol=1e-6, atol=1e-12)


@every_loss
def test_the_reference_and_config_cover_every_loss(loss: Loss) -> None:
    assert callable(getattr(reference, loss.name))
    assert Record.from_config(loss.config()) == loss
    assert "dz" in (loss.__doc__ or "")


@pytest.mark.parametrize("name", ["mean_absolute_error", "quantile", "hinge"])
def test_the_slope_at_a_kink_lies_between_its_neighbours(name: str) -> None:
    loss = Loss.resolve(name)
    at = 1.0
    _, dz, _ = run(loss, np.array([[at]]), np.array([[1.0]]), np.ones((1, 1)))
    _, left, _ = run(loss, np.array([[at - 1e-9]]), np.array([[1.0]]), np.ones((1, 1)))
    _, right, _ = run(loss, np.array([[at + 1e-9]]), np.array([[1.0]]), np.ones((1, 1)))
    assert left <= dz <= right
    assert left < right


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("mean_absolute_error", [[0.0, -1.0, 2.0]]),
        ("quantile", [[0.0, -1.0, 2.0]]),
        ("hinge", [[0.0, 0.0, 2.0]]),
        ("squared_hinge", [[0.0, 0.0, 2.0]]),
    ],
)
def test_margins_are_zero_at_the_kinks(name: str, wanted: list[list[float]]) -> None:
    z, t = np.array([[1.0, -1.0, 3.0]]), np.array([[1.0, 0.0, 1.0]])
    (found,) = Loss.resolve(name).margins(z, t)
    np.testing.assert_array_equal(found, wanted)


def test_huber_has_two_margins() -> None:
    z, t = np.array([[1.5, -0.5, 3.0]]), np.array([[1.0, 0.0, 1.0]])
    above, below = Huber(delta=0.5).margins(z, t)
    np.testing.assert_array_equal(above, [[0.0, -1.0, 1.5]])
    np.testing.assert_array_equal(below, [[1.0, 0.0, 2.5]])
    assert Loss.resolve("poisson").margins(z, t) == ()


@every_loss
def test_no_scratch_is_asked_for_in_vain(loss: Loss) -> None:
    k, n = (3, 4) if fits(loss, 3) else (2, 4)
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(n, k)), make_targets(loss, n, k, rng)
    own = [buffer(n, k, float) for _ in range(loss.scratch)]
    own += [buffer(n, 1, float) for _ in range(loss.columns)]
    work = (*own, *loss.constants(k))
    loss.gradient(
        np, z, t, np.ones((n, 1)), rows=buffer(n, 1, float), out=buffer(n, k, float), work=work
    )
    assert not any(np.isnan(array).any() for array in own)


def test_focal_without_focus_is_cross_entropy() -> None:
    rng = np.random.default_rng(3)
    z, t = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(3), 5)
    for plain, focused in (
        (SoftmaxCrossEntropy(), Focal(gamma=0)),
        (BinaryCrossEntropy(), BinaryFocal(gamma=0)),
    ):
        for a, b in zip(run(plain, z, t), run(focused, z, t), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-15)


def test_two_softmax_outputs_are_one_logistic() -> None:
    z = np.random.default_rng(4).normal(size=(6, 1))
    t = np.array([[0.0], [1], [1], [0], [0.3], [0.5]])
    one = run(BinaryCrossEntropy(), z, t)
    two = run(SoftmaxCrossEntropy(), np.hstack([0 * z, z]), np.hstack([1 - t, t]))
    np.testing.assert_allclose(one[0], two[0], rtol=1e-14)
    np.testing.assert_allclose(one[1][:, 0], two[1][:, 1], rtol=1e-13, atol=1e-16)


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "kl_divergence"])
@pytest.mark.parametrize("mass", [0.0, 0.3])
def test_targets_of_any_mass(name: str, mass: float) -> None:
    rng = np.random.default_rng(5)
    z, t, loss = rng.normal(size=(5, 3)), rng.dirichlet(np.ones(3), 5), Loss.resolve(name)
    rows, dz, _ = run(loss, z, t)
    less, dz_less, _ = run(loss, z, mass * t)
    np.testing.assert_allclose(dz_less, mass * dz, rtol=1e-12, atol=1e-16)
    entropy = np.log(mass) * mass if mass and name == "kl_divergence" else 0.0
    np.testing.assert_allclose(less, mass * rows + entropy, rtol=1e-12, atol=1e-16)


def test_kl_is_zero_where_the_outputs_are_right() -> None:
    p = np.array([[0.5, 0.25, 0.25], [1e-3, 0.0, 0.999]])
    z = np.log(np.maximum(p, 1e-300))
    rows, dz, _ = run(Loss.resolve("kl_divergence"), z, p)
    np.testing.assert_allclose(rows, 0, atol=1e-15)
    np.testing.assert_allclose(dz, 0, atol=1e-15)
