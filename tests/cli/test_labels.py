"""Labels on the command line: whatever they are in the file, in a run, and in what it answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from mlpx import MLP
from mlpx.cli import app
from mlpx.cli.classes import Classes
from mlpx.cli.downloads import download_display
from mlpx.cli.rows import read_rows
from mlpx.cli.task import understand
from mlpx.cli.train.settings import Settings
from mlpx.cli.train.setup import build_model, dense_widths
from mlpx.data import load_dataset
from mlpx.errors import CheckpointError, DataNotFoundError
from mlpx.estimators import MLPClassifier, MLPRegressor
from mlpx.training.run_folder import class_labels, label_array, read_config

N = 60
RNG = np.random.default_rng(0)
Y = np.arange(N) % 3
X = (RNG.normal(size=(N, 3)) + 6 * np.eye(3)[Y]).astype(np.float32)
ANIMALS = np.array(["cat", "dog", "fox"])
HUGE = np.array([2**63 - 1, 2**63, 2**64 - 1], np.uint64)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch, blank_pictures):
    monkeypatch.chdir(tmp_path)


def mlpx(*arguments, **options):
    return CliRunner(env={"COLUMNS": "300", "TERM": "dumb"}).invoke(
        app, [str(a) for a in arguments], **options
    )


def saved(y, x=X, **test):
    arrays = {name: value for name, value in test.items() if value is not None}
    np.savez("data.npz", x_train=x, y_train=y, **arrays)


def data_set(y, x=X):
    saved(y, x)
    return load_dataset("data.npz")


def trained(y, *options, epochs=3, **test):
    """What training on data.npz says; the run is in run."""
    saved(y, **test)
    found = mlpx(
        "train",
        "data.npz",
        "--epochs",
        epochs,
        "--lr",
        0.1,
        "--hidden",
        8,
        "--out",
        "run",
        *options,
    )
    assert found.exit_code == 0, found.output
    return found


def refused(y, *options, code=1, **test):
    saved(y, **test)
    found = mlpx("train", "data.npz", *options)
    assert (found.exit_code, found.stdout) == (code, ""), found.output
    assert not Path("runs").exists()
    return " ".join(found.stderr.replace("│", " ").split())


def answers(*options):
    np.save("x.npy", X[:6])
    found = mlpx("predict", "run", "x.npy", *options)
    assert found.exit_code == 0, found.output
    return found.stdout.split()


# what labels may be


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (ANIMALS[Y], ["cat", "dog", "fox"]),
        (ANIMALS[Y].astype("S"), ["cat", "dog", "fox"]),
        (ANIMALS[Y][:, None], ["cat", "dog", "fox"]),
        (np.array([0, 1000, 10**9])[Y], [0, 1000, 10**9]),
        (np.array([-1, 5, 7], np.int8)[Y], [-1, 5, 7]),
        (HUGE[Y], HUGE.tolist()),
    ],
    ids=["text", "bytes", "a column", "far apart", "negative", "huge"],
)
def test_any_labels_are_classes(y, classes):
    found = trained(y, x_test=X[:9], y_test=y[:9])
    assert f"classes: {', '.join(map(str, classes))}\n" in found.stdout
    assert found.stderr == ""
    config = read_config(Path("run"))
    assert (config["classes"], config["layers"], config["rows"]) == (classes, [3, 8, 3], N)
    assert answers() == [str(classes[i]) for i in Y[:6]]
    tested = json.loads(mlpx("evaluate", "run", "--json").stdout)
    assert tested["accuracy"] == 1.0
    estimator = MLPClassifier.from_run("run")
    assert estimator.classes_.tolist() == classes
    assert estimator.predict(X[:6]).tolist() == [classes[i] for i in Y[:6]]


def test_a_run_goes_on_with_its_classes():
    trained(ANIMALS[Y], epochs=2)
    assert mlpx("train", "--resume", "run", "--epochs", 1).exit_code == 0
    assert read_config(Path("run"))["classes"] == ["cat", "dog", "fox"]
    saved(np.array(["cat", "owl"])[Y % 2])
    found = mlpx("train", "--resume", "run")
    assert (found.exit_code, found.stderr) == (
        1, "error: data: y_train has label 'owl' at row 1; the classes are cat, dog, fox\n"
    )  # fmt: skip
    saved(Y)
    assert "has label 0 at row 0" in mlpx("train", "--resume", "run").stderr


def test_numbers_of_outputs_stay_as_they_are():
    trained(Y, epochs=1)
    config = read_config(Path("run"))
    assert (config["classes"], config["class_names"], config["layers"]) == (None, None, [3, 8, 3])
    assert set(answers()) <= {"0", "1", "2"}
    saved(ANIMALS[Y], x_test=X, y_test=ANIMALS[Y])
    found = mlpx("evaluate", "run", "data.npz")
    assert found.exit_code == 1
    wanted = "y_test holds text; wanted numbers, as this model was trained on\n"
    assert found.stderr.endswith(wanted)
    MLP([3, 1], loss="mean_squared_error").save("values.safetensors")
    assert mlpx("evaluate", "values.safetensors", "data.npz").stderr.endswith(wanted)


def test_outputs_that_no_row_is_of_when_layers_ask_for_them():
    data = data_set(np.array([0, 1, 3])[Y])
    assert understand(data, loss=None, layers=None).classes.labels == (0, 1, 3)
    task = understand(data, loss=None, layers=(3, 8, 4))
    assert (task.classes, task.data.y_train.max()) == (Classes(4), 3)
    task = understand(data_set(Y), loss=None, layers=(3, 3))
    assert dense_widths(build_model(Settings("data", layers=(3, 3)), task)) == [3, 3]


def test_two_classes_for_a_loss_of_one_output():
    trained(
        np.array(["no", "yes"])[(Y == 1).astype(int)], "--loss", "binary_cross_entropy", epochs=9
    )
    assert read_config(Path("run"))["layers"] == [3, 8, 1]
    assert set(answers()) <= {"no", "yes"}
    task = understand(data_set(np.ones(N, int)), loss="binary_cross_entropy", layers=None)
    assert (task.classes, task.data.y_train.tolist()) == (Classes(2), [1] * N)
    parts = understand(data_set(Y * 0.3), loss="binary_cross_entropy", layers=None)
    assert parts.classes is None  # which the model will refuse
    text = refused(ANIMALS[Y], "--loss", "binary-cross-entropy", code=2)
    assert "tells two classes apart; y_train of data has 3: cat, dog, fox" in text


def test_what_is_no_label_is_refused_in_a_line():
    owls = np.array(["cat", "owl"])[np.arange(9) % 2]
    assert "y_test has label 'owl' at row 1; the classes are cat, dog, fox" in refused(
        ANIMALS[Y], x_test=X[:9], y_test=owls
    )
    assert "y_train has dtype int64 and y_test <U3; wanted text or numbers in both" in refused(
        Y, x_test=X[:9], y_test=ANIMALS[Y[:9]]
    )
    for value in (1.5, np.inf, np.nan):
        odd = np.where(np.arange(9) == 4, value, Y[:9])
        words = f"y_test has dtype float64 and {value} at row 4; wanted a label a row"
        assert words in refused(Y, x_test=X[:9], y_test=odd)
    assert words in refused(Y * 1.0, "--loss", "softmax-cross-entropy", x_test=X[:9], y_test=odd)
    assert "y_test has nan at row 4; wanted finite numbers" in refused(
        Y + 0.5, x_test=X[:9], y_test=odd
    )
    assert "mean_squared_error needs numbers; y_train of data holds text" in refused(
        ANIMALS[Y], "--loss", "mean-squared-error", code=2
    )
    assert "array.astype(str)" in refused(ANIMALS[Y].astype(object))
    dates = np.arange(N).astype("M8[D]")
    assert "y_train is not usable: ndarray makes an array of dtype datetime64" in refused(dates)
    assert "y_test has dtype datetime64[D]; wanted a label a row" in refused(
        Y, x_test=X[:9], y_test=dates[:9]
    )


def test_rows_are_those_of_the_file():
    bad = X.copy()
    bad[18, 1] = np.nan
    text = refused(Y, x=bad)
    assert text == "error: data: x_train has nan at row 18, column 1; wanted finite numbers"
    text = refused(Y, x_test=bad, y_test=Y)
    assert text == "error: data: x_test has nan at row 18, column 1; wanted finite numbers"
    assert "data: x_train is empty" in refused(Y[:0], x=X[:0])
    assert "data: x_test is empty" in refused(Y, x_test=X[:0], y_test=Y[:0])
    trained(Y, epochs=1)
    saved(Y, x_test=bad, y_test=Y)
    assert "x_test has nan at row 18" in mlpx("evaluate", "run", "data.npz").stderr


# what is odd is said


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


# what it answers


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
    assert "'p.json'; wanted a name that ends in .csv, for text, or in .npy" in found.stderr


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


# rows that are not the test data


def test_evaluate_the_rows_it_learnt_from_and_held_out():
    trained(ANIMALS[Y], "--validation", 0.25, "--seed", 7, epochs=2)
    history = json.loads(Path("run/history.json").read_text())["epochs"][-1]
    for path in ("run", "run/model.safetensors"):
        found = json.loads(mlpx("evaluate", path, "--rows", "validation", "--json").stdout)
        assert found["loss"] == pytest.approx(history["val_loss"])
        assert (found["part"], found["rows"]) == ("validation", 15)
    found = mlpx("evaluate", "run", "data.npz", "--rows", "train")
    assert found.stdout.endswith("train data      data, 45 rows, on cpu\n")
    text = mlpx("evaluate", "run").stderr
    assert "has no x_test and y_test to evaluate on; see --rows" in text


def test_evaluate_says_which_rows_there_are_not():
    def said(*options):
        found = mlpx("evaluate", *options)
        assert (found.exit_code, found.stdout) == (1, "")
        return found.stderr

    trained(Y, "--validation", 0, epochs=1)
    assert "the run held no rows out" in said("run", "--rows", "validation")
    np.savez("other.npz", x_train=X[:5], y_train=Y[:5])
    assert "only of the run's own data set" in said("run", "other.npz", "--rows", "validation")
    found = json.loads(mlpx("evaluate", "run", "other.npz", "--rows", "train", "--json").stdout)
    assert found["rows"] == 5
    saved(Y[:40], X[:40])
    assert "x_train has 40 rows and had 60 when" in said("run", "--rows", "train")
    assert mlpx("evaluate", "run", "--rows", "tset").exit_code == 2
    config = json.loads(Path("run/config.json").read_text())
    saved(Y)
    for name in ("seed", "validation"):
        without = {key: value for key, value in config.items() if key != name}
        Path("run/config.json").write_text(json.dumps(without))
        for rows in ("train", "validation"):
            assert f"run/config.json has no {name}, so it is not known" in said(
                "run", "--rows", rows
            )


def test_names_that_the_terminal_lacks_stay_apart():
    trained(np.array(["na\u00efve", "\u65e5\u672c", "\u65e5\u6708"])[Y], epochs=20)
    np.save("x.npy", X[:3])
    found = CliRunner(charset="latin-1").invoke(app, ["predict", "run", "x.npy"])
    assert found.stdout.splitlines() == ["na\u00efve", r"\u65e5\u672c", r"\u65e5\u6708"]


def test_streams_that_are_closed_are_no_traceback(monkeypatch):
    trained(ANIMALS[Y], epochs=1)
    monkeypatch.setattr("sys.stderr", None)
    with download_display() as show:
        assert show is None
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataNotFoundError, match="standard input is closed"):
        read_rows(Path("-"), columns=3)
