"""Labels in predictions: printed and in files, for models from the command line and estimators."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from commanding import mlpx
from labelled_data import ANIMALS, HUGE, X, Y, answers, saved, trained
from typer.testing import CliRunner

from mlpx import MLP
from mlpx.cli import app
from mlpx.errors import CheckpointError
from mlpx.estimators import MLPClassifier, MLPRegressor
from mlpx.training.run_folder import class_labels, label_array

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


def test_predictions_in_files():
    trained(ANIMALS[Y])
    wanted = ANIMALS[Y[:6]].tolist()
    for name in ("p.csv", "p.npy", "q.csv", "q.npy"):
        answers("--out", name, *(["--proba"] if name[0] == "q" else []))
    assert Path("p.csv").read_text() == "\n".join(["class", *wanted, ""])
    assert np.load("p.npy").tolist() == wanted
    header, *lines = csv.reader(Path("q.csv").read_text().splitlines())
    assert header == ["cat", "dog", "fox"]
    assert np.array_equal(np.array(lines, np.float32), np.load("q.npy"))
    found = mlpx("predict", "run", "x.npy", "--out", "p.json")
    assert found.exit_code == 2
    assert "'p.json'; wanted a name that ends in .csv, for text, in .npy," in found.stderr


def test_values_in_files():
    trained(Y + 0.5, epochs=1)
    answers("--out", "v.csv")
    assert Path("v.csv").read_text().splitlines()[0] == "prediction"
    trained(np.column_stack([Y, Y]) + 0.5, epochs=1)
    answers("--out", "v.csv")
    header, *lines = csv.reader(Path("v.csv").read_text().splitlines())
    assert (header, len(lines)) == (["0", "1"], 6)


def test_names_of_the_data_set_are_printed_and_its_labels_kept():
    config = {"class_names": ["Trouser", "Coat"], "classes": None}
    from mlpx.cli.answers import Answers

    found = Answers.of(np.array([1, 0]), config, model=MLP([1, 2]))
    assert (found.lines(), found._array().tolist()) == ("Coat\nTrouser\n", [1, 0])
    assert Answers.of(np.array([1, 0]), config, model=MLP([1, 3])).lines() == "1\n0\n"
    assert Answers.of(np.array([1, 0]), None, model=MLP([1, 2])).lines() == "1\n0\n"


def test_what_an_estimator_saved_is_named_too():
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has not converged
        estimator = MLPClassifier((8,), max_iter=3).fit(X, ANIMALS[Y])
    estimator.save("run")
    assert answers() == estimator.predict(X[:6]).tolist()
    saved(ANIMALS[Y], x_test=X, y_test=ANIMALS[Y])
    found = json.loads(mlpx("evaluate", "run", "data.npz", "--json").stdout)
    assert found["accuracy"] == estimator.score(X, ANIMALS[Y])
    with pytest.raises(ValueError, match="holds a MLPClassifier"):
        MLPRegressor.from_run("run")


def test_labels_of_settings_are_as_they_were():
    assert class_labels(None) is class_labels({}) is class_labels({"classes": [0, 1, 2]}) is None
    assert class_labels({"estimator": {"classes": [0.0, 2.0], "several": False}}) == [0, 2]
    assert class_labels({"estimator": {"classes": [0, 2], "several": True}}) is None
    with pytest.raises(ValueError, match=r"config.json has classes = \[None\]; wanted a list of"):
        class_labels({"classes": [None]})
    for labels in ([-1, 5], HUGE.tolist(), ["b", "a"], [-1, 2**63], ["a", 1]):
        array = label_array(labels)
        assert array.dtype.kind in "iuU"
        assert list(map(str, array.tolist())) == list(map(str, labels))


def test_as_many_labels_as_the_model_has_classes():
    trained(ANIMALS[Y], epochs=1, x_test=X, y_test=ANIMALS[Y])
    np.save("x.npy", X[:6])
    config = json.loads(Path("run/config.json").read_text())
    for labels in (["cat", "dog"], ["cat", "dog", "fox", "owl"], [0, 1]):
        Path("run/config.json").write_text(json.dumps(config | {"classes": labels}))
        told = f"config.json has {len(labels)} classes, and the model beside it 3; wanted a label"
        for given in (
            ("predict", "run", "x.npy"),
            ("evaluate", "run"),
            ("train", "--resume", "run", "--epochs", 1),
        ):
            found = mlpx(*given)
            assert (found.exit_code, found.stdout) == (1, "")
            assert told in found.stderr
        with pytest.raises(CheckpointError, match=told):
            MLPClassifier.from_run("run")
    MLPClassifier((3,)).partial_fit(X, ANIMALS[Y], classes=ANIMALS).save("fitted")
    config = json.loads(Path("fitted/config.json").read_text())
    config["estimator"]["classes"] = ["cat", "dog"]
    Path("fitted/config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match="has 2 classes, and the model beside it 3"):
        MLPClassifier.from_run("fitted")
    for y in (np.zeros(60, int), Y % 2, Y):
        MLPClassifier((3,)).partial_fit(X, y, classes=np.unique(y)).save("fitted")
        assert mlpx("predict", "fitted", "x.npy").exit_code == 0
        assert set(MLPClassifier.from_run("fitted").classes_) == set(y)


def test_names_that_the_terminal_lacks_stay_apart():
    trained(np.array(["na\u00efve", "\u65e5\u672c", "\u65e5\u6708"])[Y], epochs=20)
    np.save("x.npy", X[:3])
    found = CliRunner(charset="latin-1").invoke(app, ["predict", "run", "x.npy"])
    assert found.stdout.splitlines() == ["na\u00efve", r"\u65e5\u672c", r"\u65e5\u6708"]


def test_names_that_a_terminal_would_obey_are_printed_escaped():
    names = np.array(["a\x1b[2J", "b\nc", "d\u2028\x9be"])
    found = trained(names[Y], epochs=20)
    assert r"classes: a\x1b[2J, b\nc, d\u2028\x9be" in found.stdout
    np.save("x.npy", X[:3])
    shown = mlpx("predict", "run", "x.npy").stdout
    assert shown.splitlines() == [r"a\x1b[2J", r"b\nc", r"d\u2028\x9be"]
    answers("--out", "p.npy")
    assert np.load("p.npy").tolist() == names[Y[:6]].tolist()
