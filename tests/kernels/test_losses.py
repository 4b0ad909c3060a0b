"""Every loss in the table: against its definition, by differences, at the ends of the range."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import losses as reference

from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.kernels import losses
from mlpx.kernels.losses import (
    BinaryCrossEntropy,
    BinaryFocal,
    Focal,
    HalfSquaredError,
    Huber,
    Loss,
    Poisson,
    Quantile,
    SoftmaxCrossEntropy,
)
from mlpx.records import Record

VARIANTS = [
    SoftmaxCrossEntropy(label_smoothing=0.1, ignore_label=-100),
    BinaryCrossEntropy(positive_weight=3.0),
    BinaryCrossEntropy(positive_weight=(0.5, 2.0, 7.0)),
    BinaryCrossEntropy(reduction="sum"),
    HalfSquaredError(reduction="sum"),
    Poisson(reduction="sum"),
    BinaryFocal(gamma=0.0),
    BinaryFocal(gamma=1.5, alpha=0.25),
    Focal(gamma=0.0),
    Focal(gamma=0.5, alpha=(0.5, 2.0, 1.0)),
    Huber(delta=0.3),
    Quantile(0.9),
    Quantile((0.1, 0.5, 0.95)),
]
EVERY = [*(member() for member in Loss.table.values()), *VARIANTS]
NOT_OF_THE_FORMULA = ("label_smoothing", "ignore_label")
"""Fields that act on targets and weights, outside the kernel."""


def name_of(loss: Any) -> str:
    return repr(loss)


every_loss = pytest.mark.parametrize("loss", EVERY, ids=name_of)


def options(loss: Loss) -> dict[str, Any]:
    config = loss.config()
    skipped = ("kind", "name", *NOT_OF_THE_FORMULA)
    return {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in config.items()
        if key not in skipped
    }


def fits(loss: Loss, k: int) -> bool:
    try:
        loss.check_outputs(k)
    except InputError:
        return False
    return True


def make_targets(loss: Loss, n: int, k: int, rng: np.random.Generator) -> np.ndarray:
    kind = loss.target_kind(k)
    if kind == "classes":
        t = rng.dirichlet(np.ones(k), n)
        t[: n // 2] = np.eye(k)[rng.integers(0, k, n // 2)]
        return t
    if kind == "binary":
        t = rng.random((n, k))
        t[: n // 2] = t[: n // 2] > 0.5
        return t
    return rng.poisson(2.0, (n, k)).astype(float) if loss.least == 0 else rng.normal(size=(n, k))


def buffer(n: int, k: int, dtype: Any) -> np.ndarray:
    return np.full((k, n), np.nan, dtype).T  # by column, as programs lay it out


def run(loss: Loss, z: np.ndarray, t: np.ndarray, r: np.ndarray | None = None) -> Any:
    """(rows, dz, rows by `value` alone)."""
    n, k = z.shape
    r = np.full((n, 1), 1.0 / n, z.dtype) if r is None else r
    work = (
        *(buffer(n, k, z.dtype) for _ in range(loss.scratch)),
        *(buffer(n, 1, z.dtype) for _ in range(loss.columns)),
        *(c.astype(z.dtype) for c in loss.constants(k)),
    )
    rows, alone, dz = buffer(n, 1, z.dtype), buffer(n, 1, z.dtype), buffer(n, k, z.dtype)
    before = z.copy(), t.copy(), r.copy()
    loss.value(np, z, t, rows=alone, work=work)
    loss.gradient(np, z, t, r, rows=rows, out=dz, work=work)
    for given_array, copy in zip((z, t, r), before, strict=True):
        np.testing.assert_array_equal(given_array, copy)
    return rows, dz, alone


def exact(loss: Loss, z: np.ndarray, t: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    keys = options(loss)
    rows = [reference.row_loss(loss.name, *row, **keys) for row in zip(z, t, strict=True)]
    slopes = [reference.row_gradient(loss.name, *row, **keys) for row in zip(z, t, strict=True)]
    as_floats = np.array([[float(x) for x in row] for row in slopes])
    return np.array([float(x) for x in rows])[:, None], as_floats


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


def test_lists_count_as_tuples() -> None:
    weights = [0.5, 2.0]
    for made, wanted in (
        (BinaryCrossEntropy(positive_weight=weights), BinaryCrossEntropy(positive_weight=(0.5, 2))),  # type: ignore[arg-type]
        (Focal(alpha=weights), Focal(alpha=(0.5, 2.0))),  # type: ignore[arg-type]
        (Quantile([0.1, 0.9]), Quantile((0.1, 0.9))),  # type: ignore[arg-type]
    ):
        assert made == wanted
        assert hash(made) == hash(wanted)


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


def test_quantiles_belong_to_targets_in_turn() -> None:
    (q, below, centre) = Quantile((0.1, 0.9)).constants(4)
    np.testing.assert_array_equal(q, [[0.1, 0.9, 0.1, 0.9]])
    np.testing.assert_allclose(below, q - 1)
    np.testing.assert_allclose(centre, 0.5 - q)
    y = np.array([[1.0, 2.0], [3.0, 4.0]])
    out = buffer(2, 4, float)
    losses.repeat(np, y, out=out)
    np.testing.assert_array_equal(out, [[1, 1, 2, 2], [3, 3, 4, 4]])
    assert Quantile((0.1, 0.9)).target_columns(4) == 2


def test_smoothing_keeps_distributions() -> None:
    t = np.eye(4)[[1, 3]]
    losses.smooth(np, t, amount=0.2)
    np.testing.assert_allclose(t.sum(axis=1), 1)
    np.testing.assert_allclose(t[0], [0.05, 0.85, 0.05, 0.05])


def test_one_hot_of_a_label_outside_is_zero() -> None:
    out = buffer(3, 2, float)
    losses.one_hot(np, np.array([1, -100, 0]), np.arange(2), out=out)
    np.testing.assert_array_equal(out, [[0, 1], [0, 0], [1, 0]])


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SoftmaxCrossEntropy(label_smoothing=1.0), r"label_smoothing = 1.0.*\[0, 1\)"),
        (lambda: SoftmaxCrossEntropy(label_smoothing=-0.1), "label_smoothing = -0.1"),
        (lambda: BinaryCrossEntropy(positive_weight=0.0), "positive_weight = 0.0"),
        (lambda: BinaryCrossEntropy(positive_weight=(1.0, -1.0)), "positive_weight = -1.0"),
        (lambda: BinaryCrossEntropy(reduction="max"), "reduction = 'max'"),  # type: ignore[arg-type]
        (lambda: HalfSquaredError(reduction="max"), "reduction = 'max'"),  # type: ignore[arg-type]
        (lambda: Poisson(reduction="max"), "reduction = 'max'"),  # type: ignore[arg-type]
        (lambda: BinaryFocal(gamma=-1.0), "gamma = -1.0"),
        (lambda: BinaryFocal(alpha=1.0), r"alpha = 1.0.*\(0, 1\)"),
        (lambda: BinaryFocal(alpha=0.0), r"alpha = 0.0.*\(0, 1\)"),
        (lambda: Focal(gamma=-0.5), "gamma = -0.5"),
        (lambda: Focal(alpha=(1.0, 0.0)), "alpha = 0.0"),
        (lambda: Huber(delta=0.0), "delta = 0.0"),
        (lambda: Quantile(0.0), "quantiles = 0.0"),
        (lambda: Quantile((0.5, 1.0)), "quantiles = 1.0"),
        (lambda: Quantile(()), r"quantiles = \(\)"),
        (lambda: Quantile((0.1, 0.9)).check_outputs(3), "3 outputs, wanted 2"),
        (lambda: Focal(alpha=(1.0, 2.0)).check_outputs(3), "alpha has 2 numbers.*3 outputs"),
        (
            lambda: BinaryCrossEntropy(positive_weight=(1.0, 2.0)).check_outputs(1),
            "positive_weight has 2 numbers",
        ),
    ],
)
def test_hyperparameters_are_held_to_their_range(make: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_defaults_are_the_customary_ones() -> None:
    found = {name: options(member()) for name, member in Loss.table.items()}
    assert {name: fields for name, fields in found.items() if fields} == {
        "binary_cross_entropy": {"positive_weight": 1.0, "reduction": "mean"},
        "binary_focal": {"gamma": 2.0, "alpha": None},
        "focal": {"gamma": 2.0, "alpha": 1.0},
        "half_squared_error": {"reduction": "mean"},
        "huber": {"delta": 1.0},
        "poisson": {"reduction": "mean"},
        "quantile": {"quantiles": 0.5},
    }
    assert SoftmaxCrossEntropy() == SoftmaxCrossEntropy(label_smoothing=0.0, ignore_label=None)


@every_loss
def test_losses_are_values(loss: Loss) -> None:
    assert {loss: 1}[Record.from_config(loss.config())] == 1  # frozen, so it can be a key
    plain = [x for x in Loss.table.values() if x().smoothing() == 0 and not x().ignored_label()]
    assert len(plain) == len(Loss.table)


def test_a_loss_is_asked_for_properly() -> None:
    with pytest.raises(InputTypeError, match="ignore_label = 'x'"):
        SoftmaxCrossEntropy(ignore_label="x")  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="did you mean 'huber'"):
        Loss.resolve("hubber")
    assert Focal(alpha=[1.0, 2.0]) == Focal(alpha=(1.0, 2.0))  # type: ignore[arg-type]
    assert Quantile([0.1, 0.9]) == Quantile((0.1, 0.9))  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_probabilities_sum_to_one_and_keep_their_tails(dtype: str) -> None:
    z = np.array([[-30.0], [0.0], [30.0], [1e4]], dtype)
    p = losses.probabilities(np, BinaryCrossEntropy(), z)
    assert p.shape == (4, 2)
    np.testing.assert_allclose(p[0, 1], 9.357622968839299e-14, rtol=1e-6)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=1e-6)
    several = losses.probabilities(np, BinaryCrossEntropy(), np.hstack([z, -z]))
    np.testing.assert_array_equal(several, np.hstack([p[:, 1:], p[:, :1]]))
    soft = losses.probabilities(np, SoftmaxCrossEntropy(), np.hstack([z, -z, z]))
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(soft[-1], [0.5, 0, 0.5])


def test_predictions_follow_the_kind_of_targets() -> None:
    z = np.array([[0.0, 2.0, -1.0], [3.0, -0.5, 1e-30]])
    assert losses.predictions(np, Loss.resolve("focal"), z).tolist() == [1, 0]
    assert losses.predictions(np, Loss.resolve("hinge"), z).tolist() == [1, 0]
    assert losses.predictions(np, Loss.resolve("hinge"), z[:, :1]).tolist() == [0, 1]
    two = losses.predictions(np, Loss.resolve("binary_cross_entropy"), z[:, :2])
    assert two.tolist() == (z[:, :2] > 0).astype(int).tolist()
    several = losses.predictions(np, BinaryCrossEntropy(), z)
    assert several.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert losses.predictions(np, Loss.resolve("huber"), z) is z
    np.testing.assert_allclose(losses.predictions(np, Loss.resolve("poisson"), z), np.exp(z))


def test_only_some_losses_speak_of_probabilities() -> None:
    for name in Loss.table:
        loss = Loss.resolve(name)
        if loss.link in ("softmax", "sigmoid"):
            losses.require_probabilities(loss)
        else:
            with pytest.raises(InputError, match=f"this model's is '{name}'"):
                losses.require_probabilities(loss)
