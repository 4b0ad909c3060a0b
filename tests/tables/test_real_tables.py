"""The real tables of the data folder are read and encoded as their documents say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mlpx.errors import InputError
from mlpx.tables.encoder import Encoder
from mlpx.tables.leaks import leaks
from mlpx.tables.reading import read_table
from mlpx.tables.target import Target, present

FILES = {
    "adult/adult.data.gz": (32561, 15, "column 15", 2),
    "abalone/abalone.csv": (4177, 9, "column 9", 0),
    "wine_quality/winequality-red.csv": (1599, 12, "column 12", 6),
    "letter/letter-recognition.data.gz": (20000, 17, "column 1", 26),
    "california_housing/cal_housing.csv.gz": (20640, 9, "medianHouseValue", 0),
    "california_housing/housing_with_missing_and_category.csv.gz": (
        20640, 10, "median_house_value", 0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_each_table_is(data_dir: Path, name: str):
    rows, columns, target, classes = FILES[name]
    table = read_table(data_dir / name)
    assert table.shape == (rows, columns)
    made = Target.fit(table[target], name=target)
    assert len(made.classes) == classes
    encoder = Encoder.fit(table, drop=[target])
    x = encoder.encode(table)
    assert x.shape == (rows, encoder.width)
    assert np.isfinite(x).all()
    assert not encoder.notes
    assert leaks(table, target) == []


def test_adult(data_dir: Path):
    train = read_table(data_dir / "adult" / "adult.data.gz")
    test = read_table(data_dir / "adult" / "adult.test.gz")
    assert train["column 15"].to_pylist()[:2] == ["<=50K", "<=50K"]
    assert [train[f"column {j}"].null_count for j in (2, 7, 14)] == [1836, 1843, 583]
    encoder = Encoder.fit(train, drop=["column 15"])
    kinds = [column.name for column in encoder.columns.values()]
    assert kinds.count("number") == 6
    assert kinds.count("category") == 8
    assert encoder.sizes == (17, 15, 42)
    assert encoder.continuous == 6
    x = encoder.encode(test)
    assert x.shape == (16281, encoder.width)
    assert (x[:, encoder.numbers + 1] == 0).sum() == test["column 7"].null_count
    target = Target.fit(train["column 15"], name="income")
    assert target.classes == ("<=50K", ">50K")
    assert round(target.encode(train["column 15"]).mean(), 3) == 0.241
    with pytest.raises(InputError, match=r"'<=50K.' in row 0 .* none of the classes"):
        target.encode(test["column 15"])


def test_housing_with_missing_values(data_dir: Path):
    name = "housing_with_missing_and_category.csv.gz"
    table = read_table(data_dir / "california_housing" / name)
    encoder = Encoder.fit(table, drop=["median_house_value"])
    assert encoder.columns["total_bedrooms"].missing == 207
    assert encoder.columns["total_bedrooms"].median == 435
    assert encoder.continuous == 8
    assert encoder.output_names[8:] == (
        "total_bedrooms is missing",
        *(f"ocean_proximity = {each}" for each in (
            "<1H OCEAN", "INLAND", "ISLAND", "NEAR BAY", "NEAR OCEAN",
        )),
    )  # fmt: skip
    assert present(table["total_bedrooms"]).sum() == 20640 - 207


def test_scaled_numbers_of_housing_are_those_of_the_formula(data_dir: Path):
    table = read_table(data_dir / "california_housing" / "cal_housing.csv.gz")
    z = table["medianIncome"].to_numpy()
    low, middle, high = np.quantile(z, [0.25, 0.5, 0.75])
    u = (z - middle) / (high - low)
    found = Encoder.fit(table).encode(table.select(table.column_names[::-1]))
    place = table.column_names.index("medianIncome")
    assert np.allclose(found[:, place], u / np.sqrt(1 + u**2 / 9), rtol=1e-6)
