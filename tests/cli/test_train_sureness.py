"""`mlpx train --quantiles`, `--calibrated` and `--intervals`: kept in the run, and told."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from commanding import mlpx, names, refused, same_weights, train

from mlpx import MLP
from mlpx.cli.evaluate_table import _own_rows
from mlpx.files import write_atomically
from mlpx.kernels.losses import Quantile
from mlpx.tables import TableClassifier, TableRegressor, plots
from mlpx.tables.calibration import Conformal, temperature
from mlpx.tables.reading import read_table
from mlpx.tables.saved import TableModel
from mlpx.training.run_folder import read_config

pytestmark = pytest.mark.usefixtures("elsewhere", "blank_pictures", "blank_plots")

QUICK = ("--epochs", 4, "--hidden", 8, "--seed", 3, "--validation", 0.25)
OF_VALUES = ("table.csv", "--target", "price", *QUICK, "--quantiles", "0.1,0.5,0.9", "--intervals")
OF_CLASSES = ("table.csv", "--target", "likes", *QUICK, "--calibrated")


@pytest.fixture
def blank_plots(monkeypatch):
    monkeypatch.setattr(plots, "written", lambda figure, path: write_atomically(Path(path), b""))


@pytest.fixture(autouse=True)
def table(elsewhere):
    draw = np.random.default_rng(0)
    size, age = draw.normal(50, 20, (2, 400))
    price = 3 * size + draw.normal(0, 5, 400)
    likes = np.where(size + age + draw.normal(0, 20, 400) > 100, "yes", "no")
    rows = [f"{a:.2f},{b:.2f},{c:.2f},{d}" for a, b, c, d in zip(size, age, price, likes)]  # noqa: B905
    Path("table.csv").write_text("\n".join(["size,age,price,likes", *rows, ""]))


def made(folder="run"):
    return TableModel.of(MLP.load(Path(folder) / "model.safetensors"))


def test_quantiles_and_intervals(tmp_path):
    found = train(*OF_VALUES, "--out", "run")
    model = made()
    assert model.model.loss == Quantile((0.1, 0.5, 0.9))
    config = read_config(Path("run"))
    rows = _own_rows(model, config, "validation")
    low, _, high = model.values(rows.x).T
    y = rows.y * model.target.std + model.target.mean
    assert len(y) == 80  # a quarter of 320
    assert model.conformal == Conformal.of(y, low, high)
    assert (config["quantiles"], config["intervals"]) == ([0.1, 0.5, 0.9], True)
    assert not config["calibrated"]
    assert "predicts the quantiles 0.1, 0.5, 0.9" in found.stdout
    (share,) = re.findall(r"intervals of 90 % hold ([\d.]+) % of the 80 rows to test", found.stdout)
    assert 78 < float(share) < 99
    estimator = TableRegressor.from_run("run")
    assert (estimator.quantiles, estimator.intervals) == ((0.1, 0.5, 0.9), True)
    table = read_table(Path("table.csv")).drop_columns(["price"])
    assert estimator.predict_interval(table, coverage=0.8).shape == (400, 2)
    predicted = mlpx("predict", "run", "table.csv")
    wanted = estimator.predict_quantiles(table)[:, 1]
    np.testing.assert_allclose(np.array(predicted.stdout.split(), float), wanted, rtol=1e-5)


def test_calibrated_probabilities():
    train(*OF_CLASSES[:-1], "--out", "plain")
    found = train(*OF_CLASSES, "--out", "run")
    assert same_weights("plain", "run")
    told = f"calibrated: logits are divided by the temperature {made().temperature:.3g}"
    assert told in found.stdout
    assert made().temperature != 1.0 == made("plain").temperature
    rows = _own_rows(made(), read_config(Path("run")), "validation")
    z = made().model.predict_logits(rows.x)
    assert made().temperature == pytest.approx(temperature(z, rows.y), rel=1e-6)
    assert TableClassifier.from_run("run").calibrated
    one, other = (mlpx("predict", name, "table.csv", "--proba").stdout for name in ("run", "plain"))
    assert one != other
    assert (
        mlpx("predict", "run", "table.csv").stdout == mlpx("predict", "plain", "table.csv").stdout
    )


@pytest.mark.parametrize("options", [OF_VALUES, OF_CLASSES], ids=["values", "classes"])
def test_a_killed_training_ends_as_sure(options, killed):
    train(*options, "--out", "whole")
    killed(*options, "--out", "run")
    assert TableModel.of(MLP.load(next(Path("run").glob("checkpoint*")))).conformal is None
    train("--resume", "run")
    assert same_weights("run", "whole")
    assert made().model.about == made("whole").model.about


def test_a_run_that_goes_on_asks_again():
    train(*OF_CLASSES, "--out", "run")
    train("--resume", "run", "--epochs", 2, "--out", "more")
    assert made("more").temperature not in (1.0, made().temperature)
    train("--resume", "run", "--epochs", 2, "--no-calibrated", "--out", "less")
    assert same_weights("more", "less")
    assert made("less").temperature == 1.0
    assert "temperature" not in made("less").model.about["table"]
    assert made("run").temperature != 1.0


def test_too_few_rows_for_an_interval_are_told():
    found = train(*OF_VALUES, "--validation", 0.02, "--out", "run")
    assert "no intervals: coverage = 0.9 needs at least 9 validation rows; there were 6" in (
        found.stdout
    )


@pytest.mark.parametrize("options", [OF_VALUES, OF_CLASSES], ids=["values", "classes"])
def test_outputs_that_are_not_finite_tell_nothing(options, monkeypatch):
    fit = MLP.fit

    def spoil(self, *given, **options):
        history = fit(self, *given, **options)
        self.flat[:] = np.nan
        return history

    monkeypatch.setattr(MLP, "fit", spoil)
    found = mlpx("train", *options, "--test", 0, "--out", "run")
    assert "the rows to validate tell nothing: what the model predicts" in found.stderr
    assert "model.safetensors" in names("run")


REFUSED = {
    "classes": (("--target", "likes", "--quantiles", "0.5"), "is for values, and the target likes"),
    "wide classes": (("--target", "likes", "--intervals"), "is for values, and the target likes"),
    "values": (("--target", "price", "--calibrated"), "is for classes, and the target price"),
    "loss": (
        ("--target", "price", "--quantiles", "0.5", "--loss", "huber"),
        "--loss and --quantiles exclude each other",
    ),
    "none held out": (
        ("--target", "price", "--intervals", "--validation", 0),
        "takes rows to validate, and --validation 0 leaves none",
    ),
    "order": (("--target", "price", "--quantiles", "0.5,0.1"), "'0.5,0.1'; wanted ascending"),
    "twice": (("--target", "price", "--quantiles", "0.5,0.5"), "wanted ascending numbers"),
    "range": (("--target", "price", "--quantiles", "0,0.5"), "between 0 and 1"),
    "words": (("--target", "price", "--quantiles", "median"), "'median'; wanted ascending"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_suit_is_said_before_the_training(case, no_training):
    options, told = REFUSED[case]
    assert told in refused("table.csv", *options)


def test_they_are_for_tables_and_quantiles_stay():
    for option in ("--calibrated", "--intervals"):
        assert f"{option} is for tables" in refused("digits", option)
    assert "--quantiles is for tables" in refused("digits", "--quantiles", "0.5")
    train(*OF_VALUES, "--out", "run")
    told = refused("--resume", "run", "--quantiles", "0.2")
    assert "--quantiles says what the run learns" in told
