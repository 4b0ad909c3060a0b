"""`mlpx card`: every number on it is the run's, and what is not known is not there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from commanding import mlpx, names, train

from mlpx import MLP
from mlpx.kernels.losses import Quantile

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures")
SECTIONS = ["Intended use", "Data", "Architecture", "Training", "Results", "Versions"]


def card(*given):
    found = mlpx("card", *given)
    assert found.exit_code == 0, found.output
    return found.stdout


def table_of(text, section):
    """The rows of a section's table: name and value."""
    part = text.partition(f"## {section}\n")[2].partition("\n## ")[0]
    rows = [re.split(r"(?<!\\) ?\| ?", line)[1:-1] for line in part.splitlines() if line[:1] == "|"]
    return {name: values for name, *values in rows[2 if section != "Results" else 0 :]}


def test_a_card_says_what_the_run_is(table):
    train(table, "--epochs", 3, "--seed", 4, "--validation", 0.2, "--out", "run", "--hidden", 7)
    history = json.loads(Path("run/history.json").read_text())
    text = card("run")
    assert re.findall(r"^## (.*)", text, re.MULTILINE) == SECTIONS
    assert text.startswith("# Model card: run\n\nA multi-layer perceptron that tells 3 classes")
    assert "State what it is for" in text
    data = table_of(text, "Data")
    assert data["rows of the training data"] == ["90"]
    assert data["of these held out for validation"] == ["20 %"]
    assert (data["columns"], data["classes"]) == (["3"], ["3"])
    model = MLP.load("run/model.safetensors")
    assert table_of(text, "Architecture")["parameters"] == [str(model.parameter_count)]
    assert "0 dense relu      (n, 7)   W (3, 7), b (7,)" in re.sub(r" {2,}W", "   W", text)
    training = table_of(text, "Training")
    assert training["optimizer"] == ["adam, learning rate 0.001"]
    assert (training["epochs"], training["seed"], training["batch size"]) == (["3"], ["4"], ["32"])
    assert training["steps"] == [str(history["steps"])]
    assert training["time"] == [f"{history['seconds']:.3g} s"]
    assert training["engine"] == [history["engine"]]
    assert "early stopping" not in training
    results = table_of(text, "Results")
    last = history["epochs"][-1]
    for name in ("loss", "accuracy"):
        shown = results[name]
        assert [shown[0], shown[1], shown[3]] == [
            f"{value:.4g}" for value in (last[name], last[f"val_{name}"], history["test"][name])
        ]
    assert "(<run/curves.png>)" in text


def test_a_card_in_the_folder_links_to_the_picture_beside_it(table):
    train(table, "--epochs", 1, "--out", "run")
    found = mlpx("card", "run", "--out", "run/CARD.md")
    assert (found.exit_code, found.stdout) == (0, "")
    assert found.stderr.startswith("run/CARD.md: ")
    text = Path("run/CARD.md").read_text(encoding="utf-8")
    assert "![Learning curves](<curves.png>)" in text
    assert text.replace("<curves.png>", "<run/curves.png>") == card("run")
    assert mlpx("evaluate", "run").exit_code == 0  # the folder is a run still


def test_a_killed_run_is_said_to_be_one(table, killed):
    killed(table, "--epochs", 5, "--out", "run", after=2)
    text = card("run")
    assert "**The run was cut short:** this is checkpoint-" in text
    assert "after 6 of 15 steps" in text
    assert table_of(text, "Training")["epochs"] == ["2"]
    assert table_of(text, "Training")["steps"] == ["6"]
    assert "loss" in table_of(text, "Results")
    assert "curves.png" not in text


def test_a_run_that_diverged_is_said_to_have(table):
    assert mlpx("train", table, "--optimizer", "sgd", "--lr", 1e30, "--out", "run").exit_code == 1
    assert "**The run did not end as planned:** diverged" in card("run")


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_run_of_an_estimator():
    from bundled import LABELS, SMALL, X

    from mlpx import MLPClassifier

    fitted = MLPClassifier(**SMALL, early_stopping=True, class_weight="balanced")
    fitted.fit(X, LABELS).save("run")
    text = card("run")
    data, training = table_of(text, "Data"), table_of(text, "Training")
    assert data["names of the classes"] == ["setosa, versicolor, virginica"]
    assert data["of these held out for validation"] == ["10 %"]
    assert "data set" not in data
    assert (training["estimator"], training["seed"]) == (["MLPClassifier"], ["1"])
    assert (training["early stopping"], training["class weight"]) == (["yes"], ["balanced"])
    assert training["epochs"] == [str(fitted.n_iter_)]


def test_a_model_file_alone_says_only_what_it_knows(trained):
    shutil.copy(trained / "model.safetensors", "alone.safetensors")
    text = card("alone.safetensors")
    assert "**A model file alone:** how it was trained is not known." in text
    assert table_of(text, "Data") == {"columns": ["6"], "classes": ["2"]}
    assert "The run says nothing of its results." in text
    assert table_of(text, "Training") == {"optimizer": ["adam, learning rate 0.05"]}


def test_a_regression_has_values_and_no_classes():
    x = np.random.default_rng(0).normal(size=(30, 2)).astype(np.float32)
    np.savez("t.npz", x_train=x, y_train=x[:, :1] * 0.5)
    train("t.npz", "--epochs", 1, "--out", "run", "--early-stopping", "val_loss", "--patience", 1)
    text = card("run")
    assert "that predicts 1 value, from 2 columns" in text
    assert "classes" not in table_of(text, "Data")
    assert list(table_of(text, "Results")) == ["", "---", "loss"]
    assert table_of(text, "Training")["patience"] == ["1"]


def test_outputs_may_be_quantiles_of_one_value():
    MLP([2, 3], loss=Quantile((0.1, 0.5, 0.9)), seed=0).save("alone.safetensors")
    assert "that predicts 3 quantiles of 1 value, from 2 columns" in card("alone.safetensors")


def test_names_in_files_are_no_markup(table):
    train(table, "--epochs", 1, "--out", "run")
    config = json.loads(Path("run/config.json").read_text())
    config["class_names"] = ["<b>", "a|b", "x\n# y"]
    Path("run/config.json").write_text(json.dumps(config))
    shown = table_of(card("run"), "Data")["names of the classes"]
    assert shown == [r"\<b\>, a\|b, x \# y"]


@pytest.mark.parametrize("test", [[], {"loss": "much"}, {"loss": [1]}, 3])
def test_a_test_that_is_no_metrics_is_refused(table, test):
    train(table, "--epochs", 1, "--out", "run")
    history = json.loads(Path("run/history.json").read_text())
    Path("run/history.json").write_text(json.dumps({**history, "test": test}))
    found = mlpx("card", "run")
    if test:
        assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
        assert "history.json has no metrics of a test" in found.stderr
    else:
        assert found.exit_code == 0


SCORES = {
    "rows": 80,
    "scores": {"log_loss": {"value": 0.25, "low": 0.125, "high": None}},
    "baselines": {"a coin": {"log_loss": {"value": 0.6931, "low": 0.6, "high": 0.7}}},
    "importances": [{"column": "age", "rise": 2.5, "spread": 0.5}],
}


def test_the_scores_of_a_table_are_there(table):
    train(table, "--epochs", 1, "--out", "run", "--seed", 0)
    Path("run/scores.json").write_text(json.dumps(SCORES))
    Path("run/confusion.png").touch()
    text = card("run")
    assert table_of(text, "Data")["rows to test"] == ["80"]
    assert table_of(text, "Data")["data set"] == ["table.npz"]
    assert table_of(text, "Training")["seed"] == ["0"]
    assert "On 80 rows that were held out for the test:" in text
    assert "| | this model | 95 % interval | a coin |" in text
    assert "| log loss | 0.25 | 0.125 to undefined | 0.6931 |" in text
    assert "| age | 2.5 ± 0.5 |" in text
    assert "![Confusion](<run/confusion.png>)" in text


@pytest.mark.parametrize(
    "change", [{"scores": []}, {"baselines": {"a coin": {}}}, {"importances": [3]}, {"scores": 3}]
)
def test_scores_that_are_none_are_refused(table, change):
    train(table, "--epochs", 1, "--out", "run")
    Path("run/scores.json").write_text(json.dumps({**SCORES, **change}))
    found = mlpx("card", "run")
    assert (found.exit_code, found.stderr.count("\n")) == (1, 1)
    assert "scores.json has no scores: " in found.stderr


def test_a_model_is_not_written_over(trained):
    shutil.copytree(trained, "run")
    found = mlpx("card", "run", "--out", "run/model.safetensors")
    assert found.exit_code == 2
    assert "wanted a name that ends in .md" in " ".join(found.stderr.replace("│", " ").split())
    assert names("run") == names(trained)


def test_what_is_no_run_is_named(tmp_path):
    found = mlpx("card", tmp_path)
    assert (found.exit_code, found.stdout) == (1, "")
    assert "is not a run folder" in found.stderr
