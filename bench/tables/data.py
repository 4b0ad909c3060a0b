"""The tables, divided by a seed: rows to train on, to validate and to test, the same for all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas
from sklearn.model_selection import train_test_split

ADULT = (
    *("age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation"),
    *("relationship", "race", "sex", "capital_gain", "capital_loss", "hours_per_week"),
    *("native_country", "income"),
)
LETTER = ("letter", *(f"feature{i}" for i in range(16)))
WINE = (
    *("fixed_acidity", "volatile_acidity", "citric_acid", "residual_sugar", "chlorides"),
    *("free_sulfur", "total_sulfur", "density", "ph", "sulphates", "alcohol", "quality"),
)
ABALONE = (
    *("sex", "length", "diameter", "height", "whole", "shucked", "viscera", "shell", "rings"),
)
CLASSES = ("adult", "letter")
SHARE = 0.2
"""Of the rows to test, and of the rest to validate."""


@dataclass(frozen=True)
class Table:
    """A pandas frame and its target, and the numbers of the rows of each part."""

    name: str
    x: Any
    y: np.ndarray
    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    @property
    def has_classes(self) -> bool:
        """Whether it is a classification."""
        return self.name in CLASSES


def load(name: str, folder: Path, seed: int) -> Table:
    """The table `name`: one fifth of the rows to test (the official ones of Adult), and of the rest
    one fifth to validate.
    """
    x, y, test = READERS[name](folder)
    strata = y if name in CLASSES else None
    rest = np.arange(len(y))
    if test is None:
        rest, test = train_test_split(rest, test_size=SHARE, random_state=seed, stratify=strata)
    else:
        rest = np.setdiff1d(rest, test)
    train, validation = train_test_split(
        rest, test_size=SHARE, random_state=seed, stratify=None if strata is None else y[rest]
    )
    return Table(name, x, y, np.sort(train), np.sort(validation), np.sort(test))


def _read(path: Path, names: tuple[str, ...] | None = None) -> Any:
    frame = pandas.read_csv(path, names=names, skipinitialspace=True, na_values="?")
    for column in frame.columns:
        if not pandas.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].astype("category")
    return frame


def _parted(frame: Any, target: str, dtype: Any = float) -> tuple[Any, np.ndarray, None]:
    return frame.drop(columns=target), frame[target].to_numpy(dtype), None


def _adult(folder: Path) -> tuple[Any, np.ndarray, np.ndarray]:
    parts = [
        pandas.read_csv(
            folder / "adult" / f"adult.{part}.gz", names=ADULT, skipinitialspace=True, na_values="?"
        )
        for part in ("data", "test")
    ]
    frame = pandas.concat(parts, ignore_index=True)
    y = frame.pop("income").str.rstrip(".").to_numpy(str)
    for column in frame.columns:
        if not pandas.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].astype("category")
    return frame, y, np.arange(len(parts[0]), len(frame))


def _california(folder: Path) -> tuple[Any, np.ndarray, None]:
    frame = _read(folder / "california_housing" / "cal_housing.csv.gz")
    x, y, _ = _parted(frame, "medianHouseValue")
    return x, y / 1e5, None


def _letter(folder: Path) -> tuple[Any, np.ndarray, None]:
    path = folder / "letter" / "letter-recognition.data.gz"
    return _parted(_read(path, LETTER), "letter", str)


def _wine(folder: Path) -> tuple[Any, np.ndarray, None]:
    parts = []
    for colour in ("red", "white"):
        part = _read(folder / "wine_quality" / f"winequality-{colour}.csv", WINE)
        parts.append(part.assign(colour=colour))
    frame = pandas.concat(parts, ignore_index=True)
    frame["colour"] = frame["colour"].astype("category")
    return _parted(frame, "quality")


def _abalone(folder: Path) -> tuple[Any, np.ndarray, None]:
    return _parted(_read(folder / "abalone" / "abalone.csv", ABALONE), "rings")


READERS = {
    "adult": _adult,
    "california": _california,
    "letter": _letter,
    "wine": _wine,
    "abalone": _abalone,
}
