"""`mlpx export`: what is written, how classes are called there, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from commanding import mlpx, names, train

from mlpx import MLP
from mlpx.cli.export import labels_for
from mlpx.data import load_dataset

onnx = pytest.importorskip("onnx", reason="onnx is not installed: mlpx[onnx]")
pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


def module(path):
    spec = importlib.util.spec_from_file_location("exported", path)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def evaluated(path, x):
    from onnx.reference import ReferenceEvaluator

    evaluator = ReferenceEvaluator(str(path))
    return dict(zip(evaluator.output_names, evaluator.run(None, {"x": x}), strict=True))


def kept(path):
    return {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}


def export(*given):
    found = mlpx("export", *given)
    assert (found.exit_code, found.stdout) == (0, ""), found.output
    return found.stderr


@pytest.fixture
def run(tmp_path):
    """Makes a run of a data set with these labels, with its own x."""

    def make(labels, *options):
        y = np.array(labels * 10)
        x = np.random.default_rng(0).normal(size=(len(y), 3)).astype(np.float32)
        np.savez(tmp_path / "data.npz", x_train=x, y_train=y)
        options = ("--hidden", 4, "--epochs", 1, "--out", tmp_path / "run", *options)
        found = mlpx("train", tmp_path / "data.npz", *options)
        assert found.exit_code == 0, found.output
        return tmp_path / "run", x

    return make


@pytest.mark.parametrize("labels", [["no", "yes", "maybe"], [3, 5, 9], [0, 1, 2]])
def test_both_forms_answer_as_the_data_says(run, labels):
    folder, x = run(labels)
    said = export(folder, "net.onnx") + export(folder, "net.py")
    wanted = np.array(sorted(labels))[MLP.load(folder / "model.safetensors").predict(x)]
    assert evaluated("net.onnx", x)["label"].tolist() == wanted.tolist()
    assert module("net.py").predict(x).tolist() == wanted.tolist()
    assert [line.partition(":")[0] for line in said.splitlines()] == [
        "net.onnx", "net.py", "net.safetensors",
    ]  # fmt: skip
    assert json.loads(kept("net.onnx").get("classes", "[0, 1, 2]")) == sorted(labels)


def test_yes_and_no_have_the_names_of_the_data(run):
    folder, x = run(["bad", "good"], "--loss", "binary_cross_entropy")
    export(folder, "net.onnx")
    found = evaluated("net.onnx", x)
    assert set(found["label"].tolist()) <= {"bad", "good"}
    assert (found["label"] == np.array(["bad", "good"])[found["probabilities"].argmax(1)]).all()


def test_values_are_the_models(run):
    folder, x = run([0.5, 2.5])
    export(folder, "net.onnx")
    export(folder, "net.py")
    wanted = MLP.load(folder / "model.safetensors").predict(x)
    np.testing.assert_allclose(evaluated("net.onnx", x)["value"], wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(module("net.py").predict(x), wanted, rtol=1e-5, atol=1e-6)


def test_images_are_scaled_by_the_model(trained):
    """The run's data are bytes; x has them as numbers, and the model scales them."""
    export(trained, "net.onnx")
    data = load_dataset(trained.parent / "bright.npz")
    x = data.x_test.reshape(20, -1).astype(np.float32)
    assert (evaluated("net.onnx", x)["label"] == data.y_test).all()
    assert kept("net.onnx")["dataset"] == "bright.npz"


def test_a_model_file_alone(trained):
    shutil.copy(trained / "model.safetensors", "alone.safetensors")
    export("alone.safetensors", "net.py")
    assert names(".") == ["alone.safetensors", "net.py", "net.safetensors"]
    assert "CLASSES" not in Path("net.py").read_text()


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_run_of_an_estimator():
    from bundled import LABELS, SMALL, X

    from mlpx import MLPClassifier

    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=["a", "b", "c", "d"])
    fitted = MLPClassifier(**SMALL).fit(frame, LABELS)
    fitted.save("run")
    export("run", "net.onnx")
    assert (evaluated("net.onnx", X)["label"] == fitted.predict(frame)).all()
    assert json.loads(kept("net.onnx")["columns"]) == ["a", "b", "c", "d"]


def test_a_killed_run_is_said_to_be_one(table, killed):
    killed(table, "--epochs", 5, "--out", "run")
    said = export("run", "net.onnx")
    assert said.splitlines()[-1].startswith(
        "note: the run in run was cut short: this is checkpoint-"
    )
    assert evaluated("net.onnx", np.zeros((2, 3), np.float32))["label"].shape == (2,)


def test_a_run_of_a_table_takes_its_columns():
    pytest.importorskip("pyarrow", reason="pyarrow is not installed: mlpx[tables]")
    from leaving_tables import fed, table
    from onnx.reference import ReferenceEvaluator

    from mlpx.tables.saved import TableModel

    frame = table(120).assign(kind=["a", "b", "c"] * 40)
    frame.to_csv("shop.csv", index=False)
    train("shop.csv", "--target", "kind", "--epochs", 1, "--hidden", 8, "--out", "run")
    assert export("run", "net.onnx").startswith("net.onnx: ")
    assert export("run", "net.py").startswith("net.py: ")
    made = TableModel.of(MLP.load("run/model.safetensors"))
    wanted = made.predict_proba(frame)
    evaluator = ReferenceEvaluator("net.onnx")
    label, found = evaluator.run(None, fed(made.encoder, frame))
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(module("net.py").predict_proba(frame), wanted, rtol=1e-5, atol=1e-6)
    assert (label == made.predict(frame)).all()
    told = kept("net.onnx")
    assert [each["name"] for each in json.loads(told["columns"])] == [*made.encoder.columns]
    assert (told["target"], told["dataset"]) == ("kind", "shop.csv")


def test_the_card_of_a_model_of_a_table_names_its_columns():
    model = MLP([4, 3])
    target = {"name": "species", "classes": ["a", "b", "c"]}
    model.about = {"table": {"encoder": {"columns": [["x", {}]]}, "target": target}}
    model.save("table.safetensors")
    text = mlpx("card", "table.safetensors").stdout
    assert "| columns | 4, made of those of the table |" in text
    assert "| names of the columns | x |" in text
    assert "| column to predict | species |" in text
    found = mlpx("export", "table.safetensors", "net.onnx")
    assert (found.exit_code, names(".")) == (1, ["table.safetensors"])
    assert "the model's file says of no preset of its table" in found.stderr


def test_a_run_killed_behind_a_model_is_told_once(table, killed):
    mlpx("train", table, "--epochs", 2, "--out", "run")
    killed("--resume", "run", "--epochs", 5)
    said = export("run", "net.onnx")
    assert said.count("was cut short") == 1
    text = mlpx("card", "run").stdout
    assert "**The run was cut short:**" in text
    assert Path("run/curves.png").exists()
    assert "curves.png" not in text  # it shows what was before


def test_one_label_of_a_yes_or_no_names_nothing():
    model = MLP([3, 1], loss="binary_cross_entropy")
    assert labels_for(model, {"classes": ["a"]}) is None
    assert labels_for(model, {"classes": ["a", "b"]}).tolist() == ["a", "b"]


@pytest.mark.parametrize("name", ["net.pt", "net", "", "net.ONNX"])
def test_another_ending_is_wrong_usage(trained, name):
    found = mlpx("export", trained, name)
    assert found.exit_code == 2
    told = " ".join(found.stderr.replace("│", " ").split())
    assert "name" in told
    assert repr(name) in told or not name
    assert names(".") == []


def test_the_model_of_a_run_is_not_replaced(trained):
    shutil.copytree(trained, "run")
    before = names("run")
    found = mlpx("export", "run", "run/model.py")
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
    assert "model.safetensors is there and model.py is not" in found.stderr
    assert names("run") == before


def test_what_is_no_run_is_named(tmp_path):
    found = mlpx("export", tmp_path / "nothing", "net.onnx")
    assert (found.exit_code, found.stdout) == (1, "")
    assert "nothing does not exist; wanted a run folder or a model file" in found.stderr
