"""Every optimizer against plain float64 loops, and the properties they share."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from noisy_quadratic import NOISE, SHAPE, START, STEPS, gradient
from reference import optimizers as loops
from updates import RULES, Driver

from mlpx.optimizers import EMA, Optimizer

# name: the options that reach every branch of the rule; each is run with weight decay off and on
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "sgd": [
        {},
        {"momentum": 0.8},
        {"momentum": 0.8, "dampening": 0.3},
        {"momentum": 0.8, "nesterov": True},
    ],
    "momentum": [{}],
    "nesterov": [{}],
    "adagrad": [{}, {"epsilon": 1e-2}],
    "rmsprop": [{}, {"rho": 0.9, "epsilon": 1e-3}, {"centered": True}, {"momentum": 0.7},
                {"momentum": 0.7, "centered": True}],
    "adadelta": [{}, {"rho": 0.8, "epsilon": 1e-3}],
    "adam": [{}, {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-2}, {"beta1": 0.0, "beta2": 0.0}],
    "adam_hat": [{}, {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-2}],
    "adamw": [{}, {"beta1": 0.8, "epsilon": 1e-2}],
    "amsgrad": [{}, {"beta2": 0.6}],
    "nadam": [{}, {"momentum_decay": 0.1, "beta1": 0.8}],
    "radam": [{}, {"beta1": 0.8, "beta2": 0.9}],
    "adamax": [{}, {"beta1": 0.8, "beta2": 0.9, "epsilon": 1e-2}],
    "lion": [{}, {"beta1": 0.7, "beta2": 0.8}],
    "lamb": [{}, {"beta1": 0.8, "epsilon": 1e-2}, {"adapt": False}],
    "muon": [{}, {"nesterov": False, "momentum": 0.8}, {"iterations": 3}],
}  # fmt: skip
REFERENCE_DEFAULTS: dict[str, dict[str, Any]] = {
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9, "nesterov": True},
    "muon": {"shape": SHAPE},
}
LOOPS = {"momentum": loops.sgd, "nesterov": loops.sgd}
CASES = [
    pytest.param(name, options, decay, id=f"{name}-{i}-{decay}")
    for name, variants in VARIANTS.items()
    for i, options in enumerate(variants)
    for decay in (0.0, 0.1)
]


def reference(name: str, rate: float, **options: Any) -> np.ndarray:
    loop = LOOPS.get(name) or getattr(loops, name)
    given = REFERENCE_DEFAULTS.get(name, {}) | options
    return np.reshape(loop(START.ravel(), [gradient] * STEPS, rate, **given), SHAPE)


def test_the_table_is_complete() -> None:
    assert set(Optimizer.table) == {*VARIANTS, "lbfgs"}
    assert {
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adadelta", "adam", "amsgrad", "adamw",
        "nadam", "radam", "adamax", "lion", "lamb", "muon", "lbfgs", "adam_hat",
    } == set(Optimizer.table)  # fmt: skip


@pytest.mark.parametrize(("name", "options", "decay"), CASES)
def test_against_loops(name: str, options: dict[str, Any], decay: float) -> None:
    rate = 0.5 if name == "adadelta" else 0.05
    optimizer = Optimizer.table[name](rate, weight_decay=decay, **options)
    found = Driver(optimizer, {"0.W": START}).run(gradient, STEPS)
    wanted = reference(name, rate, decay=decay, **options)
    assert np.abs(wanted - START).max() > 0.05
    # Sums of a dozen roundings over 50 steps; Muon's iterations multiply them by some 3.4**5.
    bound = 1e-9 if name == "muon" else 2000 * np.finfo(float).eps
    np.testing.assert_allclose(found, wanted, rtol=bound, atol=bound)


@pytest.mark.parametrize("name", RULES)
def test_float32_follows_float64(name: str) -> None:
    """50 steps of float32 stay within 50 roundings of the size of p, times the rule's
    amplification.
    """
    optimizer = Optimizer.table[name](0.02, weight_decay=0.1)
    rough = Driver(optimizer, {"0.W": START}, dtype="float32").run(gradient, STEPS)
    exact = Driver(optimizer, {"0.W": START}).run(gradient, STEPS)
    assert rough.dtype == np.float32
    amplification = {"muon": 60, "rmsprop": 10, "lion": 10}.get(name, 4)
    bound = amplification * STEPS * np.finfo(np.float32).eps
    np.testing.assert_allclose(rough, exact, atol=bound * np.abs(exact).max())


@pytest.mark.parametrize(
    "options", [{"weight_decay": 0.1, "clip_norm": 1.0}, {"clip_value": 0.5}], ids=str
)
@pytest.mark.parametrize("name", RULES)
def test_slices_change_nothing(name: str, options: dict[str, float]) -> None:
    optimizer = Optimizer.table[name](0.05, average=EMA(0.5), **options)
    arrays = {"0.W": START, "0.b": START[0], "1.W": START.T.copy()}
    drivers = [Driver(optimizer, arrays, slice_elements=n) for n in (None, 7)]
    for k in range(5):
        for driver in drivers:
            driver.step(W0=NOISE[k].reshape(3, 4), b0=NOISE[k, :4], W1=NOISE[k].reshape(4, 3))
    np.testing.assert_allclose(drivers[0].flat, drivers[1].flat, rtol=1e-13, atol=1e-15)
    averages = [driver.moments["average"] for driver in drivers]
    np.testing.assert_allclose(averages[0], averages[1], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("name", RULES)
def test_padding_stays_zero(name: str) -> None:
    optimizer = Optimizer.table[name](
        0.05, weight_decay=0.1, decay_all=True, clip_norm=0.5, clip_value=0.5, average=EMA(0.5)
    )
    driver = Driver(optimizer, {"0.W": START, "0.b": START[0], "1.n": START[1]})
    for k in range(3):
        driver.step(W0=NOISE[k].reshape(3, 4), b0=NOISE[k, :4], n1=NOISE[k, :4])
    for flat in (driver.flat, driver.gradient, *driver.moments.values()):
        padding = flat.copy()
        for view in driver.layout.views(padding).values():
            view[...] = 0
        assert not padding.any()


@pytest.mark.parametrize("name", RULES)
def test_nothing_is_allocated(name: str) -> None:
    optimizer = Optimizer.table[name](0.05, weight_decay=0.1, clip_norm=1.0, average=EMA(0.5))
    driver = Driver(optimizer, {"0.W": np.ones((100, 100)), "0.b": np.ones(100)}, dtype="float32")
    driver.step(W0=np.ones((100, 100)), b0=np.ones(100))
    tracemalloc.start()
    for call in driver.calls:
        call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8000  # the weights alone are 40,000 bytes


@pytest.mark.parametrize("name", RULES)
def test_nan_is_seen(name: str) -> None:
    driver = Driver(Optimizer.table[name](0.05), {"0.W": START})
    with np.errstate(all="ignore"):
        driver.step(W0=np.full(SHAPE, np.nan))
    assert np.isnan(driver.arrays["0.W"]).all()


@pytest.mark.parametrize("name", RULES)
def test_no_gradient_no_step(name: str) -> None:
    driver = Driver(
        Optimizer.table[name](0.05, weight_decay=0.0), {"0.W": START, "0.b": 0 * START[0]}
    )
    driver.step(W0=np.zeros(SHAPE), b0=np.zeros(4))
    np.testing.assert_array_equal(driver.arrays["0.W"], START)
    assert not driver.arrays["0.b"].any()


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "adamax", "lion"])
def test_the_first_step_is_the_rate(name: str) -> None:
    """With the bias undone, the first step is rate sign(g) whatever the size of g."""
    driver = Driver(Optimizer.table[name](0.5, weight_decay=0.0), {"0.W": np.zeros((1, 2))})
    driver.step(W0=np.array([[1e-3, -1e3]]))
    np.testing.assert_allclose(driver.arrays["0.W"], [[-0.5, 0.5]], rtol=2e-5)


def test_centred_rmsprop_takes_no_root_of_a_rounding() -> None:
    """For a gradient that stays, v - a**2 is zero but for roundings, of either sign."""
    rule = Optimizer.table["rmsprop"](1e-9, rho=0.5, centered=True)
    driver = Driver(rule, {"0.W": np.zeros((5, 20))}, dtype="float32")
    slopes = np.linspace(0.1, 3, 100).reshape(5, 20)
    driver.run(lambda W, k: slopes, 100)
    assert np.isfinite(driver.flat).all()


def test_radam_counts_its_first_step_once() -> None:
    """R_t exceeds 5 from the sixth step on; before, steps are rate m^ = rate g for a constant g."""
    driver = Driver(Optimizer.table["radam"](0.5), {"0.W": np.zeros((1, 1))})
    moves = []
    for _ in range(6):
        before = driver.arrays["0.W"].item()
        driver.step(W0=np.array([[4.0]]))
        moves.append(before - driver.arrays["0.W"].item())
    np.testing.assert_allclose(moves[:5], 2.0, rtol=1e-12)
    assert moves[5] < 0.1


@pytest.mark.parametrize("name", RULES)
def test_no_scratch_is_asked_for_in_vain(name: str) -> None:
    rule = Optimizer.table[name](0.1)
    work = tuple(np.full(SHAPE, np.nan) for _ in range(rule.scratch))
    moments = tuple(np.zeros(SHAPE) for _ in rule.moments)
    scalars = tuple(np.full(1, 0.5) for _ in range(rule.columns))
    rule.update(np, START.copy(), START, moments=moments, scalars=scalars, work=work)
    assert not any(np.isnan(array).all() for array in work)


def test_only_rules_for_whole_parameters_want_them() -> None:
    assert {name for name in RULES if Optimizer.table[name].by_parameter} == {"lamb", "muon"}


def test_moments_are_those_in_use() -> None:
    rule = Optimizer.table["rmsprop"]
    assert rule().moments == ("v",)
    assert rule(momentum=0.5).moments == ("v", "u")
    assert rule(momentum=0.5, centered=True).moments == ("v", "a", "u")
