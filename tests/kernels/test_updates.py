"""What stands around every rule: decay, clipping, accumulation, averages, rates by parameter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fakecupy
import numpy as np
import pytest
from updates import Driver

from mlpx import MLP, Callback, Dense
from mlpx.engines import Interpreter
from mlpx.errors import InputError, UnknownNameError
from mlpx.layers import BatchNorm, Dropout
from mlpx.optimizers import EMA, SGD, SWA, Adam, AdamW, Average, Muon, Optimizer
from mlpx.program.data import prepare_data
from mlpx.program.program import TrainingProgram

RULES = sorted(name for name, rule in Optimizer.table.items() if not rule.full_batch)
ARRAYS = {
    "0.W": np.arange(1.0, 7.0).reshape(2, 3),
    "0.b": np.ones(3),
    "1.W": np.full((3, 1), 2.0),
    "1.n": np.full(3, 3.0),
}
ZERO = {"W0": np.zeros((2, 3)), "b0": np.zeros(3), "W1": np.zeros((3, 1)), "n1": np.zeros(3)}


def after(optimizer: Optimizer, **gradients: np.ndarray) -> dict[str, np.ndarray]:
    driver = Driver(optimizer, ARRAYS)
    driver.step(**(ZERO | gradients))
    return driver.arrays


@pytest.mark.parametrize("name", RULES)
def test_decay_spares_biases_and_norms_unless_told(name: str) -> None:
    rule = Optimizer.table[name]
    spared = after(rule(0.1, weight_decay=0.5))
    for parameter, array in ARRAYS.items():
        decayed = parameter.endswith("W")
        assert np.array_equal(spared[parameter], array) != decayed
    everywhere = after(rule(0.1, weight_decay=0.5, decay_all=True))
    moved = [not np.array_equal(everywhere[p], array) for p, array in ARRAYS.items()]
    assert all(moved)


@pytest.mark.parametrize("name", ["adamw", "lion", "muon"])
def test_decoupled_decay_shrinks_by_the_rate(name: str) -> None:
    rule = Optimizer.table[name](0.1, weight_decay=0.5)
    np.testing.assert_allclose(after(rule)["0.W"], 0.95 * ARRAYS["0.W"], rtol=1e-14)


def test_groups_are_few() -> None:
    def spans(optimizer: Optimizer) -> list[tuple[int, int]]:
        return [(g.span.start, g.span.stop) for g in Driver(optimizer, ARRAYS).update.groups]

    assert len(spans(Adam())) == 1
    assert len(spans(AdamW())) == 2
    assert len(spans(AdamW(decay_all=True))) == 1
    assert len(spans(Muon())) == 2
    halves = spans(AdamW())
    assert halves == [(0, 64), (64, 128)]  # two matrices, then the rest; 32 numbers of padding each


def test_rate_multipliers() -> None:
    ones = {name: np.ones_like(array) for name, array in ZERO.items()}

    def moves(multipliers: dict[str, float]) -> dict[str, float]:
        found = after(SGD(1.0, rate_multipliers=multipliers), **ones)
        return {name: float((ARRAYS[name] - found[name]).mean()) for name in ARRAYS}

    assert moves({}) == {"0.W": 1, "0.b": 1, "1.W": 1, "1.n": 1}
    assert moves({"bias": 2.0}) == {"0.W": 1, "0.b": 2, "1.W": 1, "1.n": 1}
    assert moves({"0": 0.5, "bias": 4.0}) == {"0.W": 0.5, "0.b": 2, "1.W": 1, "1.n": 1}
    assert moves({"1.W": 3.0, "norm": 0.0}) == {"0.W": 1, "0.b": 1, "1.W": 3, "1.n": 0}
    assert moves({"weight": 0.5}) == {"0.W": 0.5, "0.b": 1, "1.W": 0.5, "1.n": 1}
    with pytest.raises(UnknownNameError, match=r"'2' is not a known parameter.*0.W"):
        moves({"2": 1.0})


@pytest.mark.parametrize("name", RULES)
def test_decay_multipliers(name: str) -> None:
    def rule(decay: float, **options: Any) -> Optimizer:
        return Optimizer.table[name](0.1, weight_decay=decay, decay_all=True, **options)

    decays = {factor: after(rule(0.3 * factor)) for factor in (0, 0.5, 1, 2)}
    told = rule(0.3, decay_multipliers={"0": 0.5, "bias": 0, "1.n": 2.0})
    for parameter, factor in {"0.W": 0.5, "0.b": 0, "1.W": 1, "1.n": 2}.items():
        np.testing.assert_array_equal(after(told)[parameter], decays[factor][parameter])
    with pytest.raises(UnknownNameError, match=r"'2' is not a known parameter.*0.W"):
        after(rule(0.3, decay_multipliers={"2": 1.0}))


def test_decay_multipliers_leave_alone_what_is_not_decayed() -> None:
    rule = AdamW(0.1, weight_decay=0.5, decay_multipliers={"bias": 3.0, "norm": 3.0, "0": 0.5})
    found = after(rule)
    np.testing.assert_array_equal(found["0.b"], ARRAYS["0.b"])
    np.testing.assert_array_equal(found["1.n"], ARRAYS["1.n"])
    np.testing.assert_allclose(found["0.W"], 0.975 * ARRAYS["0.W"], rtol=1e-14)
    none = AdamW(weight_decay=0.0, decay_multipliers={"0": 2})
    assert len(Driver(none, ARRAYS).update.groups) == 1


def test_a_frozen_layer_stays() -> None:
    x, y = data()
    model = MLP([5, 4, 2])
    before = model.parameters["0.W"].copy()
    model.fit(x, y, optimizer=AdamW(rate_multipliers={"0": 0}), epochs=2, verbose=0)
    np.testing.assert_array_equal(model.parameters["0.W"], before)
    assert model.parameters["1.b"].any()


# Clipping.
def test_clip_value() -> None:
    found = after(SGD(1.0, clip_value=0.5), W0=np.array([[3.0, -3.0, 0.1], [-0.1, 0.5, 0.6]]))
    moved = [[0.5, -0.5, 0.1], [-0.1, 0.5, 0.5]]
    np.testing.assert_allclose(ARRAYS["0.W"] - found["0.W"], moved, rtol=1e-12)


@pytest.mark.parametrize("slice_elements", [None, 5])
def test_clip_norm_is_of_the_whole_gradient(slice_elements: int | None) -> None:
    g = {
        "W0": np.full((2, 3), 3.0),
        "b0": np.full(3, -4.0),
        "W1": np.ones((3, 1)),
        "n1": np.ones(3),
    }
    norm = np.sqrt(sum(float((a * a).sum()) for a in g.values()))
    for limit, factor in ((2.0, 2.0 / norm), (100.0, 1.0)):
        driver = Driver(SGD(1.0, clip_norm=limit), ARRAYS, slice_elements=slice_elements)
        driver.step(**g)
        for name, array in ARRAYS.items():
            moved = array - driver.arrays[name]
            np.testing.assert_allclose(moved, factor * g[f"{name[2]}{name[0]}"], rtol=1e-12)


def test_clip_norm_neither_overflows_nor_hides_nan() -> None:
    for size in (1e-30, 1e30):
        driver = Driver(SGD(1.0, clip_norm=size), {"0.W": np.zeros((1, 2))}, dtype="float32")
        driver.step(W0=np.array([[3 * size, 4 * size]]))
        np.testing.assert_allclose(driver.arrays["0.W"], [[-0.6 * size, -0.8 * size]], rtol=1e-6)
    assert np.isnan(after(SGD(1.0, clip_norm=1.0), W0=np.full((2, 3), np.nan))["0.b"]).all()


def test_values_are_clipped_first_and_decay_comes_last() -> None:
    found = after(
        SGD(1.0, clip_value=1.0, clip_norm=1.0, weight_decay=0.5),
        W0=np.array([[5.0, 0, 0], [0, 0, -5.0]]),
    )
    moved = np.array([[0.5**0.5, 0, 0], [0, 0, -(0.5**0.5)]]) + 0.5 * ARRAYS["0.W"]
    np.testing.assert_allclose(ARRAYS["0.W"] - found["0.W"], moved, rtol=1e-12)


# Accumulation.
def data(n: int = 50) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(2)
    x = draw.normal(size=(n, 5))
    return x, (x[:, 0] > 0.2).astype(int)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n", [48, 50, 35])
@pytest.mark.parametrize("layers", [[Dense(6, activation="tanh", penalty="l2"), 2]])
def test_accumulated_batches_are_one_large_batch(weighted: bool, n: int, layers: list[Any]) -> None:
    """8 rows, three times: whole steps, and last ones of whole and of ragged parts."""
    x, y = data(n)
    w = np.linspace(0, 2, n) if weighted else None
    models = [MLP([5, *layers], dtype="float64") for _ in range(2)]
    options = {"epochs": 3, "sample_weight": w, "verbose": 0, "record_gradient_norms": True}
    parts = models[0].fit(x, y, optimizer=Adam(0.05, accumulate=3), batch_size=8, **options)
    whole = models[1].fit(x, y, optimizer=Adam(0.05), batch_size=24, **options)
    np.testing.assert_allclose(models[0].flat, models[1].flat, rtol=1e-11, atol=1e-13)
    np.testing.assert_allclose(parts.step_loss, whole.step_loss, rtol=1e-12)
    np.testing.assert_allclose(parts["accuracy"], whole["accuracy"], rtol=1e-12)
    for name, norms in whole.gradient_norms.items():
        np.testing.assert_allclose(parts.gradient_norms[name], norms, rtol=1e-10)
    assert models[0].training_state.step == models[1].training_state.step == 3 * -(-n // 24)


def test_parts_draw_their_own_masks() -> None:
    """Equal rows in both parts: with equal masks the losses of the parts would be equal."""
    x = np.tile(np.random.default_rng(1).normal(size=(1, 40)), (16, 1))
    model = MLP([40, Dropout(0.5), 2], dtype="float64")
    rule = SGD(0.0, accumulate=2)
    loss = model.fit(
        x,
        np.arange(16) % 2,
        optimizer=rule,
        batch_size=8,
        epochs=1,
        sampling="sequential",
        verbose=0,
    ).step_loss
    half = MLP([40, Dropout(0.5), 2], dtype="float64").fit(
        x[:8], np.arange(8) % 2, optimizer=SGD(0.0), batch_size=8, epochs=1,
        sampling="sequential", verbose=0,
    ).step_loss  # fmt: skip
    assert abs(loss[0] - half[0]) > 1e-3


def test_accumulation_takes_no_part_of_one_row_for_statistics() -> None:
    x, y = data(17)
    model = MLP([5, 4, BatchNorm(), 2])
    history = model.fit(x, y, optimizer=SGD(0.1, accumulate=4), batch_size=4, epochs=1, verbose=0)
    assert len(history.step_loss) == 1
    assert np.isfinite(model.flat).all()


# Averages.
TRACE = [np.full((1, 2), float(k)) for k in range(1, 9)]


def traced(average: Average) -> list[np.ndarray]:
    """The average after each step of a walk 0, -1, -3, -6, ..."""
    driver = Driver(SGD(1.0, average=average), {"0.W": np.zeros((1, 2))})
    found = []
    for g in TRACE:
        driver.step(W0=g)
        found.append(driver.layout.views(driver.moments["average"])["0.W"][0, 0])
    return found


WALK = -np.cumsum([g[0, 0] for g in TRACE])


def test_ema_is_a_normalised_weighted_mean() -> None:
    for decay in (0.5, 0.9):
        for t, found in enumerate(traced(EMA(decay)), 1):
            weights = decay ** np.arange(t - 1.0, -1, -1)
            np.testing.assert_allclose(found, weights @ WALK[:t] / weights.sum(), rtol=1e-12)


def test_swa_is_the_plain_mean_from_its_start() -> None:
    found = traced(SWA(3, every=2))
    wanted = [*WALK[:3], WALK[2], WALK[[2, 4]].mean(), WALK[[2, 4]].mean()]
    wanted += [WALK[[2, 4, 6]].mean()] * 2
    np.testing.assert_allclose(found, wanted, rtol=1e-14)
    np.testing.assert_allclose(traced(SWA(1)), [WALK[:t].mean() for t in range(1, 9)], rtol=1e-14)
    assert SWA().open
    assert not SWA(5).open
    assert not EMA().open
    assert SWA().resolved(100) == SWA(75)
    assert SWA(5, every=2).resolved(100) == SWA(5, every=2)
    assert SWA().resolved(1) == SWA(1)


def test_averages_check_their_ranges() -> None:
    for make, message in (
        (lambda: EMA(1.0), r"decay = 1\.0; it must be in \(0, 1\)"),
        (lambda: EMA(0.0), r"decay = 0\.0"),
        (lambda: SWA(0), "start = 0"),
        (lambda: SWA(every=0), "every = 0"),
        (lambda: SWA().weights(np.ones(1)), "swa has start = None"),
    ):
        with pytest.raises(InputError, match=message):
            make()
    assert Adam(average="ema").average == EMA()
    assert (EMA().decay, SWA().every) == (0.999, 1)
    for average in (EMA(), SWA()):
        with pytest.raises(AttributeError, match="cannot assign"):
            average.decay = 0.5


class Watch(Callback):
    def __init__(self) -> None:
        self.seen: list[np.ndarray] = []

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        self.seen.append(run.model.flat.copy())


@pytest.mark.parametrize("average", [EMA(0.8), SWA(3, every=2)])
def test_outside_of_steps_the_model_is_the_average(average: Average) -> None:
    x, y = data()
    plain, averaged, watch = (
        MLP([5, 4, 2], dtype="float64"),
        MLP([5, 4, 2], dtype="float64"),
        Watch(),
    )
    raw = Watch()
    plain.fit(x, y, optimizer=SGD(0.3), epochs=5, batch_size=50, callbacks=[raw], verbose=0)
    history = averaged.fit(
        x, y, optimizer=SGD(0.3, average=average), epochs=5, batch_size=50, callbacks=[watch],
        validation_data=(x, y), verbose=0,
    )  # fmt: skip
    t = np.arange(1.0, 6.0)
    mean = np.zeros_like(plain.flat)
    for flat, weight, seen in zip(raw.seen, average.weights(t), watch.seen, strict=True):
        mean = (1 - weight) * mean + weight * flat
        np.testing.assert_allclose(seen, mean, rtol=1e-12, atol=1e-15)
    np.testing.assert_array_equal(averaged.flat, watch.seen[-1])
    np.testing.assert_allclose(averaged.training_state.moments["average"], plain.flat, rtol=1e-12)
    assert history["val_loss"][-1] == pytest.approx(averaged.evaluate(x, y)["loss"])


@pytest.mark.parametrize("name", RULES)
def test_everything_at_once_resumes_exactly(name: str, tmp_path: Path) -> None:
    x, y = data()
    rule = Optimizer.table[name](
        0.01, weight_decay=0.1, clip_norm=1.0, clip_value=0.5, accumulate=2, average=EMA(0.9),
        rate_multipliers={"bias": 2.0},
    )  # fmt: skip
    options = {"optimizer": rule, "batch_size": 8, "verbose": 0}
    layers = [5, 6, BatchNorm(), Dropout(0.2), 2]
    whole, parts = MLP(layers), MLP(layers)
    whole.fit(x, y, epochs=10, **options)
    parts.fit(x, y, epochs=5, **options)
    parts.save(tmp_path / "model")
    parts = MLP.load(tmp_path / "model")
    parts.fit(x, y, epochs=5, **options)
    assert parts.flat.tobytes() == whole.flat.tobytes()
    for moment, values in whole.training_state.moments.items():
        assert parts.training_state.moments[moment].tobytes() == values.tobytes()


def test_stopping_mid_epoch_keeps_the_average_apart() -> None:
    x, y = data()
    rule = Adam(0.05, average=EMA(0.9))
    whole, parts = MLP([5, 2]), MLP([5, 2])
    whole.fit(x, y, optimizer=rule, steps=7, batch_size=8, verbose=0)
    for steps in (2, 1, 4):
        parts.fit(x, y, optimizer=rule, steps=steps, batch_size=8, verbose=0)
    np.testing.assert_array_equal(parts.flat, whole.flat)


def test_numbers_too_small_leave_the_moments() -> None:
    """A weight whose input is zero has no gradient; its momentum must not stay denormal."""
    x, y = data(8)
    model = MLP([5, 2])
    options = {"optimizer": "adam", "batch_size": 8, "engine": "interpreter", "verbose": 0}
    model.fit(x, y, epochs=1, **options)
    tiny = np.finfo(np.float32).tiny
    moment = model.layout.views(model.training_state.moments["m"])["0.W"]
    moment[0] = tiny / 2
    x = x.copy()
    x[:, 0] = 0
    model.fit(x, y, epochs=510, **options)
    assert (moment[0] != 0).all()  # sticks where 0.9 rounds up
    model.fit(x, y, epochs=1, **options)
    assert (model.layout.views(model.training_state.moments["m"])["0.W"][0] == 0).all()


@pytest.mark.parametrize("name", RULES)
def test_a_device_does_the_same_without_allocating(name: str) -> None:
    """All at once, on the fake of CuPy, which counts."""
    x, y = data()
    rule = Optimizer.table[name](
        0.01, weight_decay=0.1, clip_norm=1.0, clip_value=0.5, accumulate=2, average=SWA(2)
    )
    models = []
    with fakecupy.installed() as cupy:
        for device in ("cpu", "cuda"):
            model = MLP([5, 6, 2], dtype="float64", device=device)
            model.fit(x, y, optimizer=rule, batch_size=8, epochs=1, verbose=0)
            models.append(model.backend.to_numpy(model.flat).copy())
        program = TrainingProgram(
            model, prepare_data(model, x, y), optimizer=rule,
            moments=model.training_state.moments, batch_size=16, rows=50, part_rows=8,
        )  # fmt: skip
        execute = Interpreter().prepare(program)
        program.start_epoch(np.arange(50), step=0)
        cupy.counters.reset()
        execute(program.full, 3)
        execute(program.last, 1)
        assert cupy.counters.allocations == cupy.counters.synchronizations == 0
    np.testing.assert_allclose(models[1], models[0], rtol=1e-11, atol=1e-13)
