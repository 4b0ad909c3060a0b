"""Labels on the command line: which ones are accepted, and which are refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from commanding import mlpx
from labelled_data import ANIMALS, HUGE, N, X, Y, answers, data_set, refused, saved, trained

from mlpx import MLP
from mlpx.cli.classes import Classes
from mlpx.cli.downloads import download_display
from mlpx.cli.rows import read_rows
from mlpx.cli.task import understand
from mlpx.cli.train.settings import Settings
from mlpx.cli.train.setup import build_model, dense_widths
from mlpx.errors import DataNotFoundError
from mlpx.estimators import MLPClassifier
from mlpx.training.run_folder import read_config

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")


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


def test_streams_that_are_closed_are_no_traceback(monkeypatch):
    trained(ANIMALS[Y], epochs=1)
    monkeypatch.setattr("sys.stderr", None)
    with download_display() as show:
        assert show is None
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(DataNotFoundError, match="standard input is closed"):
        read_rows(Path("-"), columns=3)
