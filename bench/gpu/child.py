"""The process of one section: ``python -m gpu.child NAME ROWS``, each row on disk at once."""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu.section import Setup

TESTS = Path(__file__).parents[2] / "tests"


def doubles() -> Any:
    """A context in which CuPy is the tests' double."""
    import fakecupy

    return fakecupy.installed()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--double", action="store_true")
    given = parser.parse_args()
    sys.path.insert(0, str(TESTS))
    with doubles() if given.double else nullcontext(), given.rows.open("a") as file:
        for row in import_module(f"gpu.{given.name}").run(Setup(given.device, given.quick)):
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


if __name__ == "__main__":
    main()
