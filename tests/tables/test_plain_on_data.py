"""What the preset "plain" reaches on tables that others have published figures for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from mlpx.tables import fit
from mlpx.tables.reading import read_table

pytestmark = pytest.mark.slow


def split(table: pa.Table, target: str, at: int) -> tuple[pa.Table, pa.Table, np.ndarray]:
    """The first rows with their target, the others without, and theirs."""
    held = table.slice(at)
    y = held[target].to_numpy(zero_copy_only=False)
    return table.slice(0, at), held.drop_columns([target]), y


def test_adult(data_dir: Path) -> None:
    """Published for a tuned MLP on these test rows: 0.854."""
    folder = data_dir / "adult"
    train = read_table(folder / "adult.data.gz")
    target = train.column_names[-1]
    test = read_table(folder / "adult.test.gz", header=False, skip=1)
    test = test.rename_columns(train.column_names)
    test = test.filter(pc.is_valid(test[target]))
    y = np.char.rstrip(test[target].to_numpy(zero_copy_only=False).astype(str), ".")
    fitted = fit(train, target=target, random_state=0)
    assert fitted.score(test.drop_columns([target]), y) > 0.85


def test_california_housing(data_dir: Path) -> None:
    """Published for a tuned MLP, in 100,000 dollars: 0.495."""
    table = read_table(data_dir / "california_housing" / "cal_housing.csv.gz")
    table = table.take(np.random.default_rng(0).permutation(len(table)))
    train, held, y = split(table, "medianHouseValue", 16_512)
    fitted: Any = fit(train, target="medianHouseValue", random_state=0)
    error = fitted.evaluate(held, y)["root_mean_squared_error"]
    assert error.value < 51_000


def test_letter(data_dir: Path) -> None:
    table = read_table(data_dir / "letter" / "letter-recognition.data.gz", header=False)
    target = table.column_names[0]
    train, held, y = split(table, target, 16_000)
    assert fit(train, target=target, random_state=0).score(held, y) > 0.96
