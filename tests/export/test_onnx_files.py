"""What ONNX files say: names of classes, metadata, nodes of others, and what is refused."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from leaving_models import (
    ending,
    rows,
    same,
    shuffled,
)
from onnx_answers import CLOSE, session

from mlpx import MLP, ActivationLayer, Dense, Layer
from mlpx.errors import CheckpointError, InputError, InputTypeError, MissingExtraError
from mlpx.export.onnx import graph as graphs
from mlpx.export.onnx.graph import Graph
from mlpx.kernels.activations import Activation

onnx = pytest.importorskip("onnx", reason="onnx is not installed: mlpx[onnx]")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: mlpx[peers]")


@pytest.mark.parametrize(
    "names",
    [["a", "b", "c"], np.array(["ü", "", "z"]), [7, -1, 3], np.array([5, 2**63 + 1, 1], np.uint64)],
)
def test_labels_are_called_by_their_names(told, names):
    model, x = ending("softmax_cross_entropy", 3), rows(30, 4)
    found = told(model, x, names=names)["label"]
    wanted = np.array(names)[model.predict(x)]
    assert found.tolist() == wanted.tolist()
    assert len(set(found.tolist())) > 1


def test_labels_of_yes_or_no(told):
    model, x = ending("binary_cross_entropy", 1), rows(30, 4)
    found = told(model, x, names=("no", "yes"))["label"]
    assert found.tolist() == np.array(["no", "yes"])[model.predict(x)].tolist()


@pytest.mark.parametrize(
    ("loss", "names", "told_of"),
    [
        ("softmax_cross_entropy", ["a", "b"], r"names are \['a', 'b'\]; wanted 3 different ones"),
        ("softmax_cross_entropy", ["a", "b", "b"], "wanted 3 different ones"),
        ("softmax_cross_entropy", [1.5, 2, 3], "names holds 1.5, a float; wanted text or whole"),
        ("softmax_cross_entropy", ["a", "b", "\ud800"], "half a character, which no file can"),
        ("mean_squared_error", ["a", "b", "c"], "this model answers values; leave them out"),
        ("binary_cross_entropy", ["a", "b", "c"], "answers 0 or 1 for each label"),
    ],
)
def test_names_that_do_not_fit_are_refused(tmp_path, loss, names, told_of):
    with pytest.raises((InputError, InputTypeError), match=told_of):
        ending(loss, 3).export_onnx(tmp_path / "m.onnx", names=names)
    assert not [*tmp_path.iterdir()]


def test_what_a_file_says_of_itself(tmp_path):
    model = ending("softmax_cross_entropy", 3, "float64")
    path = tmp_path / "m.onnx"
    model.export_onnx(path, names=["a", "b", "c"], doc="A test.", metadata={"data": "iris"})
    read = onnx.load(path)
    kept = {entry.key: entry.value for entry in read.metadata_props}
    assert json.loads(kept.pop("architecture")) == model.config()
    assert json.loads(kept.pop("classes")) == ["a", "b", "c"]
    assert kept.pop("mlpx_version") in kept.pop("created_by")
    assert kept == {"loss": "softmax_cross_entropy", "data": "iris"}
    assert (read.doc_string, read.producer_name, read.ir_version) == ("A test.", "mlpx", 8)
    assert [(each.domain, each.version) for each in read.opset_import] == [("", 15)]
    opened = session(path)
    ends = [(e.name, e.shape, e.type) for e in (*opened.get_inputs(), *opened.get_outputs())]
    assert ends == [
        ("x", ["N", 4], "tensor(double)"),
        ("label", ["N"], "tensor(string)"),
        ("probabilities", ["N", 3], "tensor(double)"),
    ]
    weights = {each.name: onnx.numpy_helper.to_array(each) for each in read.graph.initializer}
    assert all((weights[name] == value).all() for name, value in model.parameters.items())


def from_columns(graph: Graph) -> str:
    """Age, a number or missing, and one of two colours or something else, as three columns."""
    age = graph.input("age", ("N", 1))
    missing = graph.add("IsNaN", [age])
    age = graph.add("Where", [missing, graph.number(38), age])
    age = graph.add("Div", [graph.add("Sub", [age, graph.number(38)]), graph.number(20)])
    colour = graph.input("colour", ("N", 1), str)
    code = graph.add(
        "LabelEncoder", [colour], domain="ai.onnx.ml", keys_strings=["blue", "red"],
        values_int64s=[0, 1], default_int64=-1,
    )  # fmt: skip
    hot = graph.add("Equal", [code, graph.constant(np.arange(2))])
    hot = graph.add("Cast", [hot], to=onnx.TensorProto.FLOAT)
    return graph.add("Concat", [age, hot], axis=1)


def test_raw_columns_may_come_before(told):
    """Numbers with missing ones and text, as another package may prepare them."""
    model = shuffled(MLP([3, 6, 2]))
    columns = {
        "age": np.array([[20], [np.nan], [60], [38]], np.float32),
        "colour": np.array([["red"], ["blue"], ["green"], [""]], object),
    }
    x = np.array([[-0.9, 0, 1], [0, 1, 0], [1.1, 0, 0], [0, 0, 0]], np.float32)
    found = told(model, columns, before=from_columns, evaluator=False)
    same(found["probabilities"], model.predict_proba(x), **CLOSE["float32"])


@pytest.mark.parametrize("columns", ["x", "nothing"])
def test_nodes_that_do_not_fit_are_refused(tmp_path, columns):
    def before(graph: Graph) -> str:
        graph.input("x", ("N", 2))  # and the model takes three
        return columns

    with pytest.raises(InputError, match="before or after added make no valid graph: "):
        MLP([3, 2]).export_onnx(tmp_path / "m.onnx", before=before)
    assert not [*tmp_path.iterdir()]


def test_values_may_be_changed_behind_the_model(told):
    model, x = ending("mean_squared_error", 3), rows(9, 4)

    def after(graph: Graph, value: str) -> str:
        return graph.add("Mul", [value, graph.number(3)])

    same(told(model, x, after=after)["value"], 3 * model.predict(x), **CLOSE["float32"])


def test_a_record_without_a_form_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(Activation, "table", {**Activation.table})
    monkeypatch.setattr(Layer, "table", {**Layer.table})

    class Cube(Activation, name="cube"):
        """Of someone else."""

    class Turn(Layer, name="turn"):
        """Of someone else."""

    for entry, text in ((ActivationLayer(Cube()), "activation 'cube'"), (Turn(), "layer 'turn'")):
        model = MLP([3, entry, Dense(2)])
        with pytest.raises(InputError, match=f"the {text} has no form in ONNX; .*relu|dense"):
            model.export_onnx(tmp_path / "m.onnx")
    assert not [*tmp_path.iterdir()]


def test_without_onnx_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"an ONNX file needs onnx, .*'mlpx\[onnx\]'"):
        MLP([2, 2]).export_onnx(tmp_path / "m.onnx")


def test_a_model_beyond_the_format_is_refused(tmp_path, monkeypatch):
    assert graphs.MOST_BYTES < 2**31
    monkeypatch.setattr(graphs, "MOST_BYTES", 100)
    with pytest.raises(InputError, match="132 bytes of parameters; an ONNX file holds at most 100"):
        MLP([10, 3]).export_onnx(tmp_path / "m.onnx")


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    (tmp_path / "m.onnx").mkdir()
    with pytest.raises(CheckpointError, match=r"cannot write .*m\.onnx"):
        MLP([2, 2]).export_onnx(tmp_path / "m.onnx")
    assert [entry.name for entry in tmp_path.iterdir()] == ["m.onnx"]


@pytest.mark.parametrize("wrong", [{1: "a"}, {"a": 1}])
def test_metadata_is_text(tmp_path, wrong):
    with pytest.raises(InputTypeError, match=r"metadata has .*; wanted text for both"):
        MLP([2, 2]).export_onnx(tmp_path / "m.onnx", metadata=wrong)


def test_small_constants_are_kept_once():
    graph = Graph(np.dtype("float32"))
    assert graph.number(3) == graph.number(3.0) != graph.number(4)
    assert graph.constant(np.array([3])) != graph.number(3)
    assert graph.constant(np.int64(0)) != graph.constant(np.float64(0))
    assert len(graph.constants) == 5
