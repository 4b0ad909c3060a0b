"""Dropout whose rate follows a schedule: each step's mask, runs in parts, refusals."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest
from around_a_layer import batch, network
from stepping import Step

from mlpx import MLP, SGD, Callback, Dense, Dropout, MLPClassifier, Residual
from mlpx.engines.profile import profile
from mlpx.errors import InputError, InputTypeError
from mlpx.gradcheck import check_gradients
from mlpx.program.layer_numbers import LayerNumbers, named
from mlpx.records import Record
from mlpx.schedules import (
    Constant,
    Cosine,
    CosLog,
    FlatCosine,
    Product,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    Warmup,
)


def masked(layer: Dropout, *, t: int = 1, dtype: str = "float64") -> np.ndarray:
    """What the layer alone makes of ones in step `t` of an optimizer, the 6th of all."""
    x = np.ones((9, 13), dtype)
    model = MLP([13, layer, 2], dtype=dtype, seed=21, initializer="zeros")
    step = Step(model, x, np.zeros(9, dtype=np.int64), step=5, t=t)
    step.loss()
    found: np.ndarray = step.sites[1].kept["x"]
    return found


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("schedule", [Cosine(0.7, 10), Constant(0.0), Constant(1 - 1e-9)])
def test_each_step_has_the_mask_of_its_rate(schedule: Schedule, dtype: str) -> None:
    for t, rate in enumerate(schedule.rates(np.arange(1.0, 13)), start=1):
        coarse = min(round(rate * 2**24), 2**24 - 1) / 2**24
        wanted = masked(Dropout(coarse), dtype=dtype) if coarse else np.ones((9, 13))
        found = masked(Dropout(schedule), t=t, dtype=dtype)
        np.testing.assert_array_equal(found, wanted)


def test_a_run_drops_while_its_schedule_says_so() -> None:
    """Three steps as with Dropout(0.5), then three as without any."""
    x, y = batch()
    fit: dict[str, Any] = {"batch_size": 13, "sampling": "sequential", "verbose": 0}
    fit["optimizer"] = SGD(0.3)
    whole = network(Dropout(Sequential((Constant(0.5), Constant(0.0)), (3,))))
    first, second = network(Dropout(0.5)), network(Dropout(0.0))
    whole.fit(x, y, epochs=6, **fit)
    first.fit(x, y, epochs=3, **fit)
    second.flat[...] = first.flat
    second.fit(x, y, epochs=3, **fit)
    np.testing.assert_array_equal(whole.flat, second.flat)


class Stop(Callback):
    """Ends a run after three epochs."""

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        if epoch == 2:
            run.stop("enough")


def nested(rate: Schedule, **options: Any) -> MLP:
    """A net with dropout in front and inside a block."""
    block = Residual([Dropout(rate), Dense(5, activation="tanh")])
    return MLP([4, Dropout(rate), 5, block, 3], activation="tanh", seed=7, **options)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("where", ["a whole epoch", "within one"])
def test_an_open_schedule_goes_on_where_the_run_stopped(
    saved: bool, where: str, tmp_path: Any
) -> None:
    x, y = batch(33)
    fit: dict[str, Any] = {"batch_size": 8, "verbose": 0}
    whole, told, parts = nested(Cosine(0.8)), nested(Cosine(0.8, 30)), nested(Cosine(0.8))
    whole.fit(x, y, epochs=6, **fit)
    told.fit(x, y, epochs=6, **fit)
    np.testing.assert_array_equal(told.flat, whole.flat)
    if where == "within one":
        parts = nested(Cosine(0.8, 30))
        parts.fit(x, y, steps=17, **fit)
    else:
        parts.fit(x, y, epochs=6, callbacks=[Stop()], **fit)
        assert (parts.training_state.step, parts.training_state.total) == (15, 30)
    if saved:
        parts.save(tmp_path / "model")
        parts = MLP.load(tmp_path / "model")
    parts.fit(x, y, steps=30 - parts.training_state.step, **fit)
    np.testing.assert_array_equal(parts.flat, whole.flat)


def test_an_open_schedule_begins_again_when_its_run_is_over() -> None:
    x, y = batch(33)
    fit: dict[str, Any] = {"batch_size": 8, "verbose": 0}
    again = Sequential((Cosine(0.8, 10), Cosine(0.8, 5)), (10,))
    model, told = nested(Cosine(0.8)), nested(again)
    assert model.fit(x, y, epochs=2, **fit).notes == []
    (note,) = model.fit(x, y, epochs=1, **fit).notes
    assert note.startswith("a schedule starts over, because its steps are None")
    told.fit(x, y, epochs=2, **fit)
    told.fit(x, y, epochs=1, **fit)
    np.testing.assert_array_equal(model.flat, told.flat)


def test_a_rate_of_its_own_leaves_the_learning_rate_alone() -> None:
    """An open schedule of a layer does not make one with its own length start over."""
    x, y = batch(33)
    models = [nested(rate) for rate in (Constant(0.3), Warmup(1, FlatCosine(0.3, flat=0.9)))]
    for model in models:
        for _ in range(2):
            rule = SGD(Cosine(0.1, 4))  # ends in the first run
            model.fit(x, y, epochs=1, batch_size=8, optimizer=rule, verbose=0)
            left = model.flat.copy()
        model.fit(x, y, epochs=1, batch_size=8, optimizer=rule, verbose=0)
        np.testing.assert_array_equal(model.flat, left)


def test_names_are_those_of_the_plan() -> None:
    model = nested(Cosine(0.5, 9))
    names = [name for name, layer in named(model.layers) if isinstance(layer, Dropout)]
    assert names == ["0", "2.0"]
    numbers = LayerNumbers(model, steps=2)
    assert (numbers.widths, numbers.table.shape) == ({"0": 2, "2.0": 2}, (2, 4))
    assert LayerNumbers(network(Dropout(0.5)), steps=2).table.size == 0


@pytest.mark.parametrize("steps", [None, 9])
def test_it_survives_json(steps: int | None) -> None:
    layer = Dropout(CosLog(0.5, steps))
    assert Record.from_config(json.loads(json.dumps(layer.config()))) == layer
    assert layer.open == (steps is None)
    assert layer.stochastic
    model = nested(CosLog(0.5, steps))
    assert MLP.from_config(model.config()).layers == model.layers


def test_what_uses_a_single_step_takes_its_first_rate() -> None:
    model, (x, y) = nested(Cosine(0.4), dtype="float64"), batch()
    assert check_gradients(model, x, y).passed
    assert profile(model, x, y, steps=1).parts


def test_a_run_that_diverges_is_looked_at_with_the_rate_of_the_step() -> None:
    """All that is too large is dropped in three steps, and nothing in the fourth."""
    schedule = Sequential((Constant(1 - 2**-24), Constant(0.0)), (3,))
    model = MLP([1, Dropout(schedule), Dense(1)], loss="mean_squared_error")
    model.set_parameters({"1.W": [[2e38]]})
    x, y = np.full((40, 1), 2.0), np.zeros(40)
    said = r"at step 4 .* the output of layer 1 \(dense\) is the first .*; the gradient of 1\.W "
    with pytest.warns(RuntimeWarning, match=said):
        model.fit(x, y, batch_size=1, optimizer=SGD(0.0), epochs=10, verbose=0)


def test_an_estimator_takes_one(tmp_path: Any) -> None:
    x, y = batch(60)
    made = MLPClassifier((5, 4), dropout=FlatCosine(0.2), max_iter=3, tol=0, random_state=1)
    with warnings.catch_warnings(action="ignore"):  # it has not converged
        made.fit(x, y)
    kept = [layer for layer in made.model_.layers if isinstance(layer, Dropout)]
    assert kept == [Dropout(FlatCosine(0.2))] * 2
    made.save(tmp_path / "run")
    again = MLPClassifier.from_run(tmp_path / "run")
    assert again.dropout == FlatCosine(0.2)
    np.testing.assert_array_equal(again.predict_proba(x), made.predict_proba(x))


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Cosine(1.0), r"rate = Cosine\(.*\) comes to 1; it must stay in \[0, 1\)"),
        (CosLog(1.5, 40), r"comes to 1\.\d+; it must stay"),
        (Product((Constant(0.1), ReduceOnPlateau())), r"rate = .* watches 'loss'"),
    ],
)
def test_rates_that_no_dropout_can_have_are_refused(schedule: Schedule, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Dropout(schedule)


def test_a_rate_that_leaves_the_range_late_is_told_when_it_is_due() -> None:
    late = Dropout(Sequential((Constant(0.5), Constant(2.0)), (5000,)))
    assert len(late.numbers(np.arange(1.0, 5001))[0]) == 5000
    with pytest.raises(InputError, match="comes to 2; it must stay"):
        late.numbers(np.arange(4990.0, 5010))


def test_a_class_is_no_schedule() -> None:
    with pytest.raises(InputTypeError, match="rate is the class Cosine; make one"):
        Dropout(Cosine)  # type: ignore[arg-type]
