"""The process of one section: ``python -m gpu.child NAME ROWS``, each row on disk at once."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext
from importlib import import_module
from math import inf, isfinite
from pathlib import Path
from typing import Any

from gpu.harness import MARK, sweep
from gpu.section import Setup

TESTS = Path(__file__).parents[2] / "tests" / "support"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("rows", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--double", action="store_true")
    parser.add_argument("--limit", type=float, default=inf)
    parser.add_argument("--parent", type=int, help="end with this process, even if it is killed")
    given = parser.parse_args()
    if given.parent is not None:
        threading.Thread(target=follow, args=(given.parent,), daemon=True).start()
    sys.path.append(str(TESTS))
    setup = Setup(given.device, given.quick, given.limit)
    with doubles() if given.double else nullcontext(), given.rows.open("a") as file:
        for row in import_module(f"gpu.{given.name}").run(setup):
            file.write(json.dumps(plain(row), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())


def doubles() -> Any:
    """A context in which CuPy is the tests' double."""
    import fakecupy

    return fakecupy.installed()


def follow(parent: int) -> None:
    """Kill this process and all it started once its parent is gone: it would hold the GPU."""
    while os.getppid() == parent:
        time.sleep(1)
    sweep(os.environ.get(MARK, ""))
    os.killpg(0, signal.SIGKILL)


def plain(value: Any) -> Any:
    """What JSON can say of a finding: None for what is not finite, words for what it has not."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(each) for each in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if isfinite(value) else None
    if hasattr(value, "tolist"):  # numbers and arrays of NumPy
        return plain(value.tolist())
    return str(value)


if __name__ == "__main__":
    main()
