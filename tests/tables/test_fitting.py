"""`mlpx.tables.fit`: the right estimator, for a table and the name of its target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from small_tables import LABELS, ROWS, SMALL, TABLE, VALUES

from mlpx.errors import InputError, UnknownOptionError
from mlpx.tables import TableClassifier, TableRegressor, fit

CLASSES = TABLE.assign(joined=LABELS)
PRICES = TABLE.assign(price=VALUES)


def test_labels_make_a_classifier_and_numbers_a_regressor() -> None:
    classifier = fit(CLASSES, target="joined", **SMALL)
    wanted = TableClassifier(**SMALL).fit(TABLE, LABELS)
    assert isinstance(classifier, TableClassifier)
    assert np.array_equal(classifier.model_.flat, wanted.model_.flat)
    assert classifier.classes_.tolist() == ["no", "yes"]
    regressor = fit(pl.from_pandas(PRICES), target="price", **SMALL)
    assert isinstance(regressor, TableRegressor)
    np.testing.assert_allclose(
        regressor.predict(TABLE), TableRegressor(**SMALL).fit(TABLE, VALUES).predict(TABLE),
        rtol=1e-5,
    )  # fmt: skip
    assert regressor.target_.name == "price"
    assert any("numbers with fractions" in note for note in regressor.history_.notes)


def test_whole_numbers_may_be_either() -> None:
    grades = TABLE.assign(grade=np.arange(ROWS) % 5)
    assert isinstance(fit(grades, target="grade", **SMALL), TableClassifier)
    regressor = fit(grades, target="grade", task="regression", **SMALL)
    assert isinstance(regressor, TableRegressor)
    assert fit(grades, target="grade", **SMALL).classes_.dtype.kind == "i"


def test_rows_without_a_target_are_left_out_with_a_note() -> None:
    y = np.where(np.arange(ROWS) < 100, LABELS, None)
    found = fit(TABLE.assign(joined=y), target="joined", **SMALL)
    wanted = TableClassifier(**SMALL).fit(TABLE[:100], LABELS[:100])
    assert np.array_equal(found.model_.flat, wanted.model_.flat)
    assert "60 rows without a target 'joined' left out" in found.history_.notes


def test_columns_may_be_dropped() -> None:
    found = fit(CLASSES, target="joined", drop=["city", "age"], **SMALL)
    assert list(found.feature_names_in_) == ["colour", "member", "width"]


def test_a_file_is_read(tmp_path: Path) -> None:
    CLASSES.to_csv(tmp_path / "t.csv", index=False)
    found = fit(tmp_path / "t.csv", target="joined", **SMALL)
    assert list(found.feature_names_in_) == list(TABLE)
    again = fit(str(tmp_path / "t.csv"), target="joined", **SMALL)
    assert np.array_equal(again.predict_proba(TABLE), found.predict_proba(TABLE))


def test_a_column_that_gives_the_target_away_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="'cents'") as told:
        found = fit(PRICES.assign(cents=100 * VALUES), target="price", **SMALL)
    assert told[0].filename == __file__
    assert str(told[0].message) in found.history_.notes


@pytest.mark.parametrize(
    ("options", "error", "told"),
    [
        ({"target": "joind"}, InputError, "did you mean 'joined'"),
        ({"target": "joined", "drop": ["ages"]}, InputError, "did you mean 'age'"),
        ({"target": "joined", "drop": ["joined"]}, InputError, "among the columns to drop"),
        ({"target": "joined", "task": "ranking"}, InputError, "task = 'ranking'"),
        ({"target": "joined", "epoch": 3}, UnknownOptionError, "did you mean epochs"),
        ({"target": "age", "class_weight": "balanced"}, UnknownOptionError, "class_weight"),
    ],
)
def test_what_cannot_be_done(options: dict[str, Any], error: type[Exception], told: str) -> None:
    with pytest.raises(error, match=told):
        fit(CLASSES, **options)
