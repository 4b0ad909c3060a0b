"""A row says the same whatever rows, units or names of columns it comes with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mlpx import MLP
from mlpx.errors import InputError
from mlpx.tables import TableClassifier, TableRegressor, fit
from mlpx.tables.baselines import baselines
from mlpx.tables.streaming import ParquetStream, fit_stream, study
from mlpx.tables.target import Target

QUICK: dict[str, Any] = {"epochs": 2, "hidden_layer_sizes": 4, "random_state": 0}


@pytest.mark.parametrize(
    "values",
    [(True, False, "unknown"), (1.0, 2.0, "a"), (np.float32(2), "b", "a"), (10**20, 3, "a"),
     (1e-7, "a", "b"), (0.5, "a", True)],
    ids=str,
)  # fmt: skip
def test_mixed_values_are_written_as_in_a_column_of_their_kind(values: tuple[Any, ...]) -> None:
    X = pd.DataFrame({"a": pd.Series(list(values) * 40, dtype=object)})
    model = TableClassifier(**QUICK).fit(X, [0, 1, 1] * 40)
    together = model.predict_proba(X)
    for row in range(3):
        alone = model.predict_proba(X[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-6)
    assert len(model.encoder_.columns["a"].values) == 3  # type: ignore[attr-defined]


def test_a_date_is_the_same_category_in_any_unit() -> None:
    days = np.arange(120) % 3
    dates = pd.Series(np.datetime64("2020-01-01", "us") + days.astype("timedelta64[D]"))
    y = days > 0
    model = TableClassifier(**QUICK, kinds={"d": "category"}).fit(pd.DataFrame({"d": dates}), y)
    known = model.encoder_.columns["d"].values  # type: ignore[attr-defined]
    assert known == ("2020-01-01", "2020-01-02", "2020-01-03")
    p = model.predict_proba(pd.DataFrame({"d": dates}))
    for other in (dates.astype("datetime64[ns]"), dates.dt.date, dates.astype(str)):
        assert (model.predict_proba(pd.DataFrame({"d": other})) == p).all()
    later = dates + pd.Timedelta("2h3min4.5s")
    model.fit(pd.DataFrame({"d": later}), y)
    assert model.encoder_.columns["d"].values[0] == "2020-01-01T02:03:04.500000"  # type: ignore[attr-defined]


def test_names_that_are_numbers_are_names() -> None:
    draw = np.random.default_rng(0)
    X = pd.DataFrame({0: draw.normal(size=120), 1: 100 * draw.normal(size=120)})
    y = (X[0] > 0).astype(int)
    for model in (TableClassifier(**QUICK).fit(X, y), fit(X.assign(y=y), target="y", **QUICK)):
        p = model.predict_proba(X)
        assert (model.predict_proba(X[[1, 0]]) == p).all()
        assert (model.predict_proba(X.assign(y=y)[["y", 0, 1]]) == p).all()
    with pytest.raises(InputError, match="X has 3 features"):
        TableClassifier(**QUICK).fit(X.to_numpy(), y).predict(np.ones((2, 3)))


@pytest.mark.parametrize("unit", ["s", "ns"])
def test_dates_are_no_values_to_predict(unit: str) -> None:
    dates = np.datetime64("2020-01-01", unit) + np.arange(9)
    with pytest.raises(InputError, match=rf"y is of type datetime64\[{unit}\]; wanted numbers"):
        TableRegressor(**QUICK).fit({"a": np.arange(9.0)}, dates)


def test_labels_that_floats_do_not_tell_apart_are_refused() -> None:
    labels = pa.array([10**17, 10**17 + 1, 10**17 + 100] * 9)
    with pytest.raises(InputError, match=r"beyond 2\*\*53, which are not told apart"):
        Target.fit(labels, task="classification", name="y")


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()], ids=str)
def test_a_stream_trains_on_any_text(kind: Any, tmp_path: Any) -> None:
    rows = {"a": np.arange(300.0), "b": pa.array(["u", "v", "w"] * 100, kind)}
    table = pa.table({**rows, "y": pa.array(["no", "yes"] * 150, kind)})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=70)
    found = study(ParquetStream(tmp_path / "t.parquet"), target="y")
    model = MLP([found.encoder.width, 4, 1], loss="binary_cross_entropy")
    history = fit_stream(model, found.stream, found.encoder, found.target, epochs=1, verbose=0)
    assert history.samples == 300


@pytest.mark.parametrize("offset", [0.0, 1e8, 1e12])
def test_ridge_regression_does_not_mind_where_the_values_are(offset: float) -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(size=(200, 3)).astype(np.float32)
    y = x @ [1.0, 2.0, 3.0] + draw.normal(size=200) + offset
    train, held = (x[:150], y[:150]), (x[150:], y[150:])
    *_, ridge = baselines(train, held, classes=None)
    assert 0.7 < ridge.scores["root_mean_squared_error"].value < 1.3
