"""Killed anywhere, a run that is resumed ends with the bits of one that was never interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_off import Trial, Whole
from engine_cases import BATCH_NORM, LAYERS, MORE, OPTIONS

from mlpx import MLP, BestWeights, Callback, CSVLog, EarlyStopping, Optimizer, StopOnPlateau
from mlpx.optimizers import EMA, SWA
from mlpx.optimizers.averaging import Average
from mlpx.schedules import Cosine, Product, ReduceOnPlateau, Schedule, Sequential, Warmup
from mlpx.training.sampling import SAMPLINGS

N, D, K = 21, 7, 3
rng = np.random.default_rng(11)
X, Y = rng.normal(size=(N, D)), rng.integers(0, K, size=N)
HELD_OUT = rng.normal(size=(9, D)), rng.integers(0, K, size=9)
STEPS = 3
"""Of an epoch; the last one has five rows."""


def maker(layers: Any = (D, 5, K), **options: Any) -> Callable[..., MLP]:
    return lambda **more: MLP(list(layers), **{"dtype": "float64", "seed": 5} | options | more)


def trial(layers: Any = (D, 5, K), *, model: Any = None, **options: Any) -> Trial:
    y, log = options.pop("y", Y), options.pop("log", None)
    callbacks = options.pop("callbacks", list)
    given = {"epochs": 2, "batch_size": 8, "optimizer": "adam", "learning_rate": 0.01} | options
    return Trial(maker(layers, **model or {}), X, y, given, callbacks, log)


def rows(options: dict[str, Any]) -> dict[str, Any]:
    """A case of the engines', whose arrays have 45 rows, with 21."""
    cut = {name: v[:N] for name, v in options.items() if isinstance(v, np.ndarray)}
    return options | cut | ({"batch_size": N} if options.get("batch_size", 0) > N else {})


def _but(options: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != name}


NESTED: dict[str, Schedule] = {
    "product": Product((Cosine(0.1), ReduceOnPlateau(1.0, patience=0, min_change=9.0))),
    "sequential": Sequential((Warmup(4, 0.1), Cosine(0.05)), (4,)),
    "reduce_on_plateau": ReduceOnPlateau(0.1, patience=0, min_change=9.0),
}
VALIDATED: dict[str, Any] = {"validation_data": HELD_OUT}


class Losses(Callback):
    """Keeps the loss of every step and epoch, in a list that grows."""

    def on_train_begin(self, run: Any) -> None:
        self.seen: list[float] = []

    def on_steps(self, run: Any) -> None:
        self.seen.append(run.recent_loss())

    def on_epoch_end(self, run: Any, epoch: int, logs: Any) -> None:
        self.seen.append(logs["loss"])

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, run: Any, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


def schedules() -> dict[str, Schedule]:
    """One of each kind; those that can span the run do."""
    return {name: NESTED.get(name) or made() for name, made in sorted(Schedule.table.items())}


CASES: dict[str, Trial] = {
    **{
        name: trial(optimizer=made(average="ema"), record_gradient_norms=True)
        for name, made in sorted(Optimizer.table.items())
        if not made.full_batch
    },
    **{name: trial(optimizer=Optimizer.table["sgd"](**options)) for name, options in OPTIONS.items()},
    **{
        f"average {name}": trial(BATCH_NORM, optimizer=Optimizer.table["adam"](average=name))
        for name in sorted(Average.table)
    },
    **{f"rate {name}": trial(learning_rate=rate) for name, rate in schedules().items()},
    **{name: trial(layers) for name, layers in LAYERS.items()},
    **{
        name: trial(model={"penalty": more.get("penalty")}, **rows(_but(more, "penalty")))
        for name, more in MORE.items()
    },
    **{f"sampling {name}": trial(sampling=name, steps=5, epochs=None) for name in SAMPLINGS},
    "float32": trial(LAYERS["dropout"], model={"dtype": "float32"}),
    "split off": trial(validation_split=0.2, metrics=["accuracy", "f1_macro"], class_weight="balanced"),
    "early stopping": trial(
        **VALIDATED, epochs=9, learning_rate=2.0,
        callbacks=lambda: [EarlyStopping(patience=2), EarlyStopping("loss", patience=3)],
    ),
    "best weights": trial(**VALIDATED, epochs=4, learning_rate=1.0, callbacks=lambda: [BestWeights()]),
    "plateau": trial(
        epochs=9, learning_rate=0.0, callbacks=lambda: [StopOnPlateau(tolerance=1e-2, patience=2)]
    ),
    "callback of one's own": trial(callbacks=lambda: [Losses(), Losses()]),
}  # fmt: skip


def chosen(name: str, moments: int) -> list[int]:
    """Three moments of a case: other ones in each, and over all cases every one there is."""
    return sorted({(at + len(name) * 7 + sum(map(ord, name))) % moments for at in (0, 3, 6)})


@pytest.mark.parametrize("name", CASES)
def test_same_bits(name: str, tmp_path: Path) -> None:
    whole = Whole(CASES[name], tmp_path / "whole")
    for moment in chosen(name, whole.moments):
        whole.check(moment)


ENGINES = ("interpreter", "native")


@pytest.mark.parametrize("engine", ENGINES)
def test_same_bits_at_every_moment(engine: str, tmp_path: Path) -> None:
    """Twice two epochs with all that has a state, the second run into the first one's epoch."""
    log = tmp_path / "log.csv"
    case = trial(
        LAYERS["dropout"], **VALIDATED, engine=engine, epochs=3,
        optimizer=Optimizer.table["adam"](average=SWA(start=2), accumulate=1),
        learning_rate=NESTED["product"], record_gradient_norms=True, log=log,
        callbacks=lambda: [EarlyStopping(patience=2), Losses(), CSVLog(log)],
    )  # fmt: skip
    whole = Whole(case, tmp_path / "whole")
    assert whole.moments == 13
    for moment in range(whole.moments):
        whole.check(moment)
