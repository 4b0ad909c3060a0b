"""Simple models, and what a model makes of each column."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, r2_score

from mlpx.tables import baselines as module
from mlpx.tables import importances as importances_module
from mlpx.tables.baselines import baselines, one_hot_codes
from mlpx.tables.importances import importances

RNG = np.random.default_rng(5)
X = RNG.normal(size=(400, 3)).astype(np.float32)
CODES = RNG.integers(0, 4, (400, 2)).astype(np.float32)
Y = ((X[:, 0] + (CODES[:, 0] == 2) * 3 - 1) > 0).astype(int)


def test_codes_become_columns_of_their_own() -> None:
    spread = one_hot_codes(np.hstack([X, CODES]), (4, 5)).toarray()
    assert spread.shape == (400, 3 + 9)
    np.testing.assert_array_equal(spread[:, :3], X)
    np.testing.assert_array_equal(spread[:, 3:7].argmax(axis=1), CODES[:, 0])
    np.testing.assert_array_equal(spread[:, 7:].argmax(axis=1), CODES[:, 1])
    assert (spread[:, 3:].sum(axis=1) == 2).all()
    assert one_hot_codes(X, ()) is X


def test_the_baselines_of_classes() -> None:
    x = np.hstack([X, CODES])
    train, held = (x[:300], Y[:300]), (x[300:], Y[300:])
    constant, linear = baselines(train, held, classes=2, sizes=(4, 4))
    assert (constant.name, linear.name) == ("most frequent class", "logistic regression")
    most = np.bincount(Y[:300]).argmax()
    assert constant.scores["accuracy"].value == (Y[300:] == most).mean()
    shares = np.tile(np.bincount(Y[:300]) / 300, (100, 1))
    assert constant.scores["log_loss"].value == pytest.approx(log_loss(Y[300:], shares))
    model = LogisticRegression(max_iter=500).fit(one_hot_codes(x, (4, 4))[:300], Y[:300])
    predicted = model.predict(one_hot_codes(x, (4, 4))[300:])
    assert linear.scores["accuracy"].value == accuracy_score(Y[300:], predicted)
    assert linear.scores["accuracy"].value > 0.93  # the codes count
    assert linear.note == ""


def test_the_baselines_of_values() -> None:
    y = X @ [1.0, 2.0, 0.0] + 5
    constant, linear = baselines((X[:300], y[:300]), (X[300:], y[300:]), classes=None)
    assert (constant.name, linear.name) == ("mean", "ridge regression")
    assert constant.scores["r2"].value <= 0
    wanted = r2_score(y[300:], Ridge().fit(X[:300], y[:300]).predict(X[300:]))
    assert linear.scores["r2"].value == pytest.approx(wanted)


def test_a_class_that_training_lacks_gets_no_probability() -> None:
    x = np.hstack([X, CODES])
    _, linear = baselines(
        (x[:300], Y[:300] + 1), (x[300:], Y[300:] + 1), classes=3, sizes=(4, 4)
    )  # fmt: skip
    assert linear.scores["accuracy"].value > 0.93
    _, linear = baselines(
        (x[:300], Y[:300] + 1), (x[300:], np.zeros(100, int)), classes=3, sizes=(4, 4)
    )  # fmt: skip
    assert linear.scores["accuracy"].value == 0.0
    assert np.isfinite(linear.scores["log_loss"].value)


def test_what_was_done_otherwise_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 50)
    monkeypatch.setattr(module, "ITERATIONS", 1)
    _, linear = baselines((X, Y), (X, Y), classes=2)
    assert linear.note == (
        "learnt from 50 of the rows, drawn at random; not converged after 1 iterations"
    )


def predict(x: np.ndarray) -> np.ndarray:
    yes = 1 / (1 + np.exp(-3 * x[:, 0] - x[:, 1]))
    return np.stack([1 - yes, yes], axis=1)


def test_the_columns_that_count_come_first() -> None:
    y = predict(X).argmax(axis=1)
    columns = {"idle": [2], "less": [1], "most": [0], "both": [0, 1]}
    found = importances(predict, X, y, columns=columns)
    assert [each.column for each in found[2:]] == ["less", "idle"]
    assert {each.column for each in found[:2]} == {"most", "both"}
    by_name = {each.column: each for each in found}
    assert by_name["most"].rise > 5 * by_name["less"].rise > 0
    assert by_name["most"].spread > 0
    assert (by_name["idle"].rise, by_name["idle"].spread) == (0.0, 0.0)
    assert importances(predict, X, y, columns=columns) == found
    assert importances(predict, X, y, columns=columns, seed=1) != found


def test_each_column_is_shuffled_in_its_own_way() -> None:
    found = importances(predict, X, Y, columns={"a": [0], "b": [0]}, repeats=1)
    assert found[0].rise != found[1].rise


def test_columns_of_one_are_shuffled_together() -> None:
    x = np.repeat(X[:, :1], 2, axis=1)
    apart = importances(lambda x: x[:, 0] - x[:, 1], x, np.zeros(400), columns={"a": [0, 1]})
    assert apart[0].rise == 0.0


def test_the_rise_is_that_of_the_error() -> None:
    (found,) = importances(lambda x: x[:, 0], X, X[:, 0], columns={"a": [0]}, repeats=50)
    wanted = np.sqrt(2) * X[:, 0].std()  # of the difference of two independent rows
    assert found.rise == pytest.approx(wanted, rel=0.02)


def test_of_many_rows_some_are_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importances_module, "MOST_ROWS", 30)
    asked = []

    def watched(x: np.ndarray) -> np.ndarray:
        asked.append(len(x))
        return predict(x)

    importances(watched, X, Y, columns={"a": [0]}, repeats=2)
    assert asked == [30, 30, 30]
