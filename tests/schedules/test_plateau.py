"""The schedule that lowers the rate where the history stalls."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from reference import schedules as loops

from mlpx.errors import InputTypeError
from mlpx.schedules import Constant, Product, ReduceOnPlateau, Warmup

VALUES = [
    5.0,
    4.0,
    4.0,
    3.99,
    4.1,
    4.2,
    3.0,
    3.0,
    3.0,
    3.0,
    3.0,
    3.0,
    2.0,
    2.5,
    2.5,
    2.5,
    2.5,
    2.5,
    2.5,
]


@pytest.mark.parametrize("patience", [0, 1, 3])
@pytest.mark.parametrize("cooldown", [0, 2])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_plateau_against_loop(patience: int, cooldown: int, mode: str) -> None:
    options: dict[str, Any] = {
        "factor": 0.5, "patience": patience, "min_change": 0.05, "cooldown": cooldown, "least": 0.2,
    }  # fmt: skip
    schedule, state, scales = ReduceOnPlateau(0.1, "val_loss", mode=mode, **options), {}, []
    for value in VALUES:
        signed = value if mode == "min" else -value
        state = schedule.after_epoch(state, {"val_loss": signed, "loss": 0.0})
        json.dumps(state)
        scales.append(state["scale"])
    assert scales == loops.plateau(VALUES, **options)
    assert patience == 3 or scales[-1] < 0.5
    nested = Warmup(3, Product((Constant(1.0), schedule)))
    assert nested.watched() == ("val_loss",)
    assert nested.after_epoch({}, {"val_loss": 1.0})["best"] == (1.0 if mode == "min" else -1.0)


def test_an_improvement_exceeds_the_least_change() -> None:
    schedule = ReduceOnPlateau(0.1, patience=0, min_change=0.5)
    state = schedule.after_epoch(schedule.after_epoch({}, {"loss": 4.0}), {"loss": 3.5})
    assert state["best"] == 4.0
    assert schedule.after_epoch(state, {"loss": 3.25})["best"] == 3.25


def test_a_first_value_that_is_undefined_is_no_best() -> None:
    schedule, state = ReduceOnPlateau(0.1, "val_r2", patience=1, factor=0.5, mode="max"), {}
    scales = []
    for value in (math.nan, math.nan, 0.25, 0.5, math.nan, 0.5):
        state = schedule.after_epoch(state, {"val_r2": value})
        scales.append(state["scale"])
    assert scales == [1.0, 0.5, 0.5, 0.5, 0.5, 0.25]
    assert state["best"] == -0.5


def test_what_is_watched_is_the_name_of_a_column() -> None:
    with pytest.raises(InputTypeError, match="monitor = 3 is a int; it must be the name of a col"):
        ReduceOnPlateau(0.1, 3)  # type: ignore[arg-type]
