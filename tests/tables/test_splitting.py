"""Rows are held out by chance, by group or by time, and again the same ones for the same seed."""

from __future__ import annotations

import datetime

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlpx.errors import InputError, InputTypeError
from mlpx.tables.splitting import hold_out

N = 100
DAY = datetime.date(2024, 1, 1)


def table(**columns) -> pa.Table:
    return pa.table({"row": np.arange(N), **columns})


@given(st.integers(2, 300), st.floats(0.01, 0.99), st.integers(0, 2**64 - 1))
def test_each_row_is_on_one_side_and_no_side_is_empty(n, share, seed):
    rows = pa.table({"a": np.zeros(n)})
    train, held = hold_out(rows, share=share, seed=seed)
    assert sorted([*train, *held]) == list(range(n))
    assert (np.diff(train) > 0).all()
    assert (np.diff(held) > 0).all()
    assert len(held) == min(max(round(n * share), 1), n - 1)
    again = hold_out(rows, share=share, seed=seed)
    assert (again[1] == held).all()


def test_another_seed_holds_out_other_rows():
    first = hold_out(table(), share=0.2, seed=0)[1]
    assert len(set(first) & set(hold_out(table(), share=0.2, seed=1)[1])) < 20
    assert first.max() - first.min() > 50


@given(st.lists(st.integers(0, 3), min_size=8, max_size=60), st.floats(0.1, 0.9), st.integers(0, 9))
def test_each_class_has_its_share(classes, share, seed):
    labels = np.array(classes)
    counts = np.bincount(labels)
    if counts.max() < 2:
        return
    train, held = hold_out(pa.table({"a": labels}), share=share, seed=seed, stratify=labels)
    assert sorted([*train, *held]) == list(range(len(labels)))
    found = np.bincount(labels[held], minlength=len(counts))
    assert (found <= np.maximum(counts - 1, 0)).all()
    total = min(max(round(len(labels) * share), 1), len(labels) - 1)
    wanted = counts * total / len(labels)
    if (np.ceil(wanted) <= counts - 1)[counts > 0].all():
        assert (np.abs(found - wanted) < 1.0).all()
        assert len(held) == total


def test_nearly_all_of_a_class_may_be_held_out_but_not_all():
    labels = np.repeat([0, 1], [4, 4])
    train, _ = hold_out(pa.table({"a": labels}), share=0.75, seed=0, stratify=labels)
    assert labels[train].tolist() == [0, 1]
    train, _ = hold_out(pa.table({"a": labels}), share=0.95, seed=0, stratify=labels)
    assert labels[train].tolist() == [0, 1]


def test_classes_by_a_column_or_an_array():
    labels = np.repeat(["a", "b"], [90, 10])
    by_array = hold_out(table(), share=0.2, seed=0, stratify=labels)[1]
    by_column = hold_out(table(c=labels), share=0.2, seed=0, stratify="c")[1]
    assert (by_array == by_column).all()
    assert (by_array >= 90).sum() == 2
    assert (by_array < 90).sum() == 18


@given(st.integers(2, 30), st.floats(0.05, 0.95), st.integers(0, 99))
def test_no_group_is_on_both_sides(groups, share, seed):
    draw = np.random.default_rng(seed)
    names = np.concatenate([np.arange(groups), draw.integers(0, groups, N - groups)])
    rows = table(g=[f"g{name}" for name in names])
    train, held = hold_out(rows, share=share, seed=seed, group="g")
    assert sorted([*train, *held]) == list(range(N))
    assert not set(names[train]) & set(names[held])
    assert len(train)
    assert len(held)
    largest = np.bincount(names).max()
    assert abs(len(held) - share * N) <= largest + 1


@pytest.mark.parametrize(
    "times",
    [
        [DAY + datetime.timedelta(days=i) for i in range(N)],
        [(DAY + datetime.timedelta(days=i)).isoformat() for i in range(N)],
        np.arange(N) * 1.5,
        [datetime.datetime(2024, 1, 1, 0, 0, 0, i) for i in range(N)],
    ],
)
def test_the_last_rows_in_time_are_held_out(times):
    order = np.random.default_rng(0).permutation(N)
    rows = table(t=[times[i] for i in order])
    train, held = hold_out(rows, share=0.2, seed=None, time="t")
    assert sorted(order[held]) == list(range(80, 100))
    assert sorted(order[train]) == list(range(80))


def test_rows_of_the_same_time_stay_together():
    train, held = hold_out(table(t=np.arange(N) // 30), share=0.2, seed=0, time="t")
    assert held.tolist() == list(range(60, 100))
    train, held = hold_out(table(t=[1] * 95 + [2] * 5), share=0.2, seed=0, time="t")
    assert held.tolist() == list(range(95, 100))
    assert len(train) == 95


@pytest.mark.parametrize(
    ("columns", "options", "error", "said"),
    [
        ({}, {"share": 0.0}, InputError, "share = 0.0"),
        ({}, {"share": 1}, InputError, "share = 1"),
        ({}, {"share": "half"}, InputTypeError, "share = 'half'"),
        ({}, {"seed": -1}, InputError, "seed = -1"),
        ({}, {"group": "rows"}, InputError, "no column 'rows'; did you mean 'row'"),
        ({}, {"time": "when"}, InputError, "no column 'when'"),
        ({}, {"stratify": "class"}, InputError, "no column 'class'"),
        ({}, {"stratify": [1, 2]}, InputError, r"stratify.shape = \(2,\); wanted \(100,\)"),
        ({}, {"stratify": np.arange(N)}, InputError, "each class has one row only"),
        ({}, {"group": "row", "time": "row"}, InputError, "only one of them"),
        ({"g": [[1]] * N}, {"group": "g"}, InputError, "'g' is of type list"),
        ({"g": [[1]] * N}, {"stratify": "g"}, InputError, "'g' is of type list"),
        ({"g": [[1]] * N}, {"time": "g"}, InputError, "'g' is of type list"),
        ({"g": ["x"] * N}, {"group": "g"}, InputError, "'g' has one group only"),
        ({"g": ["x", "y", None, ""] * 25}, {"group": "g"}, InputError, "no group in row 2"),
        ({"t": [1.0] * N}, {"time": "t"}, InputError, "the same time in every row"),
        ({"t": [1.0, None] * 50}, {"time": "t"}, InputError, "'t' has no time in row 1"),
        ({"t": [DAY, None] * 50}, {"time": "t"}, InputError, "'t' has no time in row 1"),
        ({"t": ["soon"] * N}, {"time": "t"}, InputError, "'t' has 'soon' in row 0"),
        ({"t": [True] * N}, {"time": "t"}, InputError, "'t' is of type bool"),
    ],
)
def test_what_cannot_be_split(columns, options, error, said):
    with pytest.raises(error, match=said):
        hold_out(table(**columns), **{"share": 0.2, "seed": 0, **options})


def test_one_row_cannot_be_split():
    with pytest.raises(InputError, match="the table has 1 rows; at least 2"):
        hold_out(pa.table({"a": [1]}), share=0.5, seed=0)
