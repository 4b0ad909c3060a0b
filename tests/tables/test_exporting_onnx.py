"""ONNX files that take a table's own columns: the matrix, the answers, the names."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from leaving_tables import Matrix, encoded, fed, model_of, table
from onnx_answers import session

from mlpx.errors import InputError
from mlpx.kernels.losses import Quantile as QuantileLoss
from mlpx.tables import TableClassifier
from mlpx.tables.columns import Column, Date
from mlpx.tables.encoder import SCALINGS as NAMED
from mlpx.tables.encoder import Encoder
from mlpx.tables.exporting import input_names, nodes, scales
from mlpx.tables.reading import read_table
from mlpx.tables.scaling import Quantile, Robust, Scaling, Standard
from mlpx.tables.table import as_table

onnx = pytest.importorskip("onnx", reason="onnx is not installed: mlpx[onnx]")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: mlpx[peers]")
TABLE = table()
LABELS = np.where(TABLE["age"].fillna(40) > 42, "old", np.where(TABLE["smoker"], "mid", "young"))
VALUES = 1000.0 + 20 * TABLE["count"].to_numpy()
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


def asked(path: Path, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What ONNX Runtime answers, once the checker passed the file and the evaluator agreed."""
    from onnx.reference import ReferenceEvaluator

    onnx.checker.check_model(onnx.load(path), full_check=True)
    opened = session(path)
    names = [end.name for end in opened.get_outputs()]
    found = dict(zip(names, opened.run(None, inputs), strict=True))
    for name, other in zip(
        names, ReferenceEvaluator(onnx.load(path)).run(None, inputs), strict=True
    ):
        if name == "label":
            assert (other == found[name]).all()
        else:
            np.testing.assert_allclose(other, found[name], rtol=1e-4, atol=1e-5)
    return found


def test_every_kind_and_scaling_has_a_form():
    assert set(nodes.COLUMNS) == set(Column.table)
    assert set(scales.SCALINGS) == set(Scaling.table)
    assert {column.name for column in encoded(TABLE).columns.values()} == set(Column.table)


@pytest.mark.parametrize("one_hot", [9, 255])
@pytest.mark.parametrize("scaling", NAMED)
def test_the_matrix_is_the_encoders(tmp_path, scaling, one_hot):
    encoder = encoded(TABLE, scaling=scaling, one_hot=one_hot)
    made = Matrix(encoder, tmp_path / "m.onnx")
    others = table(300, seed=1)
    others.loc[3, "city"] = others.loc[4, "colour"] = "never seen"
    others.loc[5, ["count", "day"]] = np.nan, pd.NaT  # never missing in training
    for rows in (TABLE, others, others[:7], others[3:4], others[:0]):
        wanted = encoder.encode(as_table(rows))
        for found in made(fed(encoder, rows)):
            assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
            np.testing.assert_allclose(found, wanted, **CLOSE)


def test_large_numbers_lose_nothing(tmp_path):
    """Which they would as float32: 1.6e12 has steps of 131072 there."""
    encoder = encoded(TABLE[["id", "zip"]], scaling="standard")
    found, _ = Matrix(encoder, tmp_path / "m.onnx")(fed(encoder, TABLE))
    assert len(np.unique(found[:, 0])) == TABLE["id"].nunique() > 200


TIMES = [
    "0001-01-01", "1582-10-15", "1899-12-31T23:59:59.999999", "1900-02-28", "1900-03-01",
    "1969-12-31T23:59:59.999999", "1970-01-01", "1999-12-31", "2000-02-29", "2000-03-01",
    "2024-02-29T00:00:00.000001", "2023-12-31T23:00", "2100-02-28", "2100-03-01", "9999-12-31",
]  # fmt: skip


@pytest.mark.parametrize("hours", [False, True])
def test_dates_of_all_times(tmp_path, hours):
    days = np.datetime64("1600-01-01") + np.arange(0, 366 * 801, 97)
    times = np.concatenate([np.array(TIMES, "datetime64[us]"), days.astype("datetime64[us]")])
    if not hours:
        times = times.astype("datetime64[D]").astype("datetime64[us]")
    encoder = Encoder.fit(as_table({"t": times}), scaling="standard")
    record = encoder.columns["t"]
    assert isinstance(record, Date)
    assert len(record.medians) == 5 + hours
    inputs = {"t": ((times - np.datetime64(0, "us")) / np.timedelta64(1, "s"))[:, None]}
    wanted = encoder.encode(as_table({"t": times}))
    for found in Matrix(encoder, tmp_path / "m.onnx")(inputs):
        np.testing.assert_allclose(found, wanted, **CLOSE)


@pytest.mark.parametrize(
    "scale",
    [
        Robust(3.0, 0.5), Robust(1e100, 1e100), Robust(0.0, 0.0), Standard(2.0, 4.0),
        Quantile((1.0,), (0.0,)), Quantile((1.0, 2.0), (-5.0, 5.0)),
        Quantile((-3.0, 0.0, 1e-9, 2.0, 7.0), (-5.0, -1.0, 0.0, 0.5, 5.0)),
        Quantile(tuple(map(float, range(255))), tuple(np.linspace(-5, 5, 255).tolist())),
    ],
    ids=repr,
)  # fmt: skip
def test_scalings_at_their_ends(tmp_path, scale):
    """On edges, between and beyond them; what is infinite is taken for the largest number."""
    edges = np.array(getattr(scale, "edges", (1.0,)))
    z = np.concatenate([edges, edges[:-1] + np.diff(edges) / 3, [-1e100, -1e9, 0, 2, 1e30, 1e100]])
    encoder = Encoder({"z": nodes.Number()}, (scale,))
    made = Matrix(encoder, tmp_path / "m.onnx")
    wanted = scale.apply(z.copy())[:, None].astype(np.float32)
    for found in made({"z": z[:, None]}):
        np.testing.assert_allclose(found, wanted, **CLOSE)
    for found in made({"z": np.array([[-np.inf], [np.inf]])}):
        np.testing.assert_allclose(found, wanted[[-6, -1]], **CLOSE)


def seconds(moment):
    return (np.datetime64(moment, "us") - np.datetime64(0, "us")) / np.timedelta64(1, "s")


ANY = {
    "n": (st.floats(-1e6, 1e6), float, np.nan),
    "c": (st.sampled_from(["a", "b", "", " b ", "é", "NA", "?"]), str.strip, ""),
    "b": (st.booleans(), float, np.nan),
    "d": (st.datetimes(), seconds, np.nan),
}
"""Columns: values, what an ONNX file takes for one, and for none."""


@settings(max_examples=20, deadline=None)
@given(
    rows=st.lists(
        st.fixed_dictionaries({name: st.none() | values for name, (values, *_) in ANY.items()}),
        min_size=2, max_size=12,
    ),
    scaling=st.sampled_from([*NAMED]), one_hot=st.sampled_from([1, 2, 9]),
)  # fmt: skip
def test_any_table(tmp_path_factory, rows, scaling, one_hot):
    known = as_table({name: [row[name] for row in rows] for name in ANY})
    try:
        encoder = Encoder.fit(known, scaling=scaling, one_hot=one_hot)
    except InputError:  # no column is left
        assume(False)
    inputs = {}
    for name in encoder.columns:
        _, taken, none = ANY[name]
        values = [none if row[name] is None else taken(row[name]) for row in rows]
        inputs[name] = np.array(values, object if none == "" else np.float64)[:, None]
    wanted = encoder.encode(known)
    for found in Matrix(encoder, tmp_path_factory.mktemp("any") / "m.onnx")(inputs):
        np.testing.assert_allclose(found, wanted, **CLOSE)


@pytest.mark.parametrize("preset", ["plain", "realmlp", "realmlp_s"])
@pytest.mark.parametrize("y", [LABELS, LABELS == "old", VALUES], ids=["three", "two", "values"])
def test_answers_are_the_models(tmp_path, preset, y):
    made, path = model_of(TABLE, y, preset=preset), tmp_path / "m.onnx"
    made.export_onnx(path)
    others = table(300, seed=2)
    others.loc[0, "city"] = "never seen"
    for rows in (others, others[:7], others[:1]):
        found = asked(path, fed(made.encoder, rows))
        if made.target.classes:
            wanted = made.predict_proba(rows)
            np.testing.assert_allclose(found["probabilities"], wanted, rtol=1e-4, atol=1e-5)
            sure = np.sort(wanted, axis=1)[:, -1] > np.sort(wanted, axis=1)[:, -2] + 1e-5
            assert (found["label"] == made.predict(rows))[sure].all()
        else:
            wanted = made.predict(rows)[:, None]
            assert found["value"].dtype == np.float64
            np.testing.assert_allclose(found["value"], wanted, rtol=1e-4, atol=1e-5)


def test_values_stay_within_those_of_training(tmp_path):
    made, path = model_of(TABLE, VALUES), tmp_path / "m.onnx"
    made.model.parameters[[*made.model.parameters][-1]][...] = 1e4
    made.export_onnx(path)
    assert (asked(path, fed(made.encoder, TABLE))["value"] == VALUES.max()).all()


@pytest.mark.parametrize("y", [LABELS, LABELS == "old"], ids=["three", "two"])
def test_probabilities_have_their_temperature(tmp_path, y):
    made, path = replace(model_of(TABLE, y), temperature=3.0), tmp_path / "m.onnx"
    made.export_onnx(path)
    found = asked(path, fed(made.encoder, TABLE))["probabilities"]
    np.testing.assert_allclose(found, made.predict_proba(TABLE), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("q", [(0.4,), (0.05, 0.4, 0.9)], ids=repr)
def test_quantiles_ascend_and_the_middle_one_is_the_value(tmp_path, q):
    made, path = model_of(TABLE, VALUES, loss=QuantileLoss(q)), tmp_path / "m.onnx"
    made.export_onnx(path)
    found = asked(path, fed(made.encoder, TABLE))
    assert [*found] == ["value", "quantiles"]
    assert found["quantiles"].shape == (len(TABLE), len(q))
    np.testing.assert_allclose(found["quantiles"], made.predict_quantiles(TABLE), rtol=1e-4)
    np.testing.assert_allclose(found["value"][:, 0], made.predict(TABLE), rtol=1e-4)


@pytest.mark.parametrize(
    ("y", "wanted"),
    [
        ([True, False], [0, 1]),
        ([3, 5], [3, 5]),
        ([1.0, 4.0], [1, 4]),
        ([0.5, 2.0], ["0.5", "2.0"]),
        (["b", "a"], ["a", "b"]),
    ],
)
def test_what_classes_are_called(tmp_path, y, wanted):
    rows, path = TABLE[:20], tmp_path / "m.onnx"
    made = model_of(rows, y * 10, task="classification")
    assert [*made.target.classes] == sorted(y)
    made.export_onnx(path)
    found = asked(path, fed(made.encoder, rows))["label"].tolist()
    assert found == [wanted[sorted(y).index(label)] for label in made.predict(rows)]
    assert len(set(found)) == 2


NAMES = ["label", "probabilities", "label_in", "", "x", "0.W", "0.b", "classes", "columns/Concat",
         "x/IsNaN", "constant", "columns/constant", "2.W"]  # fmt: skip


def test_columns_may_be_called_like_anything(tmp_path):
    frame = pd.DataFrame({name: TABLE["age"] * i for i, name in enumerate(NAMES, 1)})
    made, path = model_of(frame.assign(zip=TABLE["zip"]), LABELS), tmp_path / "m.onnx"
    made.export_onnx(path)
    called = dict(input_names(made.encoder.columns, ("label", "probabilities", "scores")))
    assert [called[name] for name in ("label", "probabilities", "label_in", "", "x")] == [
        "label_in_in", "probabilities_in", "label_in", "_in", "x",
    ]  # fmt: skip
    rows = frame.assign(zip=TABLE["zip"])
    inputs = {called[name]: values for name, values in fed(made.encoder, rows).items()}
    wanted = made.predict_proba(rows)
    np.testing.assert_allclose(asked(path, inputs)["probabilities"], wanted, rtol=1e-4, atol=1e-5)


def test_what_a_file_says_of_its_columns(tmp_path):
    path = tmp_path / "m.onnx"
    model_of(TABLE[["age", "colour", "smoker", "day", "zip"]], LABELS).export_onnx(
        path, doc="A test.", metadata={"data": "made up"}
    )
    read = onnx.load(path)
    kept = {entry.key: entry.value for entry in read.metadata_props}
    assert (read.doc_string, read.ir_version, kept["data"]) == ("A test.", 8, "made up")
    assert [(each.domain, each.version) for each in read.opset_import] == [
        ("", 15), ("ai.onnx.ml", 2),
    ]  # fmt: skip
    assert json.loads(kept["classes"]) == ["mid", "old", "young"]
    assert kept["target"] == "y"
    columns = json.loads(kept["columns"])
    assert columns[0] == {
        "name": "age", "input": "age", "takes": "a number, or NaN where it is missing",
    }  # fmt: skip
    ends = [(each.name, each.shape, each.type) for each in session(path).get_inputs()]
    assert ends == [
        ("age", ["N", 1], "tensor(double)"),
        ("colour", ["N", 1], "tensor(string)"),
        ("smoker", ["N", 1], "tensor(double)"),
        ("day", ["N", 1], "tensor(double)"),
        ("zip", ["N", 1], "tensor(string)"),
    ]


def test_a_kind_or_a_scaling_without_a_form_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Column, "table", {**Column.table})
    monkeypatch.setattr(Scaling, "table", {**Scaling.table})

    @dataclass(frozen=True)
    class Rank(nodes.Number, name="rank"):
        """Of someone else."""

    @dataclass(frozen=True)
    class Cube(Standard, name="cube"):
        """Of someone else."""

    made = model_of(TABLE[["age", "zip"]], LABELS)
    made.encoder.columns["age"] = Rank(missing=1)
    for path in (tmp_path / "m.onnx", tmp_path / "m.py"):
        write = made.export_onnx if path.suffix == ".onnx" else made.export_numpy
        with pytest.raises(InputError, match=r"column 'age' is of kind 'rank', which has no form"):
            write(path)
    made.encoder.columns["age"] = nodes.Number(missing=1)
    object.__setattr__(made.encoder, "scales", (Cube(),) * made.encoder.numbers)
    for path in (tmp_path / "m.onnx", tmp_path / "m.py"):
        write = made.export_onnx if path.suffix == ".onnx" else made.export_numpy
        with pytest.raises(InputError, match=r"the scaling 'cube' has no form in"):
            write(path)
    assert not [*tmp_path.iterdir()]


def test_a_small_table_is_computed_in_doubles(tmp_path):
    """Of fewer than 100 rows the network is float64; the matrix is rounded as the encoder's is."""
    rows, path = TABLE[:60], tmp_path / "m.onnx"
    fitted = TableClassifier("realmlp", epochs=1, random_state=0).fit(rows, LABELS[:60])
    assert fitted.model_.dtype == np.float64
    fitted.export_onnx(path)
    found = asked(path, fed(fitted.encoder_, TABLE))["probabilities"]
    np.testing.assert_allclose(found, fitted.predict_proba(TABLE), rtol=1e-6, atol=1e-8)


def test_adult(data_dir: Path, tmp_path):
    """Real people: eight categories, six numbers, missing values, rows that were not trained on."""
    train = read_table(data_dir / "adult" / "adult.data.gz").slice(0, 1500)
    test = read_table(data_dir / "adult" / "adult.test.gz").slice(0, 300)
    x, y = train.drop_columns(["column 15"]), train["column 15"].to_numpy(zero_copy_only=False)
    fitted = TableClassifier("realmlp", epochs=1, random_state=0).fit(x, y)
    fitted.export_onnx(tmp_path / "adult.onnx")
    frame = test.to_pandas()
    found = asked(tmp_path / "adult.onnx", fed(fitted.encoder_, frame))
    rows = test.drop_columns(["column 15"])
    np.testing.assert_allclose(
        found["probabilities"], fitted.predict_proba(rows), rtol=1e-4, atol=1e-5
    )
    assert (found["label"] == fitted.predict(rows)).all()
    assert len(set(found["label"])) == 2
    assert frame.isna().to_numpy().any()
