"""Notes on labels that look odd, which are trained on all the same."""

from __future__ import annotations

import numpy as np
import pytest
from labelled_data import N, X, Y, answers, data_set, trained

from mlpx import MLP
from mlpx.cli.task import understand

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


@pytest.mark.parametrize("y", [Y * 1.0, Y[:, None]], ids=["floats", "a column"])
def test_whole_numbers_that_are_taken_as_values_are_pointed_out(y):
    found = trained(y, epochs=1)
    assert found.stderr.startswith("note: y_train has 3 distinct numbers, all of them whole, as ")
    assert found.stderr.endswith("if they are classes, add --loss softmax_cross_entropy\n")
    assert trained(y, "--loss", "mean-squared-error", epochs=1).stderr == ""
    assert trained(y, "--loss", "softmax-cross-entropy").stderr == ""
    assert answers() == ["0", "1", "2"] * 2
    assert trained(Y + 0.5, epochs=1).stderr == ""


def test_a_single_class_is_pointed_out_once():
    found = trained(np.full(N, "cat"), epochs=1)
    assert found.stderr == (
        "note: y_train has one class only, cat: the model will learn to answer that and nothing "
        "else\n"
    )
    assert answers() == ["cat"] * 6
    assert trained(np.full(N, "cat"), "--quiet", epochs=1).stderr == ""
    of_two = ("--loss", "binary_cross_entropy")  # where `fit` is the one who finds out
    assert trained(np.zeros(N, int), *of_two, epochs=1).stderr == (
        "note: y has one class only, 0 in all 54 rows: the model learns to answer that and nothing "
        "else\n"
    )
    quiet = trained(np.zeros(N, int), *of_two, "--quiet", epochs=1)
    assert quiet.output == ""


def test_a_class_for_every_other_row_is_pointed_out():
    x, y = np.zeros((300, 2)), np.arange(300) * 7
    task = understand(data_set(y, x), loss=None, layers=None)
    assert task.notes == (
        "the 300 rows of y_train are of 300 classes; if the labels are amounts, add --loss "
        "mean_squared_error",
    )
    assert str(task.classes) == "0, 7, 14, 21, 28, 35, 42, 49, 56, 63, ... 2093 (300 in all)"
    assert understand(data_set(y // 1400, x), loss=None, layers=None).notes == ()


def test_fit_warns_of_a_single_class():
    for model, y in (
        (MLP([3, 4]), np.full(N, 2)),
        (MLP([3, 3]), np.eye(3)[np.full(N, 2)]),
        (MLP([3, 1], loss="binary_cross_entropy"), np.zeros(N)),
    ):
        with pytest.warns(UserWarning, match=r"y has one class only, [02] in all 60 rows") as said:
            history = model.fit(X, y, epochs=1, verbose=0)
        assert said[0].filename == __file__
        assert history.notes == [str(said[0].message)]
    for model, y in (
        (MLP([3, 3]), np.full((N, 3), 1 / 3)),
        (MLP([3, 1], loss="binary_cross_entropy"), np.full(N, 0.3)),
        (MLP([3, 2], loss="binary_cross_entropy"), np.ones((N, 2))),
        (MLP([3, 1], loss="mean_squared_error"), np.ones(N)),
    ):
        assert model.fit(X, y, epochs=1, verbose=0).notes == []
    with pytest.warns(UserWarning, match="y has one class only, 2 in all 48 rows") as said:
        MLP([3, 4]).fit(X, np.full(N, 2), epochs=1, validation_split=0.2, verbose=0)
    assert said[0].filename == __file__
    model = MLP([3, 3])
    assert model.fit(X[:1], Y[:1], epochs=1, verbose=0).notes == []
    assert model.fit(X[::3], Y[::3], epochs=1, verbose=0).notes == []  # goes on, part by part
