"""A stream stays within its memory, whatever the size of the file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SUPPORT = Path(__file__).parents[2] / "support"
MEMORY_MIB = 60
COLUMNS, GROUP, GROUPS = 60, 50_000, 27


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file of which the rows take more than ten times MEMORY_MIB."""
    rng = np.random.default_rng(0)
    columns = {f"x{i}": np.round(rng.normal(size=GROUP), 1) for i in range(COLUMNS)}
    table = pa.table({**columns, "y": np.where(columns["x0"] > 0.3, "yes", "no")})
    with pq.ParquetWriter(tmp_path / "large.parquet", table.schema) as writer:
        for _ in range(GROUPS):
            writer.write_table(table, row_group_size=GROUP)
    assert table.nbytes * GROUPS > 10 * MEMORY_MIB * 2**20
    return tmp_path / "large.parquet"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the address space is limited on Linux")
@pytest.mark.parametrize("cached", [False, True])
def test_rows_ten_times_as_large_as_memory(large: Path, cached: bool) -> None:
    """pyarrow's own allocator would have set a GiB of addresses aside before they are limited."""
    command = [sys.executable, "streaming_in_little_memory.py", str(large), str(MEMORY_MIB)]
    found = subprocess.run(
        [*command, *([str(large.parent)] if cached else [])],
        capture_output=True, text=True, timeout=100, check=False, cwd=SUPPORT,
        env=os.environ | {"ARROW_DEFAULT_MEMORY_POOL": "system"},
    )  # fmt: skip
    assert found.returncode == 0, found.stderr[-2000:]
    told = json.loads(found.stdout)
    rows = GROUP * GROUPS
    assert told["rows"] == rows - round(0.01 * rows)
    assert told["grown"] <= MEMORY_MIB * 2**20
