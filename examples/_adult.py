"""The Adult census data of the UCI repository: who earns more than 50,000 dollars a year.

`adult.data` and `adult.test` (or both with .gz) are read from --data-dir, else from
$MLPX_DATA/adult; they are at https://archive.ics.uci.edu/dataset/2/adult.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pandas
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.preprocessing import OneHotEncoder, StandardScaler

COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation"),
    *("relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week"),
    *("native_country", "income"),
)


def load(folder: Path | None = None) -> tuple[Any, Any, Any, Any]:
    """X_train, y_train, X_test, y_test as data frames and series; y is "<=50K" or ">50K".

    Raises FileNotFoundError.
    """
    folder = folder or Path(os.environ.get("MLPX_DATA", ".")) / "adult"
    (X, y), (X_test, y_test) = (_read(_find(folder, name)) for name in ("adult.data", "adult.test"))
    return X, y, X_test, y_test


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.exists():
            return path
    raise FileNotFoundError(
        f"no {name} in {folder}; get it from https://archive.ics.uci.edu/dataset/2/adult "
        "and give its folder as --data-dir"
    )


def _read(path: Path) -> tuple[Any, Any]:
    frame = pandas.read_csv(
        path, names=COLUMNS, skipinitialspace=True, na_values="?", comment="|", compression="infer"
    )
    return frame.drop(columns="income"), frame["income"].str.rstrip(".")


def preparation() -> ColumnTransformer:
    """Numbers scaled, categories one-hot; a missing one is a category of its own."""
    numbers = make_column_selector(dtype_include="number")
    categories = make_column_selector(dtype_exclude="number")
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype="float32")
    return ColumnTransformer(
        [("numbers", StandardScaler(), numbers), ("categories", encoder, categories)]
    )
