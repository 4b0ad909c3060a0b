"""Every kernel against NumPy in float64 on the device: the simulator's cases, by its rule.

Errors are in units of eps x (an array's largest + what the number should be), of which the
simulator's tests allow TOLERANCE. CuPy compiles with flushed denormals and fused multiply-add, so a
few may be further off for that alone.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

# Last, for some names there are common.
sys.path.append(str(Path(__file__).parents[2] / "tests" / "support"))

from cudasim.cases import CASES, SINGLE, Case, Given
from cudasim.checking import (
    IN_PLACE,
    MANY,
    STATE,
    TOLERANCE,
    Packed,
    errors,
    in_place,
    shapes,
)

from gpu.compiling import compile_all
from gpu.faults import lost, said
from gpu.section import Row, Setup
from mlpx.backend import get_backend
from mlpx.engines.cuda import launches
from mlpx.engines.cuda.kernels import StepPositions, launcher
from mlpx.engines.lowering import Operation

SHOWN = 3
"""Failures that a row lists."""
Shape = tuple[int, int]


class Tried(NamedTuple):
    """A case of a kernel: which, and its shape."""

    case: Case
    maker: str
    shape: Shape


def run(setup: Setup) -> Iterator[Row]:
    backend: Any = get_backend(setup.device)
    if not setup.quick:
        for row in compile_all(backend):  # in threads, should it not be on the disk
            if not row["passed"]:
                yield row
    bench, started_s, count = Bench(backend), time.perf_counter(), 0
    failed: list[str] = []
    for dtype in ("float32", "float64"):
        for name in CASES:
            if dtype == "float64" and name in SINGLE:
                continue
            row = bench.row(name, dtype, quick=setup.quick)
            count += row["cases"]
            failed += [] if row["passed"] else [f"{name} {dtype}"]
            yield row
            if not row["passed"] and (why := lost(backend)):
                yield {
                    "check": "kernel cases",
                    "passed": False,
                    "why": f"the device is lost since {name} {dtype} {row.get('last')}: {why}",
                }
                return
    yield {
        "check": "kernel cases",
        "passed": not failed,
        "kernels": len(CASES),
        "cases": count,
        **({"why": f"{len(failed)} of them failed: {', '.join(failed[:9])}"} if failed else {}),
        "rows_failed": len(failed),
        "seconds": time.perf_counter() - started_s,
        "tolerance": TOLERANCE,
    }


def tried(name: str, dtype: str, *, quick: bool) -> Iterator[Tried]:
    """The cases of a kernel in one dtype."""
    several = shapes(name)[4:5] if quick else shapes(name)
    for make in CASES[name]:
        maker = getattr(make, "__name__", "")
        for shape in several:
            case = make(Given(dtype, *shape))
            yield Tried(case, maker, shape)
            if name in IN_PLACE and not quick:
                yield Tried(in_place(name, case), f"{maker} in place", shape)
    if name in MANY and not quick:
        yield Tried(CASES[name][0](Given(dtype, *MANY[name])), "many blocks", MANY[name])


class Bench:
    """One piece of the device's memory, in which cases are run one after another."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.memory: Any = None

    def row(self, name: str, dtype: str, *, quick: bool) -> Row:
        """The finding of a kernel in one dtype."""
        started_s, worst, count = time.perf_counter(), 0.0, 0
        failing: list[Row] = []
        last: Shape | None = None
        try:
            for each in tried(name, dtype, quick=quick):
                count, last = count + 1, each.shape
                units, problem = self.judged(name, each.case, dtype, twice=not quick)
                worst = max(worst, units)
                if problem:
                    failing.append(
                        {"shape": list(each.shape), "case": each.maker, "n": list(each.case.n)}
                        | problem
                    )
                    if "error" in problem and lost(self.backend):
                        break
        except Exception as error:  # of making a case
            failing.append({"shape": last, "error": said(error)})
        row: Row = {
            "check": "kernel", "kernel": name, "dtype": dtype, "passed": not failing,
            "cases": count, "worst_eps": worst if math.isfinite(worst) else None,
            "failed": len(failing), "failing": failing[:SHOWN], "last": last,
            "seconds": time.perf_counter() - started_s,
        }  # fmt: skip
        if failing:
            row["why"] = "; ".join(f"{key}: {value}" for key, value in failing[0].items())
        return row

    def judged(self, name: str, case: Case, dtype: str, *, twice: bool) -> tuple[float, Row | None]:
        """The worst error of a case, and what is wrong with it, if anything is."""
        try:
            packed = Packed(case)
            after = self.launched(packed, name, dtype)
            if spoilt := packed.spoilt(after):
                return 0.0, {"spoilt": spoilt}
            found = packed.arrays(after)
            wrong = max(errors(case, found, dtype), key=lambda e: e.units, default=None)
            if wrong and wrong.units > TOLERANCE:
                units = wrong.units if math.isfinite(wrong.units) else None
                return wrong.units, {**wrong._asdict(), "units": units}
            if twice and not self.same_bits(packed, after, name, dtype):
                return 0.0, {"bits": "other bits where one block takes all turns"}
        except Exception as error:  # one case must not cost the others
            return 0.0, {"error": said(error)}
        return (wrong.units if wrong else 0.0), None

    def same_bits(self, packed: Packed, after: np.ndarray, name: str, dtype: str) -> bool:
        """Whether one block that takes all turns makes the same."""
        most = launches.MOST_BLOCKS
        launches.MOST_BLOCKS = 1
        try:
            again = self.launched(packed, name, dtype)
        finally:
            launches.MOST_BLOCKS = most
        return bool((again[STATE:] == after[STATE:]).all())

    def launched(self, packed: Packed, name: str, dtype: str) -> np.ndarray:
        """The bytes of a case after a launch by what the engine launches with: one copy there, one
        back, which waits; all on the null stream.
        """
        xp, size = self.backend.xp, packed.bytes.size
        with xp.cuda.Device(self.backend.index):
            if self.memory is None or self.memory.size < size:
                self.memory = xp.empty(max(size, 1 << 20), np.uint8)
            memory = self.memory[:size]
            start = int(memory.data.ptr)
            if start % 16:
                raise RuntimeError(f"memory begins at {start}, no multiple of 16")
            memory.set(packed.bytes)
            case = packed.case
            operation = Operation(name, case.n, case.c, tuple(packed.addresses(start)), ())
            positions = StepPositions(memory[STATE : STATE + 16].view(np.int64).reshape(1, 2))
            launcher(self.backend, operation, np.dtype(dtype), positions, memory[:STATE])()
            after: np.ndarray = memory.get()
        return after
