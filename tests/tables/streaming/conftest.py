"""Parquet files to stream from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes files with a column "number" that counts rows over all of them, and others."""

    def written(*counts: int, group: int = 7, folder: str = "data", **columns: Any) -> Path:
        (tmp_path / folder).mkdir()
        first = 0
        for i, count in enumerate(counts):
            here = {name: make(first, count) for name, make in columns.items()}
            table = pa.table({"number": np.arange(first, first + count), **here})
            pq.write_table(table, tmp_path / folder / f"part-{i}.parquet", row_group_size=group)
            first += count
        return tmp_path / folder

    return written
