"""Columns that are the target in another form are named; others are not."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from mlpx.errors import InputError
from mlpx.tables.leaks import leaks

N = 3000
DRAW = np.random.default_rng(0)
Y = DRAW.normal(size=N)
C = DRAW.integers(0, 4, N)
NAMES = np.array(["low", "mid", "high", "top"], object)
BASE = {"y": Y, "c": C, "noise": DRAW.normal(size=N), "near": Y + 0.05 * DRAW.normal(size=N)}


def named(target: str, **columns) -> list[str]:
    table = pa.table({**BASE, **columns})
    return [said.split("'")[1] for said in leaks(table, target)]


@pytest.mark.parametrize(
    "column",
    [
        2 * Y + 1,
        -Y * 1e80,
        Y + 1e-4 * DRAW.normal(size=N),
        pa.array(np.where(DRAW.random(N) < 0.5, np.nan, Y)),
        pa.array(Y.astype(np.float32)),
    ],
)
def test_a_correlated_column(column):
    assert named("y", leak=column) == ["leak"]


@pytest.mark.parametrize(
    "column",
    [
        NAMES[C],
        pa.array(NAMES[C]).dictionary_encode(),
        (C + 10) ** 2.0,
        pa.array([None if i % 3 else str(c) for i, c in enumerate(C)]),
        np.datetime64("2024-01-01", "D") + C,
    ],
)
def test_a_category_for_each_class(column):
    assert named("c", leak=column) == ["leak"]
    assert named("leak", leak=column) == ["c"]


@pytest.mark.parametrize(
    "column",
    [
        C // 2,
        C * 3 + DRAW.integers(0, 3, N),
        np.where(np.arange(N) == N - 1, "other", NAMES[C]),
        [f"u{i}" for i in range(N)],
        np.zeros(N),
        [None] * N,
        [[1]] * N,
        pa.array([b"x"] * N),
        [float("inf")] * N,
    ],
)
def test_what_does_not_tell_the_target(column):
    assert named("c", other=pa.array(column)) == []


def test_few_rows_tell_nothing():
    table = pa.table({"y": [1.0, 2.0, 4.0], "a": [2.0, 4.0, 8.0]})
    assert leaks(table, "y") == []
    table = pa.table({"y": ["a", "b"] * 4, "a": ["x", "z"] * 4})
    assert leaks(table, "y") == []


def test_what_is_said():
    (said,) = leaks(pa.table({"y": Y, "twice": 2 * Y}), "y")
    assert said == (
        "column 'twice' gives the target 'y' away: their correlation is 1.00000; is it known when "
        "a prediction is wanted?"
    )
    (said,) = leaks(pa.table({"c": C, "name": NAMES[C]}), "c")
    assert "each of its 4 values goes with one of the target's" in said


def test_an_unknown_target():
    with pytest.raises(InputError, match="no column 'z'"):
        leaks(pa.table({"y": Y}), "z")
    with pytest.raises(InputError, match="'y' is of type list"):
        leaks(pa.table({"y": [[1]] * 20}), "y")
