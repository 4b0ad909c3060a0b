"""Every optimizer against plain float64 loops, and at work."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import numpy as np
import pytest
from reference import optimizers as loops
from updates import Driver

from mlpx import MLP
from mlpx.errors import InputError, InputTypeError, UnknownNameError
from mlpx.optimizers import EMA, LBFGS, SGD, SWA, Adam, AdamW, Muon, Optimizer
from mlpx.records import Record
from mlpx.schedules import Constant, Cosine, Warmup

STEPS = 50
SHAPE = (3, 4)
RULES = sorted(name for name in Optimizer.table if name != "lbfgs")

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

rng = np.random.default_rng(3)
START = rng.normal(size=SHAPE)
SLOPES = rng.uniform(0.5, 2.0, size=START.size)
NOISE = rng.normal(size=(STEPS, START.size))


def gradient(p: Any, k: int) -> np.ndarray:
    """Of a quadratic, and noise that differs from step to step, with zeros now and then."""
    return np.where(NOISE[k] > 1.5, 0.0, SLOPES * np.ravel(p) + NOISE[k])


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


@pytest.mark.parametrize("name", RULES)
def test_slices_change_nothing(name: str) -> None:
    optimizer = Optimizer.table[name](0.05, weight_decay=0.1, clip_norm=1.0, average=EMA(0.5))
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


def test_muon_steps_are_nearly_orthogonal() -> None:
    for shape in ((5, 3), (3, 5), (4, 4)):
        driver = Driver(Muon(1.0), {"0.W": np.zeros(shape)})
        driver.step(W0=np.random.default_rng(1).normal(size=shape))
        scale = max(1.0, shape[1] / shape[0]) ** 0.5
        values = np.linalg.svd(driver.arrays["0.W"] / scale, compute_uv=False)
        assert 0.6 < values.min() <= values.max() < 1.3


@pytest.mark.parametrize("shape", [(4, 3), (6, 2), (3, 3), (10, 11)])
def test_muon_against_loops_in_other_shapes(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(9)
    start, noise = draw.normal(size=shape), draw.normal(size=(3, *shape))
    driver = Driver(Muon(0.05, weight_decay=0.1), {"0.W": start})
    found = driver.run(lambda W, k: noise[k], 3)
    pushes = [lambda p, k: noise[k].ravel()] * 3
    wanted = loops.muon(start.ravel(), pushes, 0.05, shape=shape, decay=0.1)
    np.testing.assert_allclose(found, np.reshape(wanted, shape), rtol=1e-11, atol=1e-11)


def test_muon_is_for_matrices_of_weights_and_has_one_moment_there() -> None:
    assert Muon().for_parameter("weight", (3, 2)) == Muon()
    for kind, shape in (("weight", (3,)), ("norm", (3, 2)), ("bias", (3,))):
        assert isinstance(Muon().for_parameter(kind, shape), AdamW)
    driver = Driver(Muon(), {"0.W": START})
    driver.step(W0=NOISE[0].reshape(SHAPE))
    assert driver.moments["m"].any()
    assert not driver.moments["v"].any()


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


def test_a_run_gives_schedules_and_averages_its_length() -> None:
    assert not Adam(average=EMA()).open
    assert Adam(average=SWA()).open
    assert Adam(Cosine(0.1)).open
    found = Adam(Cosine(0.1), average=SWA()).resolved(40, 60)
    assert found.average == SWA(75)
    t = np.arange(41.0, 101.0)
    np.testing.assert_allclose(found.rates(t), Cosine(0.1, 60).rates(t - 40))
    assert not found.rates(np.arange(1.0, 40.0)).any()
    assert Adam(Cosine(0.1)).resolved(0, 60) == Adam(Cosine(0.1, 60))


def test_lamb_takes_steps_in_proportion_to_weights() -> None:
    driver = Driver(
        Optimizer.table["lamb"](0.1, weight_decay=0.0), {"0.W": 7 * START, "0.b": np.full(4, 3.0)}
    )
    driver.step(W0=NOISE[0].reshape(SHAPE), b0=np.ones(4))
    moved = np.linalg.norm(driver.arrays["0.W"] - 7 * START)
    np.testing.assert_allclose(moved, 0.1 * np.linalg.norm(7 * START), rtol=1e-12)
    np.testing.assert_allclose(driver.arrays["0.b"], 2.9, rtol=1e-5)


def test_lamb_leaves_zero_weights_and_one_of_a_huge_step() -> None:
    rule = Optimizer.table["lamb"](0.1, weight_decay=0.0)
    driver = Driver(rule, {"0.W": np.zeros((1, 1))})
    driver.step(W0=np.array([[3.0]]))
    np.testing.assert_allclose(driver.arrays["0.W"], -0.1, rtol=1e-6)


# Learning. Rates and budgets are stated; where a rule needs a schedule it has one.
QUADRATIC: dict[str, tuple[Any, int]] = {
    "sgd": (0.4, 60), "momentum": (0.1, 300), "nesterov": (0.1, 300), "adagrad": (1.0, 300),
    "rmsprop": (Cosine(0.1, 600), 600), "adadelta": (Cosine(30.0, 600), 600),
    "adam": (Cosine(0.2, 400), 400), "adamw": (Cosine(0.2, 400), 400),
    "adam_hat": (Cosine(0.2, 400), 400),
    "amsgrad": (Cosine(0.2, 400), 400), "nadam": (Cosine(0.2, 400), 400),
    "radam": (Cosine(0.2, 400), 400), "adamax": (Cosine(0.2, 400), 400),
    "lion": (Cosine(0.1, 600), 600), "lamb": (Cosine(0.1, 600), 600),
    "muon": (Cosine(0.2, 400), 400),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_minimum_of_a_least_squares_problem(name: str) -> None:
    """|A W - B|**2 / 2 with a condition number of 4 and its minimum at a W known."""
    draw = np.random.default_rng(8)
    A = np.linalg.qr(draw.normal(size=(6, 6)))[0] * np.linspace(1, 2, 6)
    least = draw.normal(size=(6, 3))
    rate, steps = QUADRATIC[name]
    driver = Driver(Optimizer.table[name](rate, weight_decay=0.0), {"0.W": least + 1.0})
    W = driver.run(lambda W, k: A.T @ (A @ (W - least)), steps)
    assert np.abs(W - least).max() < 2e-3


# Without a warm-up the first gradient, of 230, throws rectified and looking-ahead rules far off.
VALLEY: dict[str, Any] = {
    "momentum": Cosine(1e-3, 3000), "nesterov": Cosine(1e-3, 3000), "adam": Cosine(0.2, 3000),
    "adamw": Cosine(0.2, 3000), "amsgrad": Cosine(0.2, 3000), "lion": Cosine(0.02, 3000),
    "rmsprop": Warmup(50, Cosine(0.01, 4950)), "nadam": Warmup(50, Cosine(0.05, 4950)),
    "radam": Warmup(50, Cosine(0.2, 4950)), "adamax": Warmup(50, Cosine(0.5, 2950)),
}  # fmt: skip
"""Those meant for it: not the rules whose steps shrink for good, nor those for matrices."""


@pytest.mark.parametrize("name", sorted(VALLEY))
def test_rosenbrocks_valley(name: str) -> None:
    """From (-1.2, 1) to (1, 1) in 3000 steps, or 5000 of which 50 are a warm-up."""
    rule = Optimizer.table[name](VALLEY[name], weight_decay=0.0)
    driver = Driver(rule, {"0.W": np.array([[-1.2, 1.0]])})

    def slope(W: np.ndarray, k: int) -> np.ndarray:
        x, y = W[0]
        return np.array([-2 * (1 - x) - 400 * x * (y - x * x), 200 * (y - x * x)])

    steps = 3000 if isinstance(VALLEY[name], Cosine) else 5000
    np.testing.assert_allclose(driver.run(slope, steps), [[1.0, 1.0]], atol=0.01)


MEMORY_RATES = {
    "sgd": 0.5, "momentum": 0.1, "nesterov": 0.1, "adagrad": 0.1, "rmsprop": 0.01, "adadelta": 10.0,
    "lion": 0.003, "lamb": 0.03, "muon": 0.05, "radam": 0.03,
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_memorises_a_batch(name: str) -> None:
    """40 random points with random labels, in 400 steps of the full batch."""
    draw = np.random.default_rng(1)
    x, y = draw.normal(size=(40, 6)), draw.integers(0, 3, size=40)
    rule = Optimizer.table[name](MEMORY_RATES.get(name, 0.02), weight_decay=0.0)
    model = MLP([6, 64, 3], dtype="float64")
    history = model.fit(x, y, optimizer=rule, epochs=400, batch_size=40, verbose=0)
    assert history["accuracy"][-1] == pytest.approx(1.0)
    assert history["loss"][-1] < 0.1


# Constructors.
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("adam", {"beta1": 1.2}, r"beta1 = 1\.2; it must be in \[0, 1\)"),
        ("adam", {"beta2": 1.0}, r"beta2 = 1\.0; it must be in \[0, 1\)"),
        ("adam", {"epsilon": 0.0}, r"epsilon = 0\.0; it must be in \(0, inf\)"),
        ("adam", {"learning_rate": -1.0}, r"learning_rate = -1\.0"),
        ("adam", {"learning_rate": float("nan")}, "learning_rate = nan"),
        ("adam", {"weight_decay": -0.1}, r"weight_decay = -0\.1"),
        ("adam", {"clip_norm": 0.0}, r"clip_norm = 0\.0"),
        ("adam", {"clip_value": -1.0}, r"clip_value = -1\.0"),
        ("adam", {"accumulate": 0}, "accumulate = 0"),
        ("adam", {"rate_multipliers": {"bias": -1.0}}, r"rate_multipliers\['bias'\] = -1\.0"),
        ("adam", {"rate_multipliers": {0: 1.0}}, "rate_multipliers has the key 0"),
        ("sgd", {"momentum": 1.0}, r"momentum = 1\.0"),
        ("sgd", {"dampening": 1.0}, r"dampening = 1\.0"),
        ("sgd", {"nesterov": True}, "nesterov=True with momentum = 0"),
        ("sgd", {"nesterov": True, "momentum": 0.9, "dampening": 0.1}, "no dampening"),
        ("adagrad", {"epsilon": 0.0}, r"epsilon = 0\.0"),
        ("rmsprop", {"rho": 1.0}, r"rho = 1\.0"),
        ("rmsprop", {"epsilon": 0.0}, r"epsilon = 0\.0"),
        ("rmsprop", {"momentum": -0.1}, r"momentum = -0\.1"),
        ("rmsprop", {"momentum": 1.0}, r"momentum = 1\.0"),
        ("adadelta", {"rho": -0.5}, r"rho = -0\.5"),
        ("adadelta", {"rho": 1.0}, r"rho = 1\.0"),
        ("adadelta", {"epsilon": 0.0}, r"epsilon = 0\.0"),
        ("nadam", {"momentum_decay": -1.0}, r"momentum_decay = -1\.0"),
        ("lion", {"beta1": 1.0}, r"beta1 = 1\.0"),
        ("lion", {"beta2": -0.1}, r"beta2 = -0\.1"),
        ("lion", {"beta2": 1.0}, r"beta2 = 1\.0"),
        ("muon", {"momentum": 1.0}, r"momentum = 1\.0"),
        ("muon", {"iterations": 0}, "iterations = 0"),
        ("muon", {"adam_rate": -1.0}, r"adam_rate = -1\.0"),
        ("muon", {"adam_beta1": 1.0}, r"adam_beta1 = 1\.0"),
        ("muon", {"adam_beta2": 2.0}, r"adam_beta2 = 2\.0"),
        ("muon", {"adam_epsilon": 0.0}, r"adam_epsilon = 0\.0"),
        ("lbfgs", {"memory": 0}, "memory = 0"),
        ("lbfgs", {"tolerance": -1.0}, r"tolerance = -1\.0"),
        ("lbfgs", {"searches": 0}, "searches = 0"),
        ("lbfgs", {"learning_rate": 0.1}, r"learning_rate = 0\.1; lbfgs"),
        ("lbfgs", {"clip_norm": 1.0}, r"clip_norm = 1\.0; lbfgs"),
        ("lbfgs", {"average": EMA()}, "average = .*lbfgs"),
    ],
)
def test_range_checks(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Optimizer.table[name](**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": "fast"}, "learning_rate = 'fast'"),
        ({"learning_rate": Cosine}, "is the class Cosine"),
        ({"decay_all": 1}, "decay_all = 1"),
        ({"nesterov": 1}, "nesterov = 1"),
        ({"average": 3}, "average is 3"),
        ({"rate_multipliers": 3}, "rate_multipliers is 3"),
        ({"accumulate": 2.5}, "accumulate = 2.5"),
    ],
)
def test_type_checks(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputTypeError, match=message):
        SGD(**options)


@pytest.mark.parametrize("name", sorted(Optimizer.table))
def test_common_checks_and_no_changes(name: str) -> None:
    for options in ({"learning_rate": -1.0}, {"weight_decay": -1.0}, {"clip_norm": 0.0}):
        with pytest.raises(InputError, match=f"{next(iter(options))} = "):
            Optimizer.table[name](**options)
    with pytest.raises(AttributeError, match="cannot assign"):
        Optimizer.table[name]().weight_decay = 1.0


@pytest.mark.parametrize("name", sorted(Optimizer.table))
def test_survives_json(name: str) -> None:
    options: dict[str, Any] = {"weight_decay": 0.25}
    if name != "lbfgs":
        options |= {
            "learning_rate": Warmup(10, Cosine(0.1)), "average": SWA(every=3), "accumulate": 2,
            "rate_multipliers": {"bias": 2.0, "0.W": 0.5}, "clip_norm": 1.0,
        }  # fmt: skip
    made = Optimizer.table[name](**options)
    again = Record.from_config(json.loads(json.dumps(made.config())))
    assert again == made
    assert type(again) is type(made)
    assert Optimizer.table[name]() != made


@pytest.mark.parametrize(
    ("name", "flag"), [("muon", "nesterov"), ("lamb", "adapt"), ("rmsprop", "centered")]
)
def test_flags_are_flags(name: str, flag: str) -> None:
    with pytest.raises(InputTypeError, match=f"{flag} = 1 is a int; it must be True or False"):
        Optimizer.table[name](**{flag: 1})


def test_names_and_instances() -> None:
    assert Optimizer.resolve("adamw") == Optimizer.table["adamw"]()
    assert Adam(1e-2).learning_rate == 1e-2
    with pytest.raises(TypeError, match="positional"):
        Adam(1e-2, 0.9)
    with pytest.raises(UnknownNameError, match="did you mean 'adam'"):
        Optimizer.resolve("adamm")


def test_lamb_adapts_weights_alone() -> None:
    rule = Optimizer.resolve("lamb")
    assert rule.for_parameter("weight", (3, 4)) is rule
    for kind in ("bias", "norm"):
        changed = rule.for_parameter(kind, (4,)).config()
        assert (changed["adapt"], changed["weight_decay"]) == (False, 0.0)


def test_what_waits_for_the_length_of_the_run() -> None:
    """The average or a schedule, either alone."""
    assert Adam(average=SWA()).open
    assert Adam(Cosine(0.1)).open
    assert not Adam(Cosine(0.1, 5), average=SWA(3)).open
    resolved = Adam(average=SWA()).resolved(0, 8)
    assert resolved.average == SWA(6)
    assert not resolved.open
    assert Adam(Cosine(0.1)).resolved(0, 8).average is None
    assert Adam(Cosine(0.1), average=EMA()).resolved(0, 8).average == EMA()


def test_defaults_of_lbfgs() -> None:
    rule = LBFGS()
    assert (rule.memory, rule.tolerance, rule.searches) == (10, 1e-5, 20)


def test_defaults() -> None:
    """The usual ones; those of the rate, of weight decay and of the two momenta."""
    table = Optimizer.table
    rates = {name: table[name]().learning_rate for name in table}
    assert rates == {
        "sgd": 0.1, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.01, "rmsprop": 0.01,
        "adadelta": 1.0, "adam": 1e-3, "adam_hat": 1e-3, "adamw": 1e-3, "amsgrad": 1e-3,
        "nadam": 2e-3, "radam": 1e-3,
        "adamax": 2e-3, "lion": 1e-4, "lamb": 1e-3, "muon": 0.02, "lbfgs": 1.0,
    }  # fmt: skip
    decays = {name: table[name]().weight_decay for name in table}
    assert {name: d for name, d in decays.items() if d} == {"adamw": 0.01, "lamb": 0.01}
    muon, lbfgs = Muon(), LBFGS()
    assert (muon.adam_rate, muon.adam_beta1, muon.adam_epsilon) == (3e-4, 0.9, 1e-10)
    assert (lbfgs.memory, lbfgs.tolerance, lbfgs.searches) == (10, 1e-5, 20)
    for name in table:
        made = table[name]()
        assert (made.accumulate, made.decay_all, made.rate_multipliers) == (1, False, ())
        assert made.clip_value is made.clip_norm is made.average is None
    assert Constant(0.5).rates(np.ones(2)).tolist() == [0.5, 0.5]
