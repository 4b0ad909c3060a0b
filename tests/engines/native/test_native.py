"""The native engine computes what the interpreter does, wherever it has an operation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from engine_cases import LAYERS, agrees
from lowered_step import lowered

from mlpx import L2, MLP, Dense, Dropout, Optimizer
from mlpx.engines.lowering import address
from mlpx.engines.lowering.operations import access
from mlpx.engines.lowering.translator import Translator
from mlpx.engines.native import NativeEngine
from mlpx.engines.native.assembly import NativeTarget
from mlpx.engines.native.library import load
from mlpx.errors import EngineError
from mlpx.kernels.activations import LeakyReLU

pytestmark = pytest.mark.skipif(load() is None, reason="the native library was not built")


@pytest.mark.parametrize("name", ["adam", "adamw", "amsgrad", "nadam", "radam", "adamax", "lamb"])
def test_single_precision_loses_no_more_than_the_interpreter(name: str) -> None:
    """1 - beta keeps all its digits: 1 - 0.999f has five, which moved Adam's loss in the sixth."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(400, 7)), rng.integers(0, 3, size=400)
    losses = {}
    for key in (("float64", "native"), ("float32", "native"), ("float32", "interpreter")):
        model = MLP([7, Dense(6, activation="tanh"), 3], dtype=key[0])
        options = {"epochs": 4, "batch_size": 20, "optimizer": name, "engine": key[1]}
        losses[key] = model.fit(x.astype(key[0]), y, verbose=0, **options).step_loss
    exact = losses["float64", "native"]
    ours, theirs = (
        np.abs(losses["float32", e] / exact - 1).max() for e in ("native", "interpreter")
    )
    assert ours < 3 * theirs + 1e-7


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_operations_touch_what_they_are_given(layers: list[Any]) -> None:
    """All of each array; otherwise no thread would wait for it."""
    for name in ("sgd", "adam", "lamb", "muon"):
        found, *_ = lowered(layers, Optimizer.resolve(name))
        for operation in found:
            for given in (access(a) for a in operation.p if isinstance(a, np.ndarray)):
                assert any(
                    a.start <= given.start and given.stop <= a.stop for a in operation.touches
                ), operation.name


def test_a_row_ends_where_the_next_thing_begins() -> None:
    memory, table = np.zeros(20), np.zeros((3, 10))
    no_plan: Any = None
    to, start = Translator(no_plan, NativeTarget(), memory.dtype), address(table)
    to.rows_of[address(memory) or 0] = table
    found = [to.row_source(memory[i:]) for i in (0, 9, 10)]
    assert [row and row[0] for row in found] == [start, (start or 0) + 72, None]


@pytest.mark.parametrize("threads", [1, 3])
def test_the_same_bits_every_time(threads: int) -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(300, 7)).astype("float32"), rng.integers(0, 3, size=300)
    flats = []
    for _ in range(3):
        model = MLP([7, Dense(6, activation="tanh"), Dropout(0.1), 3])
        model.fit(x, y, batch_size=90, engine="native", threads=threads, verbose=0)
        flats.append(model.flat)
    assert all(np.array_equal(flats[0], flat) for flat in flats[1:])


def test_all_rows_at_once_without_an_optimizer() -> None:
    """L-BFGS takes the gradient out of the program: no rule in it waits for the threads' parts."""
    agrees(
        "native",
        [7, Dense(6, activation="tanh", penalty=L2(0.01)), 3],
        optimizer="lbfgs",
        batch_size=None,
    )


def test_dropout_goes_on_where_it_stopped() -> None:
    """Five epochs and five are ten: the masks depend on the steps over all fits."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(45, 7)), rng.integers(0, 3, size=45)
    flats = []
    for parts in ([4], [1, 3]):
        model = MLP(LAYERS["dropout"])
        for epochs in parts:
            model.fit(x, y, epochs=epochs, batch_size=8, engine="native", verbose=0)
        flats.append(model.flat)
    assert np.array_equal(*flats)


@pytest.mark.parametrize("seed", [0, 2**63 + 5, 2**64 - 1])
def test_any_seed_draws_the_same_masks(seed: int) -> None:
    x, y = np.ones((45, 7)), np.arange(45) % 3
    flats = []
    for engine in ("interpreter", "native"):
        model = MLP([7, Dropout(0.5), 3], seed=seed, dtype="float64")
        model.fit(x, y, epochs=1, engine=engine, verbose=0)
        flats.append(model.flat)
    np.testing.assert_allclose(*flats, rtol=1e-12)


def test_a_class_of_the_users_is_interpreted() -> None:
    """Even if it is derived from one of ours, whose operation would do something else."""

    class Steeper(LeakyReLU, name="steeper_of_the_tests"):
        def forward(self, xp: Any, z: Any, *, out: Any, work: Any) -> None:
            xp.multiply(z, 2.0, out=out)

    model = MLP([7, Dense(6, activation=Steeper()), 3])
    history = model.fit(np.ones((9, 7)), np.arange(9) % 3, epochs=1, verbose=0)
    assert history.engine == "interpreter"
    assert "steeper_of_the_tests" in str(history.engine_reason)
    assert NativeEngine().predictor(model) is None
    del Steeper.table["steeper_of_the_tests"]


def test_engine_asked_for_says_what_it_cannot_do() -> None:
    with pytest.raises(EngineError, match="numerical"):
        MLP([7, 3]).fit(
            np.ones((9, 7)), np.arange(9) % 3, engine="native", gradient="numerical", verbose=0
        )
