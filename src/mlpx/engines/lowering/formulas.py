"""The codes by which compiled kernels know the rows of formulas.h: their places in its tables."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

HEADER = Path(__file__).parents[1] / "formulas.h"
TABLES = {"activation": "ACTIVATIONS", "loss": "LOSSES", "rule": "RULES"}


@cache
def codes(family: str) -> dict[str, int]:
    """Name -> code of each formula of a family: "activation", "loss" or "rule"."""
    lines = HEADER.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if f"#define MLPX_{TABLES[family]}(" in line)
    stop = next(i for i in range(first, len(lines)) if not lines[i].endswith("\\"))
    row = re.compile(rf"\s+{family.upper()}\((\w+),")
    matches = [row.match(line) for line in lines[first + 1 : stop + 1]]
    return {match[1]: code for code, match in enumerate(m for m in matches if m)}
