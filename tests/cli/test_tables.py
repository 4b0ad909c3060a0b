"""Tables from the command line: one command makes a model that predicts on the next file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from commanding import mlpx, names, refused, same_weights, train

from mlpx import MLP
from mlpx.files import write_atomically
from mlpx.tables import TableClassifier, TableRegressor, plots
from mlpx.tables.reading import read_table
from mlpx.training.run_folder import read_config, read_history

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures", "blank_plots")

QUICK = ("--epochs", 4, "--hidden", 8, "--seed", 3)
OF_CLASSES = [
    *("calibration.png", "config.json", "confusion.png", "curves.png", "history.json"),
    *("importances.png", "model.safetensors", "scores.json"),
]


@pytest.fixture
def blank_plots(monkeypatch):
    def blank(figure, path):
        write_atomically(Path(path), b"")

    monkeypatch.setattr(plots, "written", blank)


def columns(n=400, seed=0):
    draw = np.random.default_rng(seed)
    size, town = draw.normal(50, 20, n), draw.integers(0, 14, n)
    days = np.datetime64("2021-03-01") + draw.integers(0, 600, n)
    likes = size / 20 + (town % 3) + draw.normal(0, 0.3, n) > 3.4
    return {
        "size": [None if i % 17 == 0 else round(value, 2) for i, value in enumerate(size)],
        "town": [f"town {j}" for j in town],
        "since": days.tolist(),
        "vip": (draw.random(n) < 0.5).tolist(),
        "note": ["the same"] * n,
        "customer": (np.arange(n) // 4).tolist(),
        "price": (3 * size + 10 * (town % 3) + draw.normal(0, 5, n)).round(3).tolist(),
        "likes": np.where(likes, "yes", "no").tolist(),
    }


@pytest.fixture
def people():
    """people.csv, and new.csv with other rows, other columns beside and another order."""
    write("people.csv", columns())
    new = columns(60, seed=1)
    del new["likes"], new["price"]
    new["town"][:2] = ["elsewhere", None]
    write("new.csv", {"extra": [1] * 60, **dict(reversed(new.items()))})
    return "people.csv"


def write(name, data):
    table = pa.table(data)
    if name.endswith(".parquet"):
        pq.write_table(table, name)
    else:
        rows = zip(*(column.to_pylist() for column in table.columns), strict=True)
        lines = [",".join("" if v is None else str(v) for v in row) for row in rows]
        Path(name).write_text("\n".join([",".join(table.column_names), *lines, ""]))


def run(*arguments, code=0):
    found = mlpx(*arguments)
    assert found.exit_code == code, found.output
    return found.stdout if code == 0 else " ".join(found.stderr.split())


def test_one_command_and_the_next_file(people):
    found = train(people, "--target", "likes", "--drop", "price,customer", *QUICK)
    told = " ".join(found.stdout.split())
    assert "people.csv: 288 rows to train, 32 to validate, 80 to test" in told
    for line in ("size number median", "town category 14 values", "since date", "vip boolean"):
        assert line in told
    assert "note constant not used: it is 'the same' in every row" in told
    assert "target: likes, 2 classes: 'no', 'yes'" in told
    assert "on 80 rows to test this model 95 % interval most frequent class logistic" in told
    for name in ("accuracy", "balanced accuracy", "log loss", "brier score", "roc auc"):
        assert name in told
    assert names("runs/people") == OF_CLASSES
    said = run("predict", "runs/people", "new.csv").splitlines()
    assert len(said) == 60
    assert set(said) <= {"yes", "no"}
    model = TableClassifier.from_run("runs/people")
    assert model.predict(read_table("new.csv").drop_columns(["extra"])).tolist() == said


def test_scores_are_those_of_the_model(people):
    train(people, "--target", "likes", *QUICK, "--out", "run")
    scores = json.loads(Path("run/scores.json").read_text())
    assert scores["rows"] == 80
    accuracy = scores["scores"]["accuracy"]
    assert accuracy["low"] < accuracy["value"] < accuracy["high"]
    assert set(scores["baselines"]) == {"most frequent class", "logistic regression"}
    columns_told = {each["column"] for each in scores["importances"]}
    assert columns_told == {"size", "town", "since", "vip", "customer", "price"}
    test = json.loads(Path("run/history.json").read_text())["test"]
    assert test == {name: each["value"] for name, each in scores["scores"].items()}
    evaluated = json.loads(run("evaluate", "run", "--json"))
    assert evaluated["scores"] == scores["scores"]
    for part, rows in (("train", 288), ("validation", 32)):
        assert json.loads(run("evaluate", "run", "--rows", part, "--json"))["rows"] == rows
    write("other.csv", columns(50, seed=2))
    assert "on 50 rows: test" in run("evaluate", "run", "other.csv")


def test_values(people):
    found = train(people, "--target", "price", "--drop", "likes", *QUICK, "--out", "run")
    assert "ridge regression" in found.stdout
    assert names("run") == [
        "config.json", "curves.png", "history.json", "importances.png", "model.safetensors",
        "residuals.png", "scores.json",
    ]  # fmt: skip
    said = np.array(run("predict", "run", "new.csv").split(), float)
    model = TableRegressor.from_run("run")
    np.testing.assert_allclose(
        model.predict(read_table("new.csv").drop_columns(["extra"])), said, rtol=1e-5
    )
    assert "predicts values of 'price', not probabilities" in run(
        "predict", "run", "new.csv", "--proba", code=1
    )
    scores = json.loads(Path("run/scores.json").read_text())["scores"]
    assert scores["root_mean_squared_error"]["value"] > 5  # in the units of the price


def test_files_of_predictions_and_the_model_file_alone(people):
    write("people.parquet", columns())
    train("people.parquet", "--target", "likes", "--drop", "price", *QUICK, "--out", "run")
    Path("run/model.safetensors").rename("alone.safetensors")
    for name in ("p.parquet", "p.csv", "p.npy"):
        run("predict", "alone.safetensors", "new.csv", "--out", name)
    labels = pq.read_table("p.parquet")
    assert labels.column_names == ["class"]
    assert Path("p.csv").read_text().split() == ["class", *labels["class"].to_pylist()]
    assert np.load("p.npy").tolist() == labels["class"].to_pylist()
    run("predict", "alone.safetensors", "new.csv", "--proba", "--out", "q.parquet")
    p = pq.read_table("q.parquet")
    assert p.column_names == ["no", "yes"]
    np.testing.assert_allclose(p["no"].to_numpy() + p["yes"].to_numpy(), 1, rtol=1e-6)
    piped = mlpx_with_input(Path("new.csv").read_bytes(), "predict", "alone.safetensors", "-")
    assert piped.split() == labels["class"].to_pylist()
    write("new.parquet", columns(5))
    piped = mlpx_with_input(Path("new.parquet").read_bytes(), "predict", "alone.safetensors", "-")
    assert len(piped.split()) == 5


def mlpx_with_input(content, *arguments):
    from typer.testing import CliRunner

    from mlpx.cli import app

    found = CliRunner().invoke(app, list(map(str, arguments)), input=content)
    assert found.exit_code == 0, found.output
    return found.stdout


def test_groups_stay_together_and_are_not_learnt_from(people):
    found = train(people, "--target", "likes", "--group", "customer", *QUICK, "--out", "run")
    assert "customer dropped not used: as asked" in " ".join(found.stdout.split())
    told = found.stdout.splitlines()[0]
    assert told == "people.csv: 288 rows to train, 32 to validate, 80 to test"
    assert all(int(part.split()[0]) % 4 == 0 for part in told.partition(": ")[2].split(", "))
    config = read_config(Path("run"))
    assert (config["group"], config["time"], config["drop"]) == ("customer", None, [])


def test_groups_may_be_missing_in_a_file_to_test_on(people):
    other = columns(40, seed=5)
    other["customer"][:3] = [None] * 3
    write("test.csv", other)
    options = ("--target", "likes", "--group", "customer", "--test", "test.csv")
    train(people, *options, *QUICK, "--out", "run")
    assert json.loads(run("evaluate", "run", "--json"))["rows"] == 40


def test_the_last_in_time_are_held_out(people):
    train(people, "--target", "likes", "--time", "since", *QUICK, "--out", "run")
    table = read_table(people)
    since = np.array(table["since"].to_pylist(), "datetime64[D]")
    rows = json.loads(run("evaluate", "run", "--rows", "test", "--json"))["rows"]
    assert rows == (since >= np.sort(since)[-80]).sum()


def test_a_file_to_test_on(people):
    write("test.csv", columns(90, seed=5))
    found = train(people, "--target", "likes", "--test", "test.csv", *QUICK, "--out", "run")
    assert "360 rows to train, 40 to validate, 90 to test" in found.stdout
    assert json.loads(run("evaluate", "run", "--json"))["rows"] == 90
    found = train(people, "--target", "likes", "--test", 0, *QUICK, "--out", "none")
    assert "to test" not in found.stdout
    assert "scores.json" not in names("none")
    assert "it was trained with --test 0" in run("evaluate", "none", code=1)


def test_a_killed_training_is_finished_as_planned(people, killed):
    options = (people, "--target", "likes", *QUICK)
    train(*options, "--out", "whole")
    killed(*options, "--out", "run")
    train("--resume", "run")
    assert same_weights("run", "whole")
    assert read_history(Path("run")).epochs == read_history(Path("whole")).epochs
    assert names("run") == OF_CLASSES
    one, other = (MLP.load(Path(folder) / "model.safetensors") for folder in ("run", "whole"))
    assert one.about == other.about


@pytest.mark.parametrize("preset", ["plain", "realmlp", "realmlp-s"])
def test_presets_and_what_replaces_their_choices(people, preset):
    train(people, "--target", "likes", "--preset", preset, "--lr", 0.01, "--batch-size", 64, *QUICK,
          "--out", "run")  # fmt: skip
    made = TableClassifier.from_run("run").preset_
    assert made.name == preset.replace("-", "_")
    assert (made.hidden_layer_sizes, made.epochs, made.batch_size) == ((8,), 4, 64)
    assert made.learning_rate == 0.01
    config = read_config(Path("run"))
    assert (config["hidden"], config["epochs"], config["batch_size"]) == ([8], 4, 64)
    train("--resume", "run", "--epochs", 1, "--out", "more")
    assert len(read_history(Path("more"))) == 5


REFUSED = {
    "no target": ((), 2, "which column is to be predicted? The last of the 8"),
    "unknown target": (("--target", "liked"), 1, "no column 'liked'; did you mean 'likes'?"),
    "unknown group": (("--target", "likes", "--group", "x"), 1, "no column 'x'"),
    "target dropped": (("--target", "likes", "--drop", "likes"), 1, "is the target"),
    "layers": (("--target", "likes", "--layers", "3,2"), 2, "--layers is decided by the preset"),
    "loss": (("--target", "price", "--loss", "hinge"), 2, "hinge does not suit the target price"),
    "share": (("--target", "likes", "--test", "1.5"), 2, "wanted a share of the rows below 1"),
    "constant": (("--target", "note"), 1, "'the same' in every row; there is nothing to learn"),
    "text as values": (("--target", "town", "--task", "regression"), 1, "wanted numbers"),
    "encoding": (("--target", "likes", "--encoding", "utf-99"), 1, "utf-99"),
    "both": (("--target", "likes", "--group", "customer", "--time", "since"), 1, "only one"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_wrong_is_said_before_anything_is_written(people, case):
    options, code, told = REFUSED[case]
    assert told in refused(people, *options, code=code)
    assert not Path("runs").exists() or not names("runs")


def test_scores_of_an_earlier_run_do_not_stay(people):
    train(people, "--target", "likes", *QUICK, "--out", "run")
    train(people, "--target", "likes", "--test", 0, *QUICK, "--out", "run")
    assert names("run") == ["config.json", "curves.png", "history.json", "model.safetensors"]


def test_a_table_that_has_changed_is_not_divided_anew(people):
    train(people, "--target", "likes", *QUICK, "--out", "run")
    lines = Path(people).read_text().splitlines()
    Path(people).write_text("\n".join([lines[0], *lines[:0:-1], ""]))
    for command in (("evaluate", "run"), ("train", "--resume", "run", "--epochs", 1)):
        told = run(*command, code=1)
        assert "people.csv is not what it was when the run was trained" in told
    write("copy.csv", columns())
    assert "on 400 rows: test" in run("evaluate", "run", "copy.csv")


def test_counts_are_no_loss_of_a_table(people):
    told = refused(people, "--target", "price", "--loss", "poisson")
    assert "poisson wants counts as they are" in told


def test_options_of_tables_are_for_tables_and_stay(people):
    assert "--target is for tables" in refused("digits", "--target", "y")
    train(people, "--target", "likes", *QUICK, "--out", "run")
    assert "--resume goes on with likes; leave it out" in refused(
        "--resume", "run", "--target", "price"
    )
    write("short.csv", {"town": ["a"], "size": [1.0]})
    assert "no column 'since'" in run("predict", "run", "short.csv", code=1)
    changed = columns(5)
    changed["size"] = ["big"] * 5
    write("changed.csv", changed)
    told = run("predict", "run", "changed.csv", code=1)
    assert "'size'" in told
    assert "'big'" in told


def test_codes_that_look_like_numbers_stay_text(people):
    """In a file of few rows, where nothing else shows that they are text."""
    data = columns()
    codes = [("01", "02", "A3")[i % 3] for i in range(400)]
    answers = ["yes" if code == "01" else "no" for code in codes]
    write("codes.csv", {"code": codes, "size": data["size"], "y": answers})
    write("few.csv", {"code": ["01", "02"], "size": [1.0, 2.0], "y": ["yes", "no"]})
    train("codes.csv", "--target", "y", "--test", "few.csv", "--epochs", 20, "--out", "run")
    assert run("predict", "run", "few.csv").split() == ["yes", "no"]
    accuracy = json.loads(run("evaluate", "run", "few.csv", "--json"))["scores"]["accuracy"]
    assert accuracy["value"] == 1


def test_a_column_that_gives_the_target_away_is_told(people):
    data = columns()
    data["twice"] = [2 * price for price in data["price"]]
    write("leak.csv", data)
    found = train("leak.csv", "--target", "price", *QUICK, "--out", "run")
    assert "'twice' gives the target 'price' away" in found.stderr
