"""Reusing a prepared program: same bits as planning again, holds no data, little memory."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import cudasim
import numpy as np
import pytest

from mlpx import MLP, SGD, Adam, BatchNorm, Dense, Dropout, engines
from mlpx.engines.lowering import Translator
from mlpx.engines.native import NativeEngine
from mlpx.optimizers.averaging import EMA
from mlpx.program.program import TrainingProgram
from mlpx.schedules import Cosine
from mlpx.training import callbacks, prepared, run

pytestmark = pytest.mark.usefixtures("fake_cupy")

needs_native = pytest.mark.skipif(
    NativeEngine().missing() is not None, reason="the native library was not built here"
)
needs_simulator = pytest.mark.skipif(cudasim.compiler() is None, reason="no C++ compiler")
everywhere = pytest.mark.parametrize(
    ("device", "engine"),
    [
        ("cpu", "interpreter"),
        pytest.param("cpu", "native", marks=needs_native),
        ("cuda", "interpreter"),
        pytest.param("cuda", "cuda", marks=needs_simulator),
    ],
)


def network(device: str = "cpu", **options: Any) -> MLP:
    layers = [5, Dense(8, activation="tanh"), BatchNorm(), Dropout(0.3), 3]
    return MLP(layers, device=device, seed=3, **options)


def rows(n: int, dtype: str = "float32", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng((n, seed))
    return (rng.normal(size=(n, 5)) * 4).astype(dtype), rng.integers(0, 3, n)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The programs that fits make, in order."""
    made: list[Any] = []

    def make(*given: Any, **named: Any) -> TrainingProgram:
        made.append(TrainingProgram(*given, **named))
        return made[-1]

    monkeypatch.setattr(prepared, "TrainingProgram", make)
    return made


@contextmanager
def nothing_kept() -> Iterator[None]:
    """Makes every fit plan again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "take", lambda *_: None)
        yield


def assert_same(model: MLP, twin: MLP) -> None:
    to_numpy = model.backend.to_numpy
    assert np.array_equal(to_numpy(model.flat), to_numpy(twin.flat))
    assert model.training_state is not None
    assert twin.training_state is not None
    for name, moment in model.training_state.moments.items():
        assert np.array_equal(to_numpy(moment), to_numpy(twin.training_state.moments[name]))


# Each beside the one before differs in something that a step depends on.
FITS: list[dict[str, Any]] = [
    {},
    {"rows": 15},
    {"rows": 15, "batch_size": 5},
    {"dtype": "float64"},
    {"dtype": "uint8"},
    {"weights": True},
    {"record_gradient_norms": True},
    {"optimizer": SGD(0.1, momentum=0.9)},
    {"optimizer": SGD(0.1, momentum=0.9), "steps": 3},
    {"optimizer": Adam(0.01, average=EMA(0.9))},
    {"optimizer": Adam(0.01, accumulate=2)},
    {"sampling": "with_replacement"},
    {"threads": 2},
]


def fit(model: MLP, engine: str, seed: int, **options: Any) -> np.ndarray:
    """The losses of the steps of one fit, on data of its own."""
    given = {"batch_size": 4, "optimizer": Adam(0.01), "verbose": 0} | options
    x, y = rows(given.pop("rows", 14), given.pop("dtype", "float32"), seed)
    if given.pop("weights", False):
        given["sample_weight"] = np.linspace(0.5, 2, len(x))
    if "steps" not in given:
        given["epochs"] = 1
    found: np.ndarray = model.fit(x, y, engine=engine, **given).step_loss
    return found


@everywhere
def test_fits_that_differ_are_as_planned_anew(device: str, engine: str) -> None:
    """Each kind twice, in turn, on different rows every time."""
    model, twin = network(device), network(device)
    kinds = FITS if device == "cpu" else FITS[:5]  # the double is slow
    for i, options in enumerate([*kinds, *kinds[:2]]):
        losses = fit(model, engine, i, **options)
        with nothing_kept():
            assert np.array_equal(losses, fit(twin, engine, i, **options))
        assert_same(model, twin)


@everywhere
def test_fits_of_one_kind_plan_once(device: str, engine: str, programs: list[Any]) -> None:
    model = network(device)
    for i in range(2):
        fit(model, engine, i)
        fit(model, engine, i, rows=15)
    assert len(programs) == 2
    model.predict(rows(3)[0])
    model.set_parameters({"0.b": np.ones(8)})
    fit(model, engine, 9)
    assert len(programs) == 2
    fit(model, engine, 9, optimizer="sgd")  # whose moments are others
    fit(model, engine, 9)
    assert len(programs) == 4


@everywhere
def test_moments_that_are_begun_anew_are_those_that_move(device: str, engine: str) -> None:
    model = network(device)
    fit(model, engine, 0)
    model.training_state = None
    twin = copy.deepcopy(model)
    for each in (model, twin):
        fit(each, engine, 1)
    assert_same(model, twin)


@everywhere
def test_x_and_y_may_be_one_array_and_then_two(device: str, engine: str) -> None:
    """They are distinguished by their role, not by their address."""
    model, twin = (MLP([5, 4, 5], loss="mean_squared_error", device=device) for _ in range(2))
    x, other = rows(20)[0], rows(20, seed=1)[0]
    for y in (x, other, x):
        model.fit(x, y, epochs=1, engine=engine, verbose=0)
        with nothing_kept():
            twin.fit(x, y, epochs=1, engine=engine, verbose=0)
        assert_same(model, twin)


@everywhere
@pytest.mark.usefixtures("only_new_garbage")
def test_data_are_not_held(device: str, engine: str) -> None:
    model = network(device)
    for _ in range(2):
        x, y = (model.backend.asarray(part) for part in rows(20))
        watched = [weakref.ref(part) for part in (x, y)]
        model.fit(x, y, epochs=1, engine=engine, verbose=0)
        del x, y
        gc.collect()  # of the device's double, not of ours
        assert [part() for part in watched] == [None, None]


@needs_native
@pytest.mark.usefixtures("only_new_garbage")
def test_a_model_is_free_with_its_last_use() -> None:
    """What is kept does not refer to the model, so freeing it needs no garbage collection."""
    gc.collect()
    gc.disable()
    try:
        for engine in ("interpreter", "native"):
            model = network()
            fit(model, engine, 0)
            model.predict(rows(3)[0])
            plans = [*(each.program.full for each in model.prepared)]
            watched = [weakref.ref(each) for each in (model, *plans)]
            del model, plans
            assert not [each() for each in watched if each() is not None]
        assert not [each for each in gc.get_objects() if type(each) is Translator]
    finally:
        gc.enable()


class Failing(callbacks.Callback):
    """Raises at the end of an epoch."""

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        raise RuntimeError("asked to")


@everywhere
def test_an_error_leaves_nothing_for_the_next(
    device: str, engine: str, programs: list[Any]
) -> None:
    model, twin = network(device), network(device)
    for each in (model, twin):
        fit(each, engine, 0)
        with pytest.raises(RuntimeError, match="asked to"):
            fit(each, engine, 1, callbacks=[Failing()])
    fit(model, engine, 2)
    with nothing_kept():
        fit(twin, engine, 2)
    assert_same(model, twin)
    assert len(programs) == 4


class Nested(callbacks.Callback):
    """Fits the model again after each epoch, on rows of its own, with the same options."""

    def __init__(self, engine: str) -> None:
        self.engine = engine

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        fit(run.model, self.engine, 100 + epoch)


@everywhere
def test_a_fit_within_a_fit_has_a_program_of_its_own(device: str, engine: str) -> None:
    model, twin = network(device), network(device)
    fit(model, engine, 0)
    with nothing_kept():
        fit(twin, engine, 0)
    fit(model, engine, 1, steps=8, callbacks=[Nested(engine)])
    with nothing_kept():
        fit(twin, engine, 1, steps=8, callbacks=[Nested(engine)])
    assert_same(model, twin)


@everywhere
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_trains_its_own(device: str, engine: str, copied: Callable[[MLP], MLP]) -> None:
    model = network(device)
    fit(model, engine, 0)
    other = copied(model)
    assert other.prepared == []
    before = model.backend.to_numpy(model.flat).copy()
    fit(other, engine, 1)
    assert np.array_equal(model.backend.to_numpy(model.flat), before)
    fit(model, engine, 1)
    assert_same(model, other)


def test_what_no_fit_can_use_again_is_not_kept() -> None:
    model = network()
    for seed in range(3):
        fit(model, "auto", seed, optimizer=Adam(Cosine(0.01)))
    assert model.prepared == []
    fit(model, "auto", 0, steps=8, callbacks=[Nested("auto")])  # one kind, twice at a time
    assert len(model.prepared) == 1


def test_a_model_that_moves_leaves_it_behind() -> None:
    model, twin = network("cuda"), network("cpu")
    for device in ("cuda", "cpu", "cuda"):
        fit(model.to(device), "interpreter", 0)
        fit(twin, "interpreter", 0)
        assert len(model.prepared) == 1
    np.testing.assert_allclose(model.backend.to_numpy(model.flat), twin.flat, rtol=2e-5, atol=1e-6)


def test_what_is_kept_is_little(monkeypatch: pytest.MonkeyPatch) -> None:
    model = network()
    monkeypatch.setattr(prepared, "MOST", 4)
    for n in range(20, 30):
        fit(model, "auto", 0, rows=n)
    assert [each.program.rows for each in model.prepared] == [29, 28, 27, 26]
    one = model.prepared[0].nbytes
    assert one >= model.prepared[0].program.buffers.nbytes + model.flat.nbytes
    monkeypatch.setitem(prepared.MOST_BYTES, "cpu", one)
    fit(model, "auto", 0, rows=28)
    assert [each.program.rows for each in model.prepared] == [28]
    fit(model, "auto", 0, rows=200, batch_size=200)  # a program of more than that
    assert [each.program.rows for each in model.prepared] == [28]


def python_calls(work: Callable[[], object]) -> int:
    """How many Python functions are called meanwhile."""
    count = 0

    def see(_: Any, event: str, __: Any) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count


@needs_native
@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize(("width", "n"), [(8, 64), (64, 16)], ids=["own sums", "tiles"])
def test_planning_takes_time_in_proportion_to_the_layers(
    optimizer: str, width: int, n: int
) -> None:
    x, y = rows(n)
    counts = []
    for layers in (3, 30, 60, 120):  # the first also makes what is made once
        model = MLP([5, *[width] * layers, 3])
        data = run.TrainingData(x, y, None)
        rule = run.Optimizer.resolve(optimizer)
        moments = {name: np.zeros_like(model.flat) for name in rule.moments}

        def plan(model: MLP = model, data: Any = data, rule: Any = rule, m: Any = moments) -> None:
            program = TrainingProgram(model, data, optimizer=rule, moments=m, batch_size=n, rows=n)
            engines.choose("native", program, threads=2)

        counts.append(python_calls(plan))
    _, small, medium, large = counts
    assert large - medium == pytest.approx(2 * (medium - small), rel=0.05)
