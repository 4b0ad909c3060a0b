"""Every initialiser of the table: its distribution, its ranges and that it repeats."""

from __future__ import annotations

from math import inf, nan, sqrt
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, Dense
from mlpx.errors import InputError, InputTypeError
from mlpx.kernels.initializers import Constant, Initializer, Normal, Orthogonal, Uniform
from mlpx.random import Purpose, words
from mlpx.records import Record

NAMES = sorted(Initializer.table)
SHAPE = (300, 200)
N = SHAPE[0] * SHAPE[1]
DEVIATION = {
    "normal": 0.01,
    "uniform": 0.1 / sqrt(12),
    "glorot_normal": sqrt(2 / 500),
    "glorot_uniform": sqrt(2 / 500),
    "he_normal": sqrt(2 / 300),
    "he_uniform": sqrt(2 / 300),
    "lecun_normal": sqrt(1 / 300),
    "lecun_uniform": sqrt(1 / 300),
}
"""The standard deviation of each random rule for SHAPE."""


def sample(rule: Initializer, shape: tuple[int, ...] = SHAPE, seed: int = 5) -> np.ndarray:
    return rule.sample(shape, lambda count: words(seed, Purpose.WEIGHTS, count=count))


def make(name: str) -> Any:
    return Initializer.table[name]()


def test_the_table_is_complete() -> None:
    assert set(NAMES) == {*DEVIATION, "zeros", "constant", "orthogonal"}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(1, 1), (7, 1), (1, 7), (4, 9), (9, 4), (5,)])
def test_shapes_and_dtype(name: str, shape: tuple[int, ...]) -> None:
    drawn = sample(make(name), shape)
    assert drawn.shape == shape
    assert drawn.dtype == np.float64
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_numbers(name: str) -> None:
    np.testing.assert_array_equal(sample(make(name)), sample(make(name)))
    if name not in ("zeros", "constant"):
        assert (sample(make(name)) != sample(make(name), seed=6)).mean() > 0.99


@pytest.mark.parametrize("name", sorted(DEVIATION))
def test_mean_and_deviation(name: str) -> None:
    """Within four standard errors, from the fourth moment of each distribution."""
    drawn, sd = sample(make(name)), DEVIATION[name]
    kurtosis = 1.8 if "uniform" in name else 3.0
    assert abs(drawn.mean()) < 4 * sd / sqrt(N)
    assert abs(drawn.var() / sd**2 - 1) < 4 * sqrt((kurtosis - 1) / N)
    assert abs(((drawn / sd) ** 4).mean() - kurtosis) < (0.05 if kurtosis < 2 else 0.2)


@pytest.mark.parametrize("name", sorted(DEVIATION))
def test_uniform_has_ends_and_normal_has_tails(name: str) -> None:
    drawn, sd = sample(make(name)), DEVIATION[name]
    edge = np.abs(drawn).max() / sd
    if "uniform" in name:
        assert sqrt(3) * 0.999 < edge <= sqrt(3)
    else:
        assert edge > 3.5  # plain normals, not cut off at two deviations
        assert abs((np.abs(drawn) > 2 * sd).mean() - 0.0455) < 4 * sqrt(0.0455 / N)


@pytest.mark.parametrize("name", sorted(set(DEVIATION) - {"normal", "uniform"}))
def test_fans_are_rows_and_columns(name: str) -> None:
    tall, wide = (sample(make(name), shape).var() for shape in ((800, 50), (50, 800)))
    ratio = 1 if "glorot" in name else 16
    assert abs(wide / tall / ratio - 1) < 0.05


def test_values_do_not_change() -> None:
    """The first weights of a seed are part of what a seed promises."""
    found = sample(Normal(1.0), (2, 2), seed=0)
    raw = words(0, Purpose.WEIGHTS, count=4)
    u = (raw >> np.uint64(11)) * 2.0**-53
    radius, angle = np.sqrt(-2 * np.log1p(-u[0::2])), 2 * np.pi * u[1::2]
    wanted = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
    np.testing.assert_allclose(found, wanted, rtol=1e-14)


@pytest.mark.parametrize("name", sorted(DEVIATION))
def test_rules_differ_by_their_deviation_alone(name: str) -> None:
    base = Uniform(-sqrt(3), sqrt(3)) if "uniform" in name else Normal(1.0)
    wanted = DEVIATION[name] * sample(base)
    np.testing.assert_allclose(sample(make(name)), wanted, rtol=1e-12, atol=1e-15)


def test_normal_moves_and_stretches() -> None:
    base = sample(Normal(1.0))
    np.testing.assert_allclose(sample(Normal(0.5, mean=3.0)), 3 + 0.5 * base)
    assert (sample(Normal(0.0)) == 0).all()


def test_uniform_between_two_numbers() -> None:
    drawn = sample(Uniform(2.0, 3.0))
    assert 2 <= drawn.min() < 2.001
    assert 2.999 < drawn.max() < 3
    assert abs(drawn.mean() - 2.5) < 4 / sqrt(12 * N)


def test_constant_and_zeros() -> None:
    assert (sample(Constant(-2.5)) == -2.5).all()
    assert (sample(make("zeros")) == 0).all()


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9), (1, 5), (5, 1)])
def test_orthogonal(shape: tuple[int, int]) -> None:
    Q = sample(Orthogonal(gain=1.5), shape) / 1.5
    product = Q.T @ Q if shape[0] >= shape[1] else Q @ Q.T
    np.testing.assert_allclose(product, np.eye(min(shape)), atol=1e-14)


def test_orthogonal_is_evenly_spread() -> None:
    """Rotations and reflections alike, and no entry that leans to one sign."""
    drawn = np.stack([sample(Orthogonal(), (3, 3), seed=i) for i in range(2000)])
    assert np.abs(drawn.mean(axis=0)).max() < 4.5 / sqrt(3 * 2000)
    assert abs((np.linalg.det(drawn) > 0).mean() - 0.5) < 4 * 0.5 / sqrt(2000)


RANGES: list[tuple[type[Initializer], str, list[float]]] = [
    (Normal, "std", [-1e-9, nan, inf]),
    (Normal, "mean", [nan, inf, -inf]),
    (Uniform, "low", [nan, -inf]),
    (Uniform, "high", [nan, inf]),
    (Constant, "value", [nan, inf]),
    (Orthogonal, "gain", [0.0, -1.0, nan, inf]),
]


@pytest.mark.parametrize(("rule", "field", "wrong"), RANGES)
def test_ranges_are_checked(rule: Any, field: str, wrong: list[float]) -> None:
    for value in wrong:
        with pytest.raises(InputError, match=rf"{field} = {value!r}; it must be in"):
            rule(**{field: value})
    with pytest.raises(InputTypeError, match=f"{field} = "):
        rule(**{field: "1"})


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0)])
def test_uniform_needs_low_below_high(low: float, high: float) -> None:
    with pytest.raises(InputError, match=f"low = {low}, high = {high}; low must be below high"):
        Uniform(low, high)


@pytest.mark.parametrize("name", NAMES)
def test_config_round_trip(name: str) -> None:
    assert Record.from_config(make(name).config()) == make(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_layer_takes_it(name: str) -> None:
    model = MLP([4, Dense(6, initializer=name), 3], dtype="float64", seed=5)
    W = np.asarray(model.parameters["0.W"])
    if name == "orthogonal":
        np.testing.assert_allclose(W @ W.T, np.eye(4), atol=1e-14)
    assert W.shape == (4, 6)
    again = MLP([4, Dense(6, initializer=name), 3], dtype="float64", seed=5)
    np.testing.assert_array_equal(again.parameters["0.W"], W)
