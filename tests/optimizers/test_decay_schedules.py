"""Weight decay that follows a schedule: each step's number, runs in parts, and who may have one."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from noisy_quadratic import START
from updates import Driver

from mlpx import MLP, Callback, Optimizer
from mlpx.errors import InputError, InputTypeError
from mlpx.optimizers import SGD, Adam, AdamW
from mlpx.records import Record
from mlpx.schedules import Constant, Cosine, FlatCosine, Product, ReduceOnPlateau

DECOUPLED = ["adamw", "lion", "muon"]
T = np.arange(1.0, 9.0)


def test_these_are_all_that_decouple() -> None:
    assert sorted(n for n, rule in Optimizer.table.items() if rule.decay == "decoupled") == (
        DECOUPLED
    )


@pytest.mark.parametrize("name", DECOUPLED)
def test_each_step_has_its_decay(name: str) -> None:
    rate, decay = Cosine(0.5, 10), FlatCosine(0.6, 8)
    options = {"adam_rate": rate} if name == "muon" else {}
    rule = Optimizer.table[name](rate, weight_decay=decay, rate_multipliers={"1": 0.5}, **options)
    arrays = {"0.W": START, "1.W": START, "0.b": START[0]}
    driver = Driver(rule, {n: a.copy() for n, a in arrays.items()})
    none = {f"{n[-1]}{n[0]}": 0 * a for n, a in arrays.items()}
    for _ in T:
        driver.step(**none)
    shrunk = np.prod(1 - rate.rates(T) * decay.rates(T))
    slower = np.prod(1 - 0.5 * rate.rates(T) * decay.rates(T))
    for found, factor in (("0.W", shrunk), ("1.W", slower), ("0.b", 1.0)):
        np.testing.assert_allclose(driver.arrays[found], factor * arrays[found], rtol=1e-13)


def test_a_constant_schedule_is_the_number() -> None:
    x, y = np.random.default_rng(2).normal(size=(40, 5)), np.arange(40) % 2
    flats = []
    for decay in (0.3, Constant(0.3)):
        model = MLP([5, 4, 2])
        model.fit(x, y, optimizer=AdamW(0.01, weight_decay=decay), epochs=3, verbose=0)
        flats.append(model.flat)
    np.testing.assert_array_equal(*flats)


class Stop(Callback):
    """Ends a run after three epochs."""

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        if epoch == 2:
            run.stop("enough")


@pytest.mark.parametrize("saved", [False, True])
def test_an_open_one_goes_on_where_the_run_stopped(saved: bool, tmp_path: Any) -> None:
    x, y = np.random.default_rng(2).normal(size=(40, 5)), np.arange(40) % 2
    rule = AdamW(0.01, weight_decay=FlatCosine(0.5))
    options: dict[str, Any] = {"optimizer": rule, "batch_size": 8, "verbose": 0}
    given = {**options, "optimizer": AdamW(0.01, weight_decay=FlatCosine(0.5, 30))}
    whole, parts, told = MLP([5, 4, 2]), MLP([5, 4, 2]), MLP([5, 4, 2])
    whole.fit(x, y, epochs=6, **options)
    told.fit(x, y, epochs=6, **given)
    np.testing.assert_array_equal(told.flat, whole.flat)
    parts.fit(x, y, epochs=6, callbacks=[Stop()], **options)
    if saved:
        parts.save(tmp_path / "model")
        parts = MLP.load(tmp_path / "model")
    assert parts.training_state.optimizer == rule
    assert (parts.training_state.step, parts.training_state.total) == (15, 30)
    parts.fit(x, y, epochs=3, **options)
    np.testing.assert_array_equal(parts.flat, whole.flat)


def test_it_is_resolved_with_the_rate_and_kept_in_json() -> None:
    rule = AdamW(Cosine(0.1), weight_decay=FlatCosine(0.5))
    assert rule.open
    assert AdamW(0.1, weight_decay=FlatCosine(0.5)).open
    assert rule.schedules == (Cosine(0.1), FlatCosine(0.5))
    assert rule.resolved(0, 60) == AdamW(Cosine(0.1, 60), weight_decay=FlatCosine(0.5, 60))
    assert Record.from_config(json.loads(json.dumps(rule.config()))) == rule
    assert rule.for_parameter("bias", (3,)).weight_decay == 0.0
    assert rule.for_parameter("weight", (3, 2)) == rule


def test_multipliers_are_of_each_steps_decay() -> None:
    decay = FlatCosine(0.6, 8)
    driver = Driver(
        AdamW(0.5, weight_decay=decay, decay_all=True, decay_multipliers={"1": 0.5, "bias": 0}),
        {n: START.copy() for n in ("0.W", "1.W", "0.b")},
    )
    for _ in T:
        driver.step(W0=0 * START, W1=0 * START, b0=0 * START)
    for found, factor in (("0.W", 1.0), ("1.W", 0.5), ("0.b", 0.0)):
        shrunk = np.prod(1 - 0.5 * factor * decay.rates(T))
        np.testing.assert_allclose(driver.arrays[found], shrunk * START, rtol=1e-13)


@pytest.mark.parametrize("name", sorted({*Optimizer.table} - {*DECOUPLED}))
def test_others_want_a_number(name: str) -> None:
    said = rf"weight_decay = Cosine\(.*\); in {name} it must be a number: .* as in adamw, lion"
    with pytest.raises(InputError, match=said):
        Optimizer.table[name](weight_decay=Cosine(0.1))


def test_what_decay_cannot_be() -> None:
    watching = Product((Constant(1.0), ReduceOnPlateau(0.1, monitor="val_loss")))
    with pytest.raises(InputError, match=r"weight_decay = .* watches 'val_loss'; .* for learning"):
        AdamW(weight_decay=watching)
    with pytest.raises(InputTypeError, match=r"weight_decay is the class Cosine; make one"):
        AdamW(weight_decay=Cosine)  # type: ignore[arg-type]
    for rule in (Adam, SGD, AdamW):
        with pytest.raises(InputError, match=r"weight_decay = -0\.1"):
            rule(weight_decay=-0.1)
