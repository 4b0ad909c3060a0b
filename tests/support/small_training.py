"""A small training that many tests look at: its data, its net, and whether two ended alike."""

from __future__ import annotations

from typing import Any

import numpy as np

from mlpx import MLP, Callback, Dense

N, D, K = 23, 4, 3


def data(seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(N, D)), rng.integers(0, K, size=N)


def net(**options: Any) -> MLP:
    layers = [D, Dense(5, activation="tanh"), Dense(4, activation="sigmoid"), K]
    return MLP(layers, **{"dtype": "float64", "seed": 3} | options)


def quiet(model: MLP, x: Any, y: Any, **options: Any) -> Any:
    return model.fit(x, y, **{"verbose": 0, "batch_size": 6, "optimizer": "sgd"} | options)


def same(a: MLP, b: MLP) -> bool:
    """Whether parameters and training state agree in every bit."""
    first, second = a.training_state, b.training_state
    assert first is not None
    assert second is not None
    return (
        a.flat.tobytes() == b.flat.tobytes()
        and first.moments.keys() == second.moments.keys()
        and all(first.moments[m].tobytes() == second.moments[m].tobytes() for m in first.moments)
        and (first.step, first.epoch, first.position)
        == (second.step, second.epoch, second.position)
    )


class Script(Callback):
    """Replaces the log's value by the next one of a list, before the callbacks behind it see it."""

    def __init__(self, values: list[float], name: str = "loss") -> None:
        self.values, self.name = values, name
        self.flats: list[bytes] = []

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        logs[self.name] = self.values[len(self.flats)]
        self.flats.append(run.model.flat.tobytes())
