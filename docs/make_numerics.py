"""Write the tables of docs/numerics.md: `python docs/make_numerics.py` (a minute)."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "tests" / folder) for folder in ("support", "kernels")]

from reference import exact  # noqa: E402
from test_numerics import BOUNDS, DTYPES, KERNELS, SPECIAL, Errors, measure  # noqa: E402

START, END = "<!-- tables: written by make_numerics.py -->\n", "<!-- end of the tables -->\n"
MANTISSAS = 8
HEAD = "| kernel | forward, ULP | held | backward, ULP | held | backward, eps | tiny results |\n"


def number(value: float) -> str:
    """`value` to three digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def row(name: str, dtype: str) -> str:
    """The table row of one kernel."""
    forward, backward = measure(name, dtype, mantissas=MANTISSAS)
    held, held_back = BOUNDS[name][DTYPES.index(dtype)]
    cells = [name, number(forward.ulp), number(held), *after(backward, held_back)]
    tiny = max(forward.small, backward.small if backward and held_back is not None else 0)
    return "| " + " | ".join([*cells, number(tiny)]) + " |\n"


def after(backward: Errors | None, held: float | None) -> list[str]:
    """The cells for the backward pass."""
    if backward is None:
        return ["", "", ""]
    if held is None:
        return ["absolute", "", number(backward.flat)]
    return [number(backward.ulp), number(held), number(backward.flat)]


def table(dtype: str) -> str:
    """The table of all kernels in one dtype."""
    count = len(exact.grid(dtype, MANTISSAS))
    rows = "".join(row(name, dtype) for name in KERNELS + SPECIAL)
    ruler = "| --- |" + " ---: |" * 6 + "\n"
    return f"### {dtype}, {count} inputs\n\n{HEAD}{ruler}{rows}\n"


def main() -> None:
    """Measure, and replace the text between the marks."""
    path = HERE / "numerics.md"
    before, rest = path.read_text(encoding="utf-8").split(START)
    after_ = rest.split(END)[1]
    found = np.lib.introspect.opt_func_info(func_name="^exp$")["exp"]["ff"]["current"]
    machine = f"NumPy {np.__version__} ({found} exp), Python {platform.python_version()}.\n\n"
    tables = machine + "".join(table(dtype) for dtype in DTYPES)
    path.write_text(before + START + tables + END + after_, encoding="utf-8")


if __name__ == "__main__":
    main()
