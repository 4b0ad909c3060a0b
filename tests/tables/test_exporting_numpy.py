"""Modules of plain NumPy that take a table's own columns, in whatever form they are given."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from dataclasses import replace
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import polars
import pytest
from leaving_tables import model_of, table

from mlpx import MLP
from mlpx.kernels.losses import Quantile as QuantileLoss
from mlpx.tables import TableClassifier, TableRegressor
from mlpx.tables.columns import Column
from mlpx.tables.columns.category import Category
from mlpx.tables.encoder import SCALINGS as NAMED
from mlpx.tables.encoder import Encoder
from mlpx.tables.exporting import code, functions
from mlpx.tables.reading import read_table
from mlpx.tables.saved import TableModel
from mlpx.tables.scaling import Scaling
from mlpx.tables.table import as_table

TABLE = table()
LABELS = np.where(TABLE["age"].fillna(40) > 42, "old", np.where(TABLE["smoker"], "mid", "young"))
VALUES = 1000.0 + 20 * TABLE["count"].to_numpy()


def module_at(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


@pytest.fixture
def left(tmp_path):
    def leave(made: TableModel):
        made.export_numpy(tmp_path / "net.py")
        text = (tmp_path / "net.py").read_text(encoding="utf-8")
        assert max(map(len, text.splitlines())) <= 100
        return module_at(tmp_path / "net.py")

    return leave


def test_every_kind_and_scaling_has_a_form():
    assert set(code.COLUMNS) == set(Column.table)
    assert set(code.SCALINGS) == set(Scaling.table)


@pytest.mark.parametrize("one_hot", [9, 255])
@pytest.mark.parametrize("scaling", NAMED)
def test_the_matrix_is_the_encoders(left, scaling, one_hot):
    preset = "plain" if one_hot == 9 else "realmlp_s"
    made = model_of(TABLE, LABELS, preset=preset, scaling=scaling)
    module, others = left(made), table(300, seed=1)
    others.loc[3, "city"] = others.loc[4, "colour"] = "never seen"
    others.loc[5, ["count", "day"]] = np.nan, pd.NaT  # never missing in training
    for rows in (TABLE, others, others[:7], others[3:4], others[:0]):
        wanted = made.encoder.encode(as_table(rows))
        found = module.prepare(rows)
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("preset", ["plain", "realmlp", "realmlp_s"])
@pytest.mark.parametrize("y", [LABELS, LABELS == "old", VALUES], ids=["three", "two", "values"])
def test_answers_are_the_models(left, preset, y):
    made = model_of(TABLE, y, preset=preset)
    module, others = left(made), table(60, seed=2)
    assert hasattr(module, "predict_proba") == bool(made.target.classes)
    found = module.predict(others)
    if made.target.classes:
        wanted = made.predict_proba(others)
        np.testing.assert_allclose(module.predict_proba(others), wanted, rtol=1e-5, atol=1e-6)
        assert (found == made.predict(others)).all()
    else:
        assert found.dtype == np.float64
        np.testing.assert_allclose(found, made.predict(others), rtol=1e-6)


@pytest.mark.parametrize("y", [LABELS, LABELS == "old"], ids=["three", "two"])
def test_probabilities_have_their_temperature(left, y):
    made = replace(model_of(TABLE, y), temperature=3.0)
    found = left(made).predict_proba(TABLE)
    np.testing.assert_allclose(found, made.predict_proba(TABLE), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("q", [(0.4,), (0.05, 0.4, 0.9)], ids=repr)
def test_quantiles_ascend_and_the_middle_one_is_the_value(left, q):
    made = model_of(TABLE, VALUES, loss=QuantileLoss(q))
    module = left(made)
    wanted = made.predict_quantiles(TABLE)
    np.testing.assert_allclose(module.predict_quantiles(TABLE), wanted, rtol=1e-6)
    np.testing.assert_allclose(module.predict(TABLE), made.predict(TABLE), rtol=1e-6)


def test_the_file_of_parameters_is_the_model_of_the_table(left, tmp_path):
    made = model_of(TABLE, LABELS)
    left(made)
    again = TableModel.of(MLP.load(tmp_path / "net.safetensors"))
    assert (again.predict(TABLE) == made.predict(TABLE)).all()


ANY_FORM = {
    "lists": lambda frame: {name: frame[name].tolist() for name in frame},
    "objects": lambda frame: frame.astype(object),
    "nullable": lambda frame: frame.convert_dtypes(),
    "categorical": lambda frame: frame.astype({"colour": "category", "city": "category"}),
    "polars": lambda frame: polars.from_pandas(frame),
    "shuffled": lambda frame: frame[frame.columns[::-1]].assign(other=0),
    "ISO": lambda frame: frame.assign(
        day=frame["day"].dt.strftime(" %Y-%m-%d"),
        moment=frame["moment"].map(str).replace("NaT", ""),
    ),
    "zone": lambda frame: frame.assign(moment=frame["moment"].dt.tz_localize("UTC+02:00")),
    "text": lambda frame: frame.assign(
        age=frame["age"].map(lambda z: f" {z!r}"), smoker=frame["smoker"].map(str)
    ),
    "dates": lambda frame: {**frame, "day": [day.date() for day in frame["day"]]},
}


@pytest.mark.parametrize("form", ANY_FORM)
def test_columns_in_any_form(left, form):
    made = model_of(TABLE, LABELS)
    module, given = left(made), ANY_FORM[form](TABLE)
    wanted = made.encode(given)
    found = module.prepare(given)
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)
    assert (np.ptp(found, axis=0) > 0).sum() > 25


MISSING = [None, np.nan, "", " ", "NA", "?", "nan", pd.NA]
TIMES = [
    "2024-02-29", "2024-02-29T10:30", "2024-02-29 10:30:01.5", "2024-02-29T10:30:00Z",
    "2024-02-29T10:30:00-05:30", "2024-02-29T23:59:59.123456789", "", "0004-01-01",
]  # fmt: skip
FLOATS = [0.1, 1e-5, 1.5e-7, 1e15 + 0.5, 2.0**53 + 2, 3.0, -0.0, 1e300, 1 / 3]


def test_what_stands_for_no_value():
    assert all(
        map(functions.is_missing, [*MISSING, pd.NaT, np.datetime64("NaT"), np.float32("nan")])
    )
    assert not any(map(functions.is_missing, [0, "0", False, "none", "missing", datetime.now()]))
    z = functions.numbers({"z": [*MISSING, "1e3", True]}, "z", tolerant=False)
    assert z[-2:].tolist() == [1000, 1]
    assert np.isnan(z[:-2]).all()


def test_texts_of_numbers_are_those_of_categories():
    known = as_table({"c": FLOATS})["c"]
    values = Category.fit(known, name="c").values
    assert sorted({functions.text_of(value, "c") for value in FLOATS}) == [*values]
    for given in ([1, 2], [True, False], np.array([1, 2], np.int8), np.array([0.5, 2], "f4")):
        found = {functions.text_of(value, "c") for value in given}
        assert found == {*Category.fit(as_table({"c": given})["c"], name="c").values}


def test_times_are_read_like_the_tables():
    record = Encoder.fit(as_table({"t": TIMES}), kinds={"t": "date"}).columns["t"]
    wanted = record.encode(as_table({"t": TIMES})["t"], name="t")
    found = functions.moment({"t": TIMES}, "t", record.medians, flag=True)
    for a, b in zip(found[0] + found[1], wanted.continuous + wanted.flags, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)
    zone = timezone(timedelta(hours=2))
    given = [datetime(2024, 3, 1, 1, tzinfo=zone), date(2024, 2, 29), np.datetime64("NaT")]
    found = functions.times({"t": given}, "t", tolerant=False)
    assert found.astype("datetime64[h]").astype(str).tolist() == [
        "2024-02-29T23", "2024-02-29T00", "NaT",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "kind", "told"),
    [
        (["x"], "numbers", "column 'c' has 'x'; wanted numbers"),
        (["1_0"], "numbers", "column 'c' has '1_0'; wanted numbers"),
        ([date(2024, 1, 1)], "numbers", "wanted numbers"),
        ([np.inf], "numbers", "column 'c' has infinity or a number beyond 1e100"),
        (["-inf"], "numbers", "column 'c' has infinity"),
        ([[1, 2]], "numbers", r"column 'c' has shape \(1, 2\); wanted \(n,\)"),
        (["2024-02-30"], "times", "column 'c' has '2024-02-30'; wanted dates such as 2024-02-29"),
        (["20240229"], "times", "wanted dates"),
        (["2024-W09-4"], "times", "wanted dates"),
        (["2024-02-29T10"], "times", "wanted dates"),
        ([20240229], "times", "wanted dates"),
    ],
)
def test_other_values_are_refused(values, kind, told):
    with pytest.raises(ValueError, match=told):
        getattr(functions, kind)({"c": values}, "c", tolerant=False)


def test_other_values_are_missing_in_a_tolerant_column():
    assert np.isnan(functions.numbers({"c": ["x", "1_0"]}, "c", tolerant=True)).all()
    assert np.isnat(functions.times({"c": ["x", "20240229"]}, "c", tolerant=True)).all()
    with pytest.raises(ValueError, match="infinity"):
        functions.numbers({"c": ["inf"]}, "c", tolerant=True)


def test_truth_is_told_in_words_too():
    given = {"c": ["True", " no", "1", "", None, True, 0.0]}
    assert functions.boolean(given, "c")[1][0].tolist() == [1, -1, 1, 0, 0, 1, -1]
    for wrong in (["maybe"], [2], [0.5]):
        with pytest.raises(ValueError, match="column 'c' has other values than true and false"):
            functions.boolean({"c": wrong}, "c")


def test_a_column_that_is_not_there_is_named(left):
    module = left(model_of(TABLE, LABELS))
    with pytest.raises(ValueError, match="there is no column 'sex'"):
        module.predict(TABLE.drop(columns="sex"))


def test_a_module_has_what_its_columns_need_and_nothing_else(tmp_path):
    path = tmp_path / "net.py"
    model_of(TABLE[["age", "zip"]], VALUES, scaling="standard").export_numpy(path)
    text = path.read_text()
    tree = ast.parse(text)
    assert [node.name for node in tree.body if isinstance(node, ast.FunctionDef)] == [
        "predict", "outputs", "prepare", "number", "one_hot", "standard", "places", "numbers",
        "column", "number_of", "text_of", "float_text", "is_missing", "finish", "values", "rows",
        "relu", "read",
    ]  # fmt: skip
    assert 'one_hot(columns, "zip", ("0", "1", "2", "3", "4", "5")),' in text
    assert "datetime" not in text
    assert len(text.splitlines()) < 220


@pytest.mark.parametrize("scaling", ["robust", "quantile"])
def test_what_is_too_much_to_list_is_read_from_the_file(left, tmp_path, scaling):
    names = [f"city {i:03d}" for i in range(150)] * 2
    frame = TABLE.assign(city=names)
    made = model_of(frame, LABELS, scaling=scaling)
    module = left(made)
    assert len((tmp_path / "net.py").read_text().splitlines()) < 350
    np.testing.assert_allclose(module.prepare(frame), made.encode(frame), rtol=1e-6, atol=1e-6)


def test_it_runs_where_there_is_no_mlpx(tmp_path):
    made = model_of(TABLE, LABELS, preset="realmlp", scaling="quantile")
    made.export_numpy(tmp_path / "net.py")
    rows = TABLE[:7].astype({"day": str, "moment": str})
    given = {name: rows[name].tolist() for name in rows}
    home = str(Path(np.__file__).parents[1])
    gone = "".join(f"sys.modules[{name!r}] = None; " for name in ("mlpx", "safetensors", "pandas"))
    program = (
        f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {home!r}]; {gone}\n"
        f"from numpy import nan\nimport net\ngiven = {given!r}\n"
        "print(*net.predict(given)); print(*net.predict_proba(given).ravel().tolist())"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", program], capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    labels, numbers = done.stdout.splitlines()
    assert labels.split() == made.predict(TABLE[:7]).tolist()
    found = np.array(list(map(float, numbers.split()))).reshape(7, 3)
    np.testing.assert_allclose(found, made.predict_proba(TABLE[:7]), rtol=1e-5, atol=1e-6)


def test_estimators_leave(tmp_path):
    options = {"epochs": 1, "hidden_layer_sizes": (8,), "random_state": 0}
    classifier = TableClassifier(**options).fit(TABLE, LABELS)
    classifier.export_numpy(tmp_path / "classes.py")
    assert (module_at(tmp_path / "classes.py").predict(TABLE) == classifier.predict(TABLE)).all()
    regressor = TableRegressor("realmlp", **options).fit(TABLE, VALUES)
    regressor.export_numpy(tmp_path / "values.py")
    found = module_at(tmp_path / "values.py").predict(TABLE)
    np.testing.assert_allclose(found, regressor.predict(TABLE), rtol=1e-6)


def test_adult(data_dir: Path, left):
    train = read_table(data_dir / "adult" / "adult.data.gz").slice(0, 2000)
    test = read_table(data_dir / "adult" / "adult.test.gz").slice(0, 300)
    made = model_of(train.drop_columns(["column 15"]), train["column 15"].to_pylist())
    rows = test.to_pandas()
    found = left(made).predict_proba(rows)
    np.testing.assert_allclose(found, made.predict_proba(rows), rtol=1e-5, atol=1e-6)
