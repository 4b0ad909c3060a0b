"""Schedules in runs: the rate of each step, the length, and what a later fit continues."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mlpx import MLP
from mlpx.errors import InputError
from mlpx.optimizers import SGD, SWA, Adam, Muon
from mlpx.schedules import (
    Constant,
    Cosine,
    OneCycle,
    Polynomial,
    ReduceOnPlateau,
    Schedule,
    Sequential,
    Step,
    Warmup,
)


def data() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(2)
    x = draw.normal(size=(40, 5))
    return x, (x[:, 0] > 0).astype(int)


def moved(schedule: Any, **fit: Any) -> list[np.ndarray]:
    """The changes of the parameters in each of 8 steps, over their gradient's step at rate 1."""
    x, y = data()
    model = MLP([5, 2], dtype="float64")
    rates = []
    for _ in range(8):
        twin = MLP([5, 2], dtype="float64")
        twin.flat[...] = model.flat
        start = model.flat.copy()
        model.fit(x, y, optimizer=SGD(schedule), batch_size=40, steps=1, verbose=0, **fit)
        twin.fit(x, y, optimizer=SGD(1.0), batch_size=40, steps=1, verbose=0)
        rates.append(np.linalg.norm(model.flat - start) / np.linalg.norm(twin.flat - start))
    return rates


def test_each_step_has_its_rate() -> None:
    schedule = Sequential((Constant(0.5), Step(0.4, 2, 0.5)), (2,))
    np.testing.assert_allclose(moved(schedule), schedule.rates(np.arange(1.0, 9)), rtol=1e-9)


def test_fit_takes_a_schedule_as_learning_rate() -> None:
    x, y = data()
    models = [MLP([5, 2]), MLP([5, 2])]
    models[0].fit(x, y, learning_rate=Cosine(0.1), epochs=3, verbose=0)
    models[1].fit(x, y, optimizer=Adam(Cosine(0.1, 6)), epochs=3, verbose=0)
    np.testing.assert_array_equal(models[0].flat, models[1].flat)
    assert models[0].training_state.optimizer == Adam(Cosine(0.1))


@pytest.mark.parametrize("saved", [False, True])
def test_an_open_schedule_goes_on_where_the_run_stopped(saved: bool, tmp_path: Any) -> None:
    x, y = data()
    rule = Adam(Warmup(2, Cosine(0.1)), average=SWA())
    whole, parts = MLP([5, 4, 2]), MLP([5, 4, 2])
    whole.fit(x, y, optimizer=rule, epochs=6, verbose=0)

    def stop(run: Any) -> None:
        if run.state.epoch == 3:
            run.stop("enough")

    class Stop(__import__("mlpx").Callback):
        def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
            stop(run)

    parts.fit(x, y, optimizer=rule, epochs=6, callbacks=[Stop()], verbose=0)
    if saved:
        parts.save(tmp_path / "model")
        parts = MLP.load(tmp_path / "model")
    assert parts.training_state.step == 6
    parts.fit(x, y, optimizer=rule, epochs=3, verbose=0)
    np.testing.assert_array_equal(parts.flat, whole.flat)
    for name, moment in whole.training_state.moments.items():
        np.testing.assert_array_equal(parts.training_state.moments[name], moment)


def test_an_open_schedule_begins_again_when_its_run_is_over() -> None:
    x, y = data()
    model = MLP([5, 2], dtype="float64")
    rule = SGD(Cosine(0.1))
    model.fit(x, y, optimizer=rule, epochs=3, verbose=0)
    assert (model.training_state.begin, model.training_state.total) == (0, 6)
    before = model.flat.copy()
    model.fit(x, y, optimizer=rule, epochs=2, verbose=0)
    assert (model.training_state.begin, model.training_state.total) == (6, 4)
    twin = MLP([5, 2], dtype="float64")
    twin.flat[...] = before
    twin.training_state = None
    shifted = Sequential((Constant(0.0), Cosine(0.1, 4)), (6,))
    twin.fit(x, y, optimizer=shifted_sgd(shifted), epochs=3, verbose=0)  # moves nothing: rate 0
    np.testing.assert_array_equal(twin.flat, before)
    twin.fit(x, y, optimizer=shifted_sgd(shifted), epochs=2, verbose=0)
    np.testing.assert_array_equal(twin.flat, model.flat)


@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize(
    "schedule",
    [Cosine(0.1, 12), OneCycle(0.1, 12), Polynomial(0.1, 12), Warmup(3, Cosine(0.1, 9))],
    ids=["cosine", "one cycle", "polynomial", "warmup"],
)
def test_a_schedule_with_its_steps_spans_calls(
    schedule: Schedule, saved: bool, tmp_path: Any
) -> None:
    x, y = data()
    whole, parts = MLP([5, 4, 2]), MLP([5, 4, 2])
    whole.fit(x, y, optimizer=Adam(schedule), epochs=6, verbose=0)
    for epochs in (3, 2, 1):
        history = parts.fit(x, y, optimizer=Adam(schedule), epochs=epochs, verbose=0)
        assert history.notes == []
        if saved:
            parts.save(tmp_path / "model")
            parts = MLP.load(tmp_path / "model")
    assert parts.flat.tobytes() == whole.flat.tobytes()


def test_a_schedule_that_begins_anew_says_so() -> None:
    x, y = data()
    model = MLP([5, 4, 2])
    for rule, noted in ((Adam(OneCycle(0.1)), [[], [1], [1]]), (Adam(0.1), [[], []])):
        for wanted in noted:
            notes = model.fit(x, y, optimizer=rule, epochs=2, verbose=0).notes
            assert len(notes) == len(wanted)
            assert all("starts over, because its steps are None" in note for note in notes)


def shifted_sgd(schedule: Schedule) -> SGD:
    return SGD(schedule)


def test_muon_has_two_schedules() -> None:
    rule = Muon(Cosine(0.1), adam_rate=Warmup(2, Cosine(0.01)))
    assert rule.open
    made = rule.resolved(0, 10)
    assert made.learning_rate == Cosine(0.1, 10)
    assert made.adam_rate == Warmup(2, Cosine(0.01, 8))
    assert not made.open


def test_plateau_acts_between_epochs_and_survives_a_file(tmp_path: Any) -> None:
    x, y = data()
    rule = SGD(ReduceOnPlateau(0.1, factor=0.5, patience=0, min_change=1e9))
    whole, parts = MLP([5, 2], dtype="float64"), MLP([5, 2], dtype="float64")
    whole.fit(x, y, optimizer=rule, epochs=6, batch_size=40, verbose=0)
    assert whole.training_state.schedule["scale"] == 0.5**5
    parts.fit(x, y, optimizer=rule, epochs=3, batch_size=40, verbose=0)
    parts.save(tmp_path / "model")
    saved = repr(parts.training_state.schedule)
    parts = MLP.load(tmp_path / "model")
    assert repr(parts.training_state.schedule) == saved
    assert parts.training_state.schedule["scale"] == 0.25
    parts.fit(x, y, optimizer=rule, epochs=3, batch_size=40, verbose=0)
    np.testing.assert_array_equal(parts.flat, whole.flat)
    steps = Step(0.1, 1, 0.5)  # from the second epoch on
    twin = MLP([5, 2], dtype="float64")
    same = Sequential((Constant(0.1), steps), (1,))
    twin.fit(x, y, optimizer=SGD(same), epochs=6, batch_size=40, verbose=0)
    np.testing.assert_allclose(twin.flat, whole.flat, rtol=1e-12)


def test_plateau_watches_a_column_there_is() -> None:
    x, y = data()
    with pytest.raises(InputError, match="watches 'val_loss'; this run reports"):
        MLP([5, 2]).fit(x, y, learning_rate=ReduceOnPlateau(0.1, "val_loss"), verbose=0)
