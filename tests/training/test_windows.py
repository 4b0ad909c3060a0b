"""Rows that take turns in a window are trained on as all of them in memory, on every engine."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from mlpx import MLP, BatchNorm, Dense, Optimizer
from mlpx.errors import InputError
from mlpx.program.data import TrainingData
from mlpx.training.windows import Turns, Window, Windowed

N, D, K = 103, 5, 3
rng = np.random.default_rng(4)
X, Y = rng.normal(size=(N, D)).astype(np.float32), rng.integers(0, K, size=N)
ENGINES = [("cpu", "interpreter"), ("cpu", "native"), ("cuda", "interpreter"), ("cuda", "cuda")]


class Rows:
    """Of memory."""

    def __len__(self) -> int:
        return N

    def part(self, rows: np.ndarray) -> TrainingData:
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any]:
        return {}


class Shown(Windowed):
    """Each turn's rows backwards, so that nothing but the window has them in that order."""

    shown: int = 0

    def order(self, epoch: int, position: int) -> np.ndarray:
        return self.places()

    def show(self, turn: int) -> None:
        assert self.window is not None
        self.shown += 1
        room = self.window.room
        part = slice(turn * room, min((turn + 1) * room, N))
        backend, n = self.model.backend, part.stop - part.start
        backend.upload(np.ascontiguousarray(X[part][::-1]), out=self.window.x[:n])
        backend.upload(np.ascontiguousarray(Y[part][::-1]), out=self.window.y[:n])


class InMemory(Turns):
    def __init__(self, steps: int) -> None:
        self.steps = steps

    def __len__(self) -> int:
        return N

    def opened(self, model: Any, batch_size: int) -> tuple[TrainingData, Any]:
        backend, room = model.backend, self.steps * batch_size
        self.batch_size = batch_size
        x, y = backend.zeros((room, D), np.float32), backend.zeros(room, np.int64)
        window = Window(x, y, None, Rows())
        self.feed = Shown(model, window, batch_size=batch_size)
        return window, self.feed

    def backwards(self) -> np.ndarray:
        room = self.steps * self.batch_size
        return np.concatenate([np.arange(N)[i : i + room][::-1] for i in range(0, N, room)])


def net(device: str, *layers: Any) -> MLP:
    return MLP([D, *(layers or (Dense(6), "tanh", K))], seed=2, device=device)


@pytest.mark.parametrize(("device", "engine"), ENGINES)
@pytest.mark.parametrize(("steps", "options"), [
    (3, {"batch_size": 8}),
    (1, {"batch_size": 8}),
    (13, {"batch_size": 8}),
    (2, {"batch_size": 4, "accumulate": 3}),
])  # fmt: skip
def test_the_same_bits(
    fake_cupy: Any, device: str, engine: str, steps: int, options: dict[str, Any]
) -> None:
    rows, model = InMemory(steps), net(device)
    optimizer = Optimizer.resolve("adam")
    if "accumulate" in options:
        optimizer = replace(optimizer, accumulate=options["accumulate"])
    given = {
        "batch_size": options["batch_size"], "engine": engine, "verbose": 0, "epochs": 2,
        "optimizer": optimizer,
    }  # fmt: skip
    history = model.fit(rows, None, **given)
    other, order = net(device), rows.backwards()
    expected = other.fit(X[order], Y[order], shuffle=False, **given)
    assert history.engine == expected.engine == engine
    np.testing.assert_array_equal(history.step_loss, expected.step_loss)
    np.testing.assert_array_equal(
        model.backend.to_numpy(model.flat), other.backend.to_numpy(other.flat)
    )
    turns = -(-N // (steps * rows.batch_size))
    assert rows.feed.shown == (2 * turns if turns > 1 else 1)


def test_the_order_is_no_longer_than_a_turn() -> None:
    model, rows = net("cpu"), InMemory(2)
    model.fit(rows, None, batch_size=8, epochs=1, verbose=0)
    assert len(rows.feed.places()) == 2 * 8 + N % 8


def test_places_of_a_last_batch() -> None:
    """It lies in the window where the turn has come to."""
    rows = InMemory(3)
    window, feed = rows.opened(net("cpu"), 8)
    assert window.room == 24
    assert feed.places().tolist() == [*range(24), *range(7)]
    _, feed = InMemory(4).opened(net("cpu", Dense(6), BatchNorm(), K), 17)
    assert feed.places().tolist() == [*range(68), *range(17, 35)], "one row is none by itself"


def test_needs_a_window() -> None:
    with pytest.raises(InputError, match="works on all rows at once"):
        net("cpu").fit(InMemory(2), None, optimizer="lbfgs", verbose=0)
