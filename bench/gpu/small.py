"""Products of our own for layers too small for cublasLt to be good at, beside cublasLt's: alone in
a graph of many, two side by side, and in whole steps of 784-50-10.

gpu_small.cu says what each kernel does. Every result is compared with float64 on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, partial
from time import perf_counter
from typing import Any

import numpy as np

from gpu import small_step
from gpu.faults import lost, said
from gpu.section import Row, Setup
from gpu.small_cases import WAYS, Affine, Gradient
from gpu.small_products import BACKWARD, FORWARD, OF_BYTES, Shape, Small
from mlpx.backend import get_backend
from mlpx.engines.cuda import graphs

SHAPES: tuple[Shape, ...] = (
    (100, 784, 50), (100, 50, 10), (128, 784, 512), (128, 512, 512), (128, 512, 10),
)  # fmt: skip
"""Rows, inputs and outputs of a layer; the first two are a step's of 784-50-10."""
QUICK: tuple[Shape, ...] = ((13, 50, 35), (9, 21, 10))
ENDS = ("none", "relu", "sigmoid")
TOLERANCE = 1e-5
REPEATED, QUICK_REPEATED = 50, 2
ROUNDS, QUICK_ROUNDS = 5, 1
Launches = list[graphs.Launch]
Finding = Callable[[], Iterator[Row]]


def run(setup: Setup) -> Iterator[Row]:
    """Each finding; nothing more once the device does not answer."""
    backend: Any = get_backend(setup.device)
    with backend.xp.cuda.Device(backend.index):
        try:
            small = made(backend, setup)
            yield compiled(small)
        except Exception as error:
            yield {"product": "compile", "passed": False, "why": said(error)}
            return
        for finding in findings(small, setup):
            try:
                yield from finding()
            except Exception as error:
                yield {"product": finding.__name__, "passed": False, "why": said(error)}
            if why := lost(backend):
                yield {"product": "the rest", "passed": False, "why": f"the device is lost: {why}"}
                return


def made(backend: Any, setup: Setup) -> Small:
    quick = setup.quick
    return Small(
        backend,
        repeated=QUICK_REPEATED if quick else REPEATED,
        rounds=QUICK_ROUNDS if quick else ROUNDS,
    )


def compiled(small: Small) -> Row:
    """The time of compiling, or of finding what was compiled; and what the kernels take."""
    begun = perf_counter()
    names = [f"affine_{how.name}" for how in FORWARD]
    names += [f"affine_bytes_{how.name}" for how in OF_BYTES]
    names += [f"dW_{how.name}" for how in BACKWARD]
    kernels = {name: small.kernel(name) for name in names}
    seconds = perf_counter() - begun
    registers = {name: int(getattr(kernel, "num_regs", 0)) for name, kernel in kernels.items()}
    return {"product": "compile", "passed": True, "seconds": seconds, "registers": registers}


def findings(small: Small, setup: Setup) -> Iterator[Finding]:
    """What is looked for: all of one small net first."""
    shapes = QUICK if setup.quick else SHAPES

    def products(shape: Shape) -> Iterator[Finding]:
        ends = ENDS[1:] if setup.quick else ENDS
        yield from (lambda end=end: affine(small, shape, end) for end in ends)
        if shape[1] != 512:  # only a first layer has bytes
            yield lambda: affine(small, shape, "sigmoid", of_bytes=True)
        yield from (lambda way=way: gradient(small, shape, way) for way in WAYS)

    yield from products(shapes[0])
    yield from products(shapes[1])
    yield lambda: small_step.measured(setup, small)
    yield lambda: side_by_side(small, shapes[0], shapes[1])
    for shape in shapes[2:]:
        yield from products(shape)


def affine(small: Small, shape: Shape, end: str, *, of_bytes: bool = False) -> Iterator[Row]:
    """z = f(x W + b) in each division."""
    case = Affine(small, shape, end, of_bytes=of_bytes)
    theirs = cache(lambda: measured(small, case, case.theirs))
    for how in OF_BYTES if of_bytes else FORWARD:
        row = {"product": "affine", "shape": list(shape), "end": end, "bytes": of_bytes}
        ours = measured(small, case, partial(case.ours, how))
        yield beside(row | {"tile": how.name}, ours, theirs())


def gradient(small: Small, shape: Shape, way: str) -> Iterator[Row]:
    """dW = x' dz and db, or the weights that they move, in each division."""
    case = Gradient(small, shape, way)
    theirs = cache(lambda: measured(small, case, case.theirs))
    for how in BACKWARD:
        row = {"product": "dW", "shape": list(shape), "way": way, "tile": how.name}
        yield beside(row, measured(small, case, partial(case.ours, how)), theirs())


def side_by_side(small: Small, *shapes: Shape) -> Iterator[Row]:
    """The gradients of two layers one after the other and beside each other."""
    for way in WAYS[:2]:
        for apart in (0, 1):
            cases = [Gradient(small, shape, way, lane=i * apart) for i, shape in enumerate(shapes)]
            row: Row = {"product": "two dW", "way": way, "lanes": 1 + apart, "passed": True}
            row["us"] = small.us([launch for case in cases for launch in case.ours(BACKWARD[0])])
            row["cublaslt_us"] = small.us([launch for case in cases for launch in case.theirs()])
            yield row


def measured(small: Small, case: Affine | Gradient, launches: Callable[[], Launches]) -> Row:
    """Whether launches are right, and their time; why not, if they cannot be had."""
    try:
        made = launches()
        error = case.error(made)
        row: Row = {"us": small.us(made), "nodes": len(made), "passed": error <= TOLERANCE}
        row["largest_error"] = error if np.isfinite(error) else None
    except LookupError as missing:
        return {"us": None, "why": str(missing)}
    if not row["passed"]:
        row["why"] = f"off by {error:.2g}"
    return row


def beside(row: Row, ours: Row, theirs: Row) -> Row:
    """Our row with cublasLt's time and what is wrong with that."""
    return row | ours | {f"cublaslt_{key}": value for key, value in theirs.items()}
