"""The code of docs/tables.md runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tables.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)


def clicks() -> None:
    """Two Parquet files, of what somebody looked at and whether it was bought."""
    draw = np.random.default_rng(0)
    Path("clicks").mkdir()
    for i in range(2):
        seconds = draw.exponential(30, 4000)
        shop = draw.integers(0, 12, 4000)
        rows = {"seconds": seconds, "shop": [f"shop {j}" for j in shop], "bought": seconds > 40}
        pq.write_table(pa.table(rows), f"clicks/{i}.parquet", row_group_size=500)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda text: re.findall(r"\w{6,}", text)[-1])
def test_the_code_runs(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    clicks()
    names: dict[str, object] = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert "model" in names


def test_there_is_code() -> None:
    assert len(BLOCKS) == 3
