"""Numbers are brought near 0 as the formulas say, and stay finite."""

from __future__ import annotations

import json
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mlpx.errors import MlpxError
from mlpx.records import Record
from mlpx.tables.scaling import Plain, Quantile, Robust, Scaling, Standard

ALL = [Robust, Standard, Quantile, Plain]
NUMBERS = st.floats(-1e100, 1e100)
Z = np.array([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0])


def apply(scaling: Scaling, z) -> np.ndarray:
    return scaling.apply(np.array(z, np.float64))


def test_robust_is_its_formula():
    low, middle, high = np.quantile(Z, [0.25, 0.5, 0.75])
    u = (Z - middle) / (high - low)
    assert np.allclose(apply(Robust.fit(Z), Z), u / np.sqrt(1 + (u / 3) ** 2), rtol=1e-15)


def test_robust_takes_the_range_if_the_quartiles_are_equal():
    z = np.array([0.0] * 9 + [8.0])
    assert Robust.fit(z) == Robust(0.0, 2.0 / 8.0)
    assert Robust.fit(np.full(5, 7.0)) == Robust(7.0, 0.0)
    assert apply(Robust(7.0, 0.0), [7.0, 1e100]).tolist() == [0.0, 0.0]


def test_robust_ends_at_3():
    ends = apply(Robust(0.0, 1.0), [-1e100, -1e9, 1e9, 1e100])
    assert ends.tolist() == [-3.0, -3.0, 3.0, 3.0]


def test_standard_has_mean_0_and_deviation_1():
    z = apply(Standard.fit(Z), Z)
    assert abs(z.mean()) < 1e-15
    assert abs(z.std() - 1.0) < 1e-15
    assert apply(Standard.fit(np.full(5, 7.0)), [8.0]).tolist() == [0.0]


def test_quantiles_of_the_normal_distribution():
    z = np.random.default_rng(0).lognormal(size=10_001)
    scaled = np.sort(apply(Quantile.fit(z), z))
    normal = [NormalDist().inv_cdf((i + 0.5) / len(z)) for i in range(len(z))]
    inner = slice(100, -100)
    assert np.abs(scaled - normal)[inner].max() < 0.05
    assert scaled[[0, -1]] == pytest.approx([-5.0, 5.0])
    assert apply(Quantile.fit(z), [-1e99, 1e99]) == pytest.approx([-5.0, 5.0])


def test_equal_values_have_the_middle_of_their_quantiles():
    z = np.array([0.0] * 50 + [1.0] * 50)
    scaled = apply(Quantile.fit(z), [0.0, 1.0])
    quarter = NormalDist().inv_cdf(0.25)
    assert scaled == pytest.approx([quarter, -quarter], abs=0.01)
    assert apply(Quantile.fit(np.full(9, 7.0)), [0.0, 7.0, 9.0]).tolist() == [0.0, 0.0, 0.0]
    assert apply(Quantile.fit(np.array([7.0])), [8.0]).tolist() == [0.0]


@pytest.mark.parametrize("scaling", ALL)
@example([2.2250738585072014e-308, -1.1125369292536007e-308], [0.0])
@given(st.lists(NUMBERS, min_size=1, max_size=9), st.lists(NUMBERS, min_size=1, max_size=9))
def test_any_numbers_become_finite_ones_that_float32_holds(scaling, fitted, z):
    made = scaling.fit(np.array(fitted))
    assert Record.from_config(json.loads(json.dumps(made.config()))) == made
    result = apply(made, z)
    assert np.isfinite(result).all()
    if scaling is not Plain:
        assert np.isfinite(result.astype(np.float32)).all()
        order = np.argsort(np.array(z), kind="stable")
        assert (np.diff(result[order]) >= -1e-9).all()


@pytest.mark.parametrize(
    "config",
    [
        {"name": "robust", "center": float("nan"), "factor": 1.0},
        {"name": "robust", "center": 0.0, "factor": -1.0},
        {"name": "robust", "center": 0.0, "factor": 1e200},
        {"name": "robust", "center": "0", "factor": 1.0},
        {"name": "standard", "center": float("inf"), "factor": 1.0},
        {"name": "standard", "center": 0.0, "factor": -1.0},
        {"name": "quantile", "edges": [], "scores": []},
        {"name": "quantile", "edges": [1.0, 1.0], "scores": [0.0, 1.0]},
        {"name": "quantile", "edges": [1.0, 2.0], "scores": [1.0, 0.0]},
        {"name": "quantile", "edges": [0.0, 1e-320], "scores": [0.0, 1.0]},
        {"name": "quantile", "edges": [1.0, 2.0], "scores": [1.0]},
        {"name": "quantile", "edges": [1.0, None], "scores": [1.0, 2.0]},
        {"name": "quantile", "edges": 1.0, "scores": [1.0]},
        {"name": "minmax"},
        {"name": "plain", "center": 1.0},
    ],
)
def test_settings_that_cannot_be(config):
    with pytest.raises(MlpxError):
        Scaling.from_config({"kind": "scaling", **config})
